import CFabric

// Man page: fi_cm(3)
extension Endpoint {
  /// Opens an endpoint and asks a ``PassiveEndpoint`` to connect to it. What becomes of that is an event of `events`; once
  /// it is ``ConnectionEvent/Kind/connected``, messages go to ``Peer/connected``.
  ///
  /// - Parameters:
  ///   - address: Where the peer listens.
  ///   - domain: An interface that was opened for ``Hints/EndpointType/connected``.
  ///   - events: Where the connection tells what becomes of it.
  ///   - data: A few bytes for the peer, 256 with the polyfill.
  public convenience init(
    connectingTo address: EndpointAddress, on domain: Domain, events: EventQueue, data: [UInt8] = []
  ) throws(FabricError) {
    // Providers take the size of an address for granted.
    guard address.bytes.count >= domain.info.addressSize else {
      throw FabricError(.addressNotAvailable, in: "fi_connect")
    }
    try self.init(domain, domain.info, events)
    let result = address.bytes.withUnsafeBytes { address in
      data.withUnsafeBytes { fi_connect(handle.pointer, address.baseAddress, $0.baseAddress, $0.count) }
    }
    try check("fi_connect", result)
  }

  /// Opens an endpoint for a peer that wants to connect, and tells it `data`. Both hear when they are connected.
  ///
  /// - Throws: ``FabricError/Code/invalidArgument`` for a request that was answered.
  public convenience init(
    accepting request: ConnectionRequest, on domain: Domain, events: EventQueue, data: [UInt8] = []
  ) throws(FabricError) {
    try request.answer("fi_accept")
    try self.init(domain, request.info, events)
    let result = data.withUnsafeBytes { fi_accept(handle.pointer, $0.baseAddress, $0.count) }
    try check("fi_accept", result)
  }

  /// Ends a connection; the peer hears of it.
  public func disconnect() throws(FabricError) {
    try check("fi_shutdown", fi_shutdown(handle.pointer, 0))
  }
}

extension Peer {
  /// The other side of a connected endpoint.
  public static let connected = Peer.unknown
}
