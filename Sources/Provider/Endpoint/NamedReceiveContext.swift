import CFabric
import Transport

/// One of the receive contexts of a scalable endpoint, as the program holds it: peers name it with fi_rx_addr, and it has
/// its own receives, queue and counters.
///
/// Protected by the engine's lock.
///
/// Man page: fi_endpoint(3), "Scalable endpoints"
package final class NamedReceiveContext {
  package let endpoint: Endpoint
  package let index: Int
  /// The endpoint's, with what is the context's own.
  package private(set) var options: EndpointOptions
  private var binding = ContextBinding()
  /// Where receives are posted; nil until it is enabled.
  package private(set) var context: Unmanaged<ReceiveContext>?

  /// Opens a context of `endpoint`, as `attributes` describe it or with those of the endpoint, and tells in `attributes`
  /// what it has. Throws FI_EINVAL for an index that the endpoint has not and for one of another kind of endpoint,
  /// FI_EBUSY for a context that is open, FI_ENODATA for attributes beyond the endpoint's.
  package convenience init(
    _ endpoint: Endpoint, _ index: Int, _ attributes: UnsafeMutablePointer<fi_rx_attr>?
  ) throws(FabricError) {
    guard let contexts = endpoint.contexts, index >= 0 && index < contexts.receiveCount else {
      throw Self.refuse("the endpoint has no such context")
    }
    var options = endpoint.options
    if let attributes { try Self.apply(&attributes.pointee, endpoint.type, to: &options) }
    self.init(endpoint, index, options)
    endpoint.domain.engine.lock()
    let isNew = contexts.openReceiver(index)
    endpoint.domain.engine.unlock()
    guard isNew else { throw Self.refuse("the context is open already", .busy) }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ endpoint: Endpoint, _ index: Int, _ options: EndpointOptions) {
    self.endpoint = endpoint
    self.index = index
    self.options = options
  }

  private static func apply(
    _ attributes: inout fi_rx_attr, _ type: EndpointType, to options: inout EndpointOptions
  ) throws(FabricError) {
    let own = options.capabilities | Capabilities.ignoredForReceive | Capabilities.domain
    if attributes.caps & ~own != 0 { throw refuse("a capability that the endpoint has not", .noData) }
    if attributes.op_flags & ~type.receiveFlags != 0 { throw refuse("op_flags that are no defaults", .noData) }
    if attributes.msg_order & ~type.messageOrder != 0 || attributes.comp_order != 0 {
      throw refuse("an order that is not kept", .noData)
    }
    let isTooLarge =
      exceeds(attributes.size, options.receiveQueueSize) || exceeds(attributes.iov_limit, options.iovLimit)
    if isTooLarge || attributes.total_buffered_recv != 0 { throw refuse("attributes beyond the endpoint's", .noData) }
    if attributes.size != 0 { options.receiveQueueSize = attributes.size }
    if attributes.caps != 0 { options.capabilities &= attributes.caps }
    options.receiveFlags = attributes.op_flags
    attributes = fi_rx_attr()
    attributes.caps = options.capabilities & type.receive
    attributes.op_flags = options.receiveFlags
    attributes.msg_order = type.messageOrder
    attributes.size = options.receiveQueueSize
    attributes.iov_limit = options.iovLimit
  }

  package var isEnabled: Bool { context != nil }

  // MARK: Binding and enabling

  /// Binds the completion queue. Throws FI_EOPBADSTATE for an enabled context, FI_EDOMAIN for another domain's queue, and
  /// as ``ContextBinding`` does.
  package func bind(_ queue: CompletionQueue, flags: UInt64) throws(FabricError) {
    if queue.domain !== endpoint.domain { throw ContextBinding.refuse("another domain's queue", .wrongDomain) }
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw ContextBinding.refuse("the context is enabled", .badState) }
    try binding.bind(queue, flags: flags, direction: FI_RECV, entries: options.receiveQueueSize + 1)
    options.selectiveReceive = binding.isSelective
  }

  /// Binds a counter to the kinds of operations in `flags`, FI_RECV, FI_REMOTE_READ and FI_REMOTE_WRITE. Throws likewise.
  package func bind(_ counter: Counter, flags: UInt64) throws(FabricError) {
    if counter.domain !== endpoint.domain { throw ContextBinding.refuse("another domain's counter", .wrongDomain) }
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw ContextBinding.refuse("the context is enabled", .badState) }
    try binding.bind(counter, flags: flags, kinds: FI_RECV | FI_REMOTE_READ | FI_REMOTE_WRITE)
  }

  /// Lets receives be posted, and starts the endpoint if nothing has yet. Throws FI_EOPBADSTATE when that is so already,
  /// FI_ENOCQ without queue and counters, and what the endpoint's start throws.
  package func enable() throws(FabricError) {
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw .badState }
    let queue = try binding.complete(
      in: endpoint.domain, entries: options.receiveQueueSize + 1, hasOperations: options.capabilities & FI_RECV != 0)
    options.selectiveReceive = binding.isSelective
    options.hasReceiveQueue = true
    let port = try endpoint.startContexts()
    context = port.open(index, queue, binding.counters, options)
  }

  /// Ends the context: its receives are dropped silently, and messages that come for it are refused.
  package func close() {
    let engine = endpoint.domain.engine
    engine.lock()
    if let context, let port = endpoint.portReference {
      engine.dropDeferredWork(all: false) { $0.isAt(context.takeUnretainedValue()) }
      port._withUnsafeGuaranteedRef { $0.close(context) }
    }
    context = nil
    binding.unbind()
    endpoint.contexts?.closeReceiver(index)
    engine.unlock()
  }

  /// Reads an option of level FI_OPT_ENDPOINT, as `Endpoint.option` does.
  package func option(_ name: Int32, _ value: UnsafeMutableRawPointer, _ length: inout Int) throws(FabricError) {
    guard Int(name) == Int(FI_OPT_MIN_MULTI_RECV) else { throw .noSuchOption }
    try EndpointOptions.store(options.minimumMultiReceive, value, &length)
  }

  /// Sets an option. Throws FI_ENOPROTOOPT for one that there is not, FI_EINVAL for a value of another size.
  package func setOption(_ name: Int32, _ value: UnsafeRawPointer, _ length: Int) throws(FabricError) {
    guard Int(name) == Int(FI_OPT_MIN_MULTI_RECV) else { throw .noSuchOption }
    guard length == MemoryLayout<Int>.size else { throw .invalidArgument }
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    options.minimumMultiReceive = value.loadUnaligned(as: Int.self)
    context?._withUnsafeGuaranteedRef { $0.minimumMultiReceive = options.minimumMultiReceive }
  }

  private static func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.endpointControl, reason, in: "fi_rx_context")
  }
}
