import CFabric
import Datagram
import Transport

/// One of the transmit contexts of a scalable endpoint: what is posted on it counts against its own limit, and its own
/// queue and counters tell of the ends.
///
/// All use the endpoint's port. Protected by the engine's lock.
///
/// Man page: fi_endpoint(3), "Scalable endpoints"
package final class TransmitContext {
  package let endpoint: Endpoint
  package let index: Int
  /// Operations in flight at once.
  package let size: Int
  /// op_flags that it was opened with.
  package let defaultFlags: UInt64
  private var binding = ContextBinding()
  /// Where it tells of ends; nil until it is enabled.
  private(set) var queue: Unmanaged<CompletionQueue>?
  /// Operations whose completion is due.
  private(set) var outstanding = 0

  /// Opens a context of `endpoint`, as `attributes` describe it or with those of the endpoint, and tells in `attributes`
  /// what it has. Throws FI_EINVAL for an index that the endpoint has not and for one of another kind of endpoint,
  /// FI_EBUSY for a context that is open, FI_ENODATA for attributes beyond the endpoint's.
  package convenience init(
    _ endpoint: Endpoint, _ index: Int, _ attributes: UnsafeMutablePointer<fi_tx_attr>?
  ) throws(FabricError) {
    guard let contexts = endpoint.contexts, index >= 0 && index < contexts.transmitCount else {
      throw Self.refuse("the endpoint has no such context")
    }
    let options = endpoint.options
    var size = options.transmitQueueSize
    var flags = options.transmitFlags
    if let attributes {
      let asked = attributes.pointee
      let own = options.capabilities | Capabilities.ignoredForTransmit | Capabilities.domain
      if asked.caps & ~own != 0 { throw Self.refuse("a capability that the endpoint has not", .noData) }
      if asked.op_flags & ~endpoint.type.transmitFlags != 0 {
        throw Self.refuse("op_flags that are no defaults", .noData)
      }
      if asked.msg_order & ~endpoint.type.messageOrder != 0 || asked.comp_order != 0 {
        throw Self.refuse("an order that is not kept", .noData)
      }
      let isTooLarge =
        exceeds(asked.size, size) || exceeds(asked.inject_size, options.injectSize)
        || exceeds(asked.iov_limit, options.iovLimit) || exceeds(asked.rma_iov_limit, options.remoteIovLimit)
      if isTooLarge { throw Self.refuse("attributes beyond the endpoint's", .noData) }
      if asked.size != 0 { size = asked.size }
      flags = asked.op_flags
      let capabilities = options.capabilities & endpoint.type.transmit
      attributes.pointee = fi_tx_attr()
      attributes.pointee.caps = asked.caps == 0 ? capabilities : asked.caps & capabilities
      attributes.pointee.op_flags = flags
      attributes.pointee.msg_order = endpoint.type.messageOrder
      attributes.pointee.inject_size = options.injectSize
      attributes.pointee.size = size
      attributes.pointee.iov_limit = options.iovLimit
      attributes.pointee.rma_iov_limit = options.remoteIovLimit
      attributes.pointee.tclass = asked.tclass
    }
    self.init(endpoint, index, size: size, flags: flags)
    endpoint.domain.engine.lock()
    let isNew = contexts.add(self)
    endpoint.domain.engine.unlock()
    guard isNew else { throw Self.refuse("the context is open already", .busy) }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ endpoint: Endpoint, _ index: Int, size: Int, flags: UInt64) {
    self.endpoint = endpoint
    self.index = index
    self.size = size
    defaultFlags = flags
  }

  package var isEnabled: Bool { queue != nil }
  /// What is added to the flags of all operations.
  package var messageFlags: UInt64 { binding.isSelective ? 0 : FI_COMPLETION }
  /// What posts for this context, in its place among the flags of `OperationContext`.
  package var number: UInt64 { OperationContext.place(ofContext: index) }

  // MARK: Binding and enabling

  /// Binds the completion queue. Throws FI_EOPBADSTATE for an enabled context, FI_EDOMAIN for another domain's queue, and
  /// as ``ContextBinding`` does.
  package func bind(_ queue: CompletionQueue, flags: UInt64) throws(FabricError) {
    if queue.domain !== endpoint.domain { throw ContextBinding.refuse("another domain's queue", .wrongDomain) }
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw ContextBinding.refuse("the context is enabled", .badState) }
    try binding.bind(queue, flags: flags, direction: FI_TRANSMIT, entries: size)
  }

  /// Binds a counter to the kinds of operations in `flags`, FI_SEND, FI_READ and FI_WRITE. Throws likewise.
  package func bind(_ counter: Counter, flags: UInt64) throws(FabricError) {
    if counter.domain !== endpoint.domain { throw ContextBinding.refuse("another domain's counter", .wrongDomain) }
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw ContextBinding.refuse("the context is enabled", .badState) }
    try binding.bind(counter, flags: flags, kinds: FI_SEND | FI_READ | FI_WRITE)
  }

  /// Lets operations be posted, and starts the endpoint if nothing has yet. Throws FI_EOPBADSTATE when that is so
  /// already, FI_ENOCQ without queue and counters, and what the endpoint's start throws.
  package func enable() throws(FabricError) {
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    if isEnabled { throw .badState }
    let operations = FI_SEND | FI_READ | FI_WRITE
    let bound = try binding.complete(
      in: endpoint.domain, entries: size, hasOperations: endpoint.options.capabilities & operations != 0)
    try endpoint.startContexts()
    queue = .passUnretained(bound)
  }

  /// Ends the context: what was sent is delivered if the peers answer within a second; what did not end by then goes on
  /// without the program's memory, and nobody hears of it.
  package func close() {
    let engine = endpoint.domain.engine
    engine.lock()
    if let port = endpoint.portReference?.takeUnretainedValue() {
      engine.dropDeferredWork(all: false) { $0.isAt(port, number) }
      if outstanding > 0 { port.linger(forAtMost: Port.longLinger) { outstanding == 0 } }
      if outstanding > 0 { port.disown(number, count: outstanding) }
      engine.dropDeferredWork(all: true) { $0.isAt(port, number) }
    }
    queue?._withUnsafeGuaranteedRef { $0.unreserve(outstanding) }
    outstanding = 0
    queue = nil
    binding.unbind()
    endpoint.contexts?.remove(self)
    engine.unlock()
  }

  // MARK: Operations, with the lock held

  /// Operations that may still be posted.
  package var operationsLeft: Int {
    endpoint.domain.engine.lock()
    defer { endpoint.domain.engine.unlock() }
    return size - outstanding
  }

  /// Ends the oldest triggered operation with a context that waits; false when there is none. Takes the lock.
  package func cancelTriggered(context: UInt) -> Bool {
    let engine = endpoint.domain.engine
    engine.lock()
    defer { engine.unlock() }
    guard let port = endpoint.portReference?.takeUnretainedValue() else { return false }
    return engine.cancelTriggered(context: context) { $0.isAt(port, number) }
  }

  /// Takes one more operation on, with room for its completion; false when all are in flight.
  func reserve() -> Bool {
    guard let queue, outstanding < size, queue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return false }
    outstanding &+= 1
    return true
  }

  /// The operation was not posted after all.
  func unreserve() {
    outstanding &-= 1
    queue?._withUnsafeGuaranteedRef { $0.unreserve() }
  }

  /// An operation has ended.
  func ended(_ operation: OperationContext, _ bytes: UInt64, _ status: TransportStatus) {
    if queue == nil { return }
    binding.counters.counter(of: operation.flags)?._withUnsafeGuaranteedRef {
      if status == .ok { $0.count(bytes) } else { $0.countError() }
    }
    endUncounted(operation, status)
  }

  /// An operation has ended that the context's counters do not count.
  func endUncounted(_ operation: OperationContext, _ status: TransportStatus) {
    guard let queue else { return }
    outstanding &-= 1
    if status == .ok { operation.succeed(queue) } else { operation.fail(status, queue) }
  }

  private static func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.endpointControl, reason, in: "fi_tx_context")
  }
}
