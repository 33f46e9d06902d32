import CFabric
import Datagram

// What is special about scalable endpoints.
extension Endpoint {
  /// The contexts of a scalable endpoint, as many as `info` says; nil for others, which have one of each kind.
  static func contexts(
    _ info: UnsafePointer<fi_info>, _ type: EndpointType, _ isScalable: Bool
  ) throws(FabricError) -> ContextTable? {
    let transmits = info.pointee.ep_attr.pointee.tx_ctx_cnt
    let receives = info.pointee.ep_attr.pointee.rx_ctx_cnt
    let shared = EndpointOptions.sharedContext
    if !isScalable {
      guard exceeds(transmits, 1) && transmits != shared || exceeds(receives, 1) && receives != shared else {
        return nil
      }
      throw FabricError.invalidArgument.because(
        .endpointControl, "several contexts belong to a scalable endpoint", in: "fi_endpoint")
    }
    if type != .rdm { throw refuse("endpoints of that type are not scalable") }
    if transmits == shared || receives == shared { throw refuse("a scalable endpoint shares no contexts") }
    let limit = type.contextsPerEndpoint
    if exceeds(transmits, limit) || exceeds(receives, limit) { throw refuse("an endpoint has not so many contexts") }
    return ContextTable(transmits: max(transmits, 1), receives: max(receives, 1))
  }

  /// Queues and counters are bound to the contexts of a scalable endpoint, not to it.
  func checkOwnContexts() throws(FabricError) {
    if contexts == nil { return }
    throw FabricError.invalidArgument.because(
      .endpointControl, "queues and counters belong to the contexts", in: "fi_scalable_ep_bind")
  }

  /// Whether contexts are open: such an endpoint cannot be closed.
  package var hasOpenContexts: Bool {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    return contexts.map { $0.isInUse } ?? false
  }

  /// The port of a scalable endpoint, made if it is not there. Throws FI_ENOAV without an address vector, FI_EMFILE and
  /// the like. The engine's lock is held.
  @discardableResult
  func startContexts() throws(FabricError) -> Port {
    if let port { return port }
    guard let addresses, let contexts else { throw .noAddressVector }
    guard socket != nil else { throw .badState }
    let queue = CompletionQueue(discardingIn: domain)
    discardingQueue = queue
    options.hasTransmitQueue = true
    options.hasReceiveQueue = true
    let binding = Port.Binding(domain: domain, addresses: addresses, transmitQueue: queue, receiveQueue: queue)
    let size = options.transmitQueueSize
    let transmits = min(size * contexts.transmitCount, max(size, Capabilities.maximumQueueSize))
    return try start(binding, addresses, transmits: transmits)
  }

  private static func refuse(_ reason: StaticString) -> FabricError {
    FabricError.invalidArgument.because(.endpointControl, reason, in: "fi_scalable_ep")
  }
}
