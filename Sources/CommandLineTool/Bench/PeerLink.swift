import Fabric
import Glibc

/// An endpoint that talks to one peer: what a measurement's messages go over. One thread uses it.
final class PeerLink {
  /// What carries the messages.
  let provider: TransportProvider
  let endpoint: Endpoint

  private var peer: Peer?
  private let silenceLimit: Duration
  private let interruption: () -> ToolError?

  /// Opens an endpoint.
  ///
  /// - Parameters:
  ///   - providerName: The provider; nil takes the best.
  ///   - address: This host's address to use, where the provider's addresses are such.
  ///   - silenceLimit: How long the peer may be silent while something is expected of it.
  ///   - interruption: Why nothing more will come, if so; asked now and then while nothing comes.
  init(
    providerName: String?, address: String, silenceLimit: Duration = .seconds(10),
    interruption: @escaping () -> ToolError?
  ) throws(FabricError) {
    let hints = Hints(capabilities: [.messages], provider: providerName)
    self.provider = try PeerLink.open(hints, address)
    self.endpoint = try provider.endpoint()
    self.silenceLimit = silenceLimit
    self.interruption = interruption
  }

  /// Devices that are not named by addresses of the network are taken without.
  private static func open(_ hints: Hints, _ address: String) throws(FabricError) -> TransportProvider {
    do {
      return try selectProvider(hints, node: address, local: true)
    } catch {
      guard error.code == .noData else { throw error }
      return try selectProvider(hints)
    }
  }

  /// Says where the peer is.
  func connect(to address: EndpointAddress) throws(FabricError) {
    peer = try endpoint.addressVector.insert(address)
  }
}

extension PeerLink {
  /// Waits for the next completion, by polling.
  ///
  /// - Throws: The error of an operation that failed, or ``ToolError`` when the peer is silent or gone.
  func next() throws -> Completion {
    var polls = 0
    var silentSince = ContinuousClock.now
    while true {
      if let completion = try endpoint.completionQueue.read() {
        if let error = completion.error { throw error }
        return completion
      }
      polls += 1
      guard polls % PeerLink.pollsBetweenLooks == 0 else { continue }
      let now = ContinuousClock.now
      if polls == PeerLink.pollsBetweenLooks { silentSince = now }
      if now - silentSince > silenceLimit { throw ToolError("the peer's messages do not arrive") }
      if let reason = interruption() { throw reason }
      // The peer may need this processor to answer.
      sched_yield()
    }
  }

  /// Sends a region without waiting: a small one at once and without a completion, which is the fastest way.
  ///
  /// - Returns: Whether there will be a completion.
  func transmit(_ region: SendRegion) throws -> Bool {
    guard let peer else { throw ToolError("there is no peer") }
    if region.byteCount <= provider.info.injectSize {
      try endpoint.retrying(endpoint.inject(region.bytes, to: peer))
      return false
    }
    try endpoint.retrying(endpoint.send(region, to: peer))
    return true
  }

  /// Posts a send that will complete.
  func send(_ region: SendRegion) throws {
    guard let peer else { throw ToolError("there is no peer") }
    try endpoint.retrying(endpoint.send(region, to: peer))
  }

  /// Posts a receive.
  func receive(_ region: consuming ReceiveRegion) throws {
    try endpoint.recv(region)
  }

  /// A region to send with `size` bytes.
  func payload(size: Int) throws -> SendRegion {
    try provider.domain.sendRegion(copying: [UInt8](repeating: 0x5A, count: size))
  }

  /// Polls between two looks at the clock and at the connection: less than a millisecond.
  private static let pollsBetweenLooks = 1024
}
