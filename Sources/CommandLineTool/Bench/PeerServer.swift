import Fabric

/// The other side of `bench` and of `doctor HOST`: answers one client after the other, so that none disturbs another's
/// figures.
struct PeerServer {
  private let listener: ControlListener

  /// How long a client may take to say what it wants next, and how long it may stay.
  private static let patience = Duration.seconds(10)
  private static let longestVisit = Duration.seconds(600)

  /// Listens at `host`, or at all addresses of this host.
  init(host: String?, port: UInt16) throws {
    listener = try ControlListener(host: host, port: port)
  }

  /// Serves clients until the process is ended, or one with `once`. What a client does wrong ends its visit alone; one
  /// that has not even introduced itself does not count.
  ///
  /// - Throws: ``ToolError`` when nobody can be served any more, or when the only client was not served.
  func serve(once: Bool) throws {
    while true {
      let channel = try listener.accept()
      let client = channel.peerAddress
      var isKnown = false
      do {
        try serve(channel) { provider in
          isKnown = true
          Output.note("\(client) uses \(provider)")
        }
        if once && isKnown { return }
      } catch {
        Output.note("\(client): \(error)")
        try? channel.send(.failed(reason: "\(error)"), within: .seconds(1))
        if once && isKnown { throw ToolError("the client was not served") }
      }
    }
  }

  private func serve(_ channel: ControlChannel, isKnown: (String) -> Void) throws {
    let before = PeerServer.arrivals
    guard let first = try channel.receive(within: Self.patience) else { return }
    guard case .hello(_, let provider, let address) = first else { throw ToolError("the client says no hello") }
    let end = ContinuousClock.now + Self.longestVisit
    let link = try PeerLink(providerName: provider, address: channel.localAddress) {
      switch channel.state {
      case .over: ToolError("the client has closed the connection")
      case .message: PeerServer.abandoned
      case .quiet: ContinuousClock.now > end ? PeerServer.tooLong : nil
      }
    }
    try link.connect(to: address)
    try channel.send(.welcome(address: link.endpoint.address))
    isKnown(provider)
    while let request = try channel.receive(within: Self.patience) {
      guard ContinuousClock.now < end else { throw PeerServer.tooLong }
      switch request {
      case .echo(let size, let count):
        try serve { try link.echo(size: size, count: count) { try channel.send(.ready) } }
      case .stream(let size, let count):
        try serve { try link.absorb(size: size, count: count) { try channel.send(.ready) } }
      case .arrivals: try channel.send(.arrived(datagrams: PeerServer.arrivals &- before))
      default: throw ToolError("the client speaks out of turn")
      }
    }
  }

  /// A client that says something else in the middle of what it asked for has given that up.
  private func serve(_ request: () throws -> Void) throws {
    do {
      try request()
    } catch let error as ToolError where error == PeerServer.abandoned {}
  }

  private static let abandoned = ToolError("the client has given up")
  private static let tooLong = ToolError("the client has stayed too long")

  /// Datagrams, or several put together by the kernel, that have come to this process's sockets.
  private static var arrivals: UInt64 { LibraryStatus.report().receive_buffers }
}

/// A client's connection to a ``PeerServer``, and the endpoints of both.
struct PeerSession {
  let link: PeerLink
  private let channel: ControlChannel

  /// Connects to a server and tells each side where the other is.
  ///
  /// - Parameters:
  ///   - provider: The provider that both use; nil takes the best of this side's.
  ///   - silenceLimit: How long the server's messages may fail to come.
  init(host: String, port: UInt16, provider: String?, silenceLimit: Duration = .seconds(10)) throws {
    let channel = try ControlSocket.connect(to: host, port: port, within: .seconds(10))
    let link = try PeerLink(providerName: provider, address: channel.localAddress, silenceLimit: silenceLimit) {
      PeerSession.interruption(channel)
    }
    let name = link.provider.info.providerName
    try channel.send(.hello(version: ControlMessage.version, provider: name, address: link.endpoint.address))
    // A server with another client first ends with that one.
    guard case .welcome(let address) = try channel.receive(within: .seconds(60)) else {
      throw ToolError("\(host), TCP port \(port): no fabric-polyfill answers")
    }
    try link.connect(to: address)
    self.link = link
    self.channel = channel
  }

  /// Half round trips in nanoseconds.
  func pingPong(size: Int, count: Int) throws -> [Double] {
    try link.pingPong(size: size, count: count) { try begin(.echo(size: size, count: count)) }
  }

  /// Seconds that messages to the server took.
  func stream(size: Int, count: Int) throws -> Double {
    try link.stream(size: size, count: count) { try begin(.stream(size: size, count: count)) }
  }

  /// Datagrams that the server has received since it knows this client.
  func arrivals() throws -> UInt64 {
    try channel.send(.arrivals)
    guard case .arrived(let datagrams) = try channel.receive(within: .seconds(10)) else {
      throw ToolError("the server answers out of turn")
    }
    return datagrams
  }

  /// A server that has something to say while messages are awaited has failed.
  private static func interruption(_ channel: ControlChannel) -> ToolError? {
    guard channel.state != .quiet else { return nil }
    do {
      let message = try channel.receive(within: .seconds(1))
      return ToolError(message == nil ? "the server has closed the connection" : "the server speaks out of turn")
    } catch {
      return error as? ToolError ?? ToolError("\(error)")
    }
  }

  private func begin(_ request: ControlMessage) throws {
    try channel.send(request)
    try channel.expect(.ready, within: .seconds(10))
  }
}
