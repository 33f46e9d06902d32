import CFabric
import Transport

/// Receives that several endpoints share: whichever endpoint a message comes to, it takes the first receive that fits,
/// whose completion is told by that endpoint's queue.
///
/// With FI_PEER the receives are another provider's: endpoints share the dialogue with their owner, and none is posted here.
///
/// Man pages: fi_endpoint(3), "Shared contexts"; fi_peer(3), "Peer SRX"
package final class SharedReceiveContext {
  package let domain: Domain
  package let context: ReceiveContext
  private let size: Int
  /// op_flags that it was opened with.
  package let defaultFlags: UInt64
  private var queue: CompletionQueue?
  private var counters = BoundCounters()
  private var bindings = 0

  /// Opens a context as `attributes` describe it, or with what endpoints have by default. Throws FI_EINVAL for what no
  /// receive attributes of this provider have.
  package convenience init(_ domain: Domain, _ attributes: UnsafePointer<fi_rx_attr>?) throws(FabricError) {
    var options = EndpointOptions()
    options.capabilities = FI_MSG | FI_TAGGED | FI_RECV | FI_TRIGGER
    options.receiveQueueSize = Configuration.current.rxSize
    if let attributes = attributes?.pointee {
      if attributes.caps & ~(Capabilities.receive | Capabilities.domain | Capabilities.ignoredForReceive) != 0 {
        throw Self.refuse("a capability is not offered")
      }
      if attributes.op_flags & ~Capabilities.receiveFlags != 0 { throw Self.refuse("op_flags that are no defaults") }
      let isTooLarge =
        UInt(bitPattern: attributes.size) > UInt(Capabilities.maximumQueueSize)
        || UInt(bitPattern: attributes.iov_limit) > UInt(Capabilities.iovLimit)
      if isTooLarge { throw Self.refuse("size or iov_limit is too large") }
      if attributes.caps != 0 { options.capabilities = attributes.caps }
      if attributes.size != 0 { options.receiveQueueSize = attributes.size }
      if attributes.iov_limit != 0 { options.iovLimit = attributes.iov_limit }
      options.receiveFlags = attributes.op_flags
    }
    self.init(domain, options)
  }

  /// Opens a context for the receives that `context`, a `struct fi_peer_srx_context`, names. Throws FI_EINVAL for an
  /// incomplete one.
  package convenience init(_ domain: Domain, importing context: UnsafeMutableRawPointer?) throws(FabricError) {
    let imported = ImportedReceives(try ImportedReceives.owner(context), engine: domain.engine)
    var options = EndpointOptions()
    options.receiveQueueSize = 1
    self.init(domain, options, imported)
    domain.engine.lock()
    domain.engine.add(imported)
    domain.engine.unlock()
  }

  /// What the owner of the receives knows the context by; nil where they are posted here.
  package var owner: UnsafeMutablePointer<fid_peer_srx>? { context.imported?._withUnsafeGuaranteedRef { $0.srx } }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ domain: Domain, _ options: EndpointOptions, _ imported: ImportedReceives? = nil) {
    self.domain = domain
    size = options.receiveQueueSize
    defaultFlags = options.receiveFlags
    context = ReceiveContext(
      number: 0, engine: .passUnretained(domain.engine), queue: nil, options: options, messages: 1,
      imported: imported)
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  /// Throws FI_EBUSY while endpoints share the context. Receives that wait are dropped.
  package func close() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if bindings != 0 { throw Self.refuse("endpoints still share the context", in: "fi_close", .busy) }
    domain.engine.dropDeferredWork(all: true) { $0.isAt(context) }
    queue?.removeBinding()
    context.boundQueue = nil
    queue = nil
    context.count(at: nil)
    counters.unbindAll()
    context.imported?._withUnsafeGuaranteedRef { domain.engine.remove($0) }
    domain.removeChild()
  }

  /// Chooses the queue that tells of receives which met no message: cancelled ones, and peeks in vain. Without it the
  /// queue of the endpoint that has shared the context longest does. Throws FI_EBADFLAGS for other flags than FI_RECV,
  /// FI_EINVAL when one is bound already, FI_EDOMAIN.
  package func bind(_ queue: CompletionQueue, flags: UInt64) throws(FabricError) {
    if owner != nil { throw Self.refuse("the owner of the receives tells of them", in: "fi_ep_bind") }
    if flags != FI_RECV { throw .badFlags }
    if queue.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if self.queue != nil { throw .invalidArgument }
    queue.addBinding()
    queue.grow(by: size)
    self.queue = queue
    context.boundQueue = .passUnretained(queue)
  }

  /// Has a counter count the receives, at whichever endpoint they end, beside the counters of those. Throws FI_EBADFLAGS
  /// for other flags than FI_RECV, FI_EINVAL when one is bound already, FI_EDOMAIN.
  package func bind(_ counter: Counter, flags: UInt64) throws(FabricError) {
    if flags != FI_RECV { throw .badFlags }
    if counter.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if !counters.isEmpty { throw Self.refuse("a counter is bound already", in: "fi_ep_bind") }
    counters.bind(counter, flags: flags)
    context.count(at: counters.receive)
  }

  /// Reads an option of level FI_OPT_ENDPOINT, as `Endpoint.option` does.
  package func option(_ name: Int32, _ value: UnsafeMutableRawPointer, _ length: inout Int) throws(FabricError) {
    guard Int(name) == Int(FI_OPT_MIN_MULTI_RECV) else { throw .noSuchOption }
    try EndpointOptions.store(context.minimumMultiReceive, value, &length)
  }

  /// Sets an option. Throws FI_ENOPROTOOPT for one that there is not, FI_EINVAL for a value of another size.
  package func setOption(_ name: Int32, _ value: UnsafeRawPointer, _ length: Int) throws(FabricError) {
    guard Int(name) == Int(FI_OPT_MIN_MULTI_RECV) else { throw .noSuchOption }
    guard length == MemoryLayout<Int>.size else { throw .invalidArgument }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    context.minimumMultiReceive = value.loadUnaligned(as: Int.self)
  }

  // MARK: With the lock held

  /// An endpoint shares the context from now on.
  func addBinding() { bindings += 1 }

  /// It no longer does.
  func removeBinding() { bindings -= 1 }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_srx_context", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.endpointControl, reason, in: call)
  }
}
