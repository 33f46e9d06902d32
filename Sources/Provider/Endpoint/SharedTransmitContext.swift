import CFabric

/// A transmit queue that several endpoints share: so many operations may be in flight over all of them. They are posted
/// on the endpoints, which also tell of their ends.
///
/// Each port has leave for so many operations, `transmitLimit`, and asks here when that is used up; so those that share
/// a queue pay nothing for it while they stay within. Protected by the engine's lock.
///
/// Man page: fi_endpoint(3), "Shared contexts"
package final class SharedTransmitContext {
  package let domain: Domain
  /// Operations in flight over all endpoints.
  package let size: Int
  private var ports: [Unmanaged<Port>] = []
  private var bindings = 0

  /// Opens a context as `attributes` describe it, or with what endpoints have by default. Throws FI_EINVAL for what no
  /// transmit attributes of this provider have.
  package convenience init(_ domain: Domain, _ attributes: UnsafePointer<fi_tx_attr>?) throws(FabricError) {
    var size = Configuration.current.txSize
    if let attributes = attributes?.pointee {
      if attributes.caps & ~(Capabilities.transmit | Capabilities.domain | Capabilities.ignoredForTransmit) != 0 {
        throw Self.refuse("a capability is not offered")
      }
      if attributes.op_flags & ~Capabilities.transmitFlags != 0 { throw Self.refuse("op_flags that are no defaults") }
      let isTooLarge =
        UInt(bitPattern: attributes.size) > UInt(Capabilities.maximumQueueSize)
        || UInt(bitPattern: attributes.inject_size) > UInt(Capabilities.injectSize)
        || UInt(bitPattern: attributes.iov_limit) > UInt(Capabilities.iovLimit)
        || UInt(bitPattern: attributes.rma_iov_limit) > UInt(Capabilities.remoteIovLimit)
      if isTooLarge { throw Self.refuse("size, inject_size, iov_limit or rma_iov_limit is too large") }
      if attributes.size != 0 { size = attributes.size }
    }
    self.init(domain, size: size)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ domain: Domain, size: Int) {
    self.domain = domain
    self.size = size
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  /// Throws FI_EBUSY while endpoints share the context.
  package func close() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if bindings != 0 { throw Self.refuse("endpoints still share the context", in: "fi_close", .busy) }
    domain.removeChild()
  }

  // MARK: With the lock held

  /// An endpoint shares the context from now on.
  func addBinding() { bindings += 1 }

  /// It no longer does.
  func removeBinding() { bindings -= 1 }

  func attach(_ port: Port) {
    ports.append(.passUnretained(port))
    port.transmitLimit = 0
  }

  func detach(_ port: Port) {
    let gone = Unmanaged.passUnretained(port).toOpaque()
    ports.removeAll { $0.toOpaque() == gone }
  }

  /// Operations that may still be posted, on any endpoint.
  var operationsLeft: Int {
    var left = size
    for port in ports { left -= port._withUnsafeGuaranteedRef { $0.outstanding } }
    return left
  }

  /// Gives a port leave for more operations; false when all are in flight. What is left is halved, so that all get some;
  /// when nothing is, the others give back what they do not use.
  func extend(_ port: Port) -> Bool {
    var left = size
    for other in ports { left -= other._withUnsafeGuaranteedRef { $0.transmitLimit } }
    if left <= 0 {
      left = operationsLeft
      if left <= 0 { return false }
      for other in ports { other._withUnsafeGuaranteedRef { $0.transmitLimit = $0.outstanding } }
    }
    port.transmitLimit += (left + 1) / 2
    return true
  }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_stx_context", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.endpointControl, reason, in: call)
  }
}
