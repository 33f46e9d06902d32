import CFabric

/// What carries a program's messages: native hardware, or UDP. It is open and ready; code that uses it is the same for
/// both.
public struct TransportProvider: Sendable {
  /// Levels, of which a program gets the best that works.
  public enum Level: Hashable, Sendable {
    /// A native libfabric, with the provider that ``TransportProvider/info`` names.
    case native
    /// The polyfill: its own reliable protocol over UDP.
    case udp
  }

  /// What was chosen.
  public let level: Level

  /// Why, in a sentence.
  public let reason: String

  /// The interface, on which endpoints are opened.
  public let domain: Domain

  /// The provider and what it can do.
  public var info: Info { domain.info }

  /// Opens an endpoint with a queue and an address vector of its own.
  public func endpoint() throws(FabricError) -> Endpoint {
    try Endpoint(domain)
  }
}

/// Finds what can carry this program's messages, best first, and opens it: each way that the library offers is tried
/// with a network, a domain and an endpoint until one works.
///
///     let provider = try selectProvider()
///     print(provider.level, provider.reason)
///     let endpoint = try provider.endpoint()
///
/// - Parameters:
///   - hints: What the program needs.
///   - node: A host name or address; the local one with `local`, otherwise that of a peer to be reached.
///   - local: Whether `node` is of this host.
/// - Throws: ``FabricError/Code/noData`` where nothing is offered, or why the first that was offered does not work.
public func selectProvider(
  _ hints: Hints = Hints(), node: String? = nil, local: Bool = false
) throws(FabricError) -> TransportProvider {
  var failures: [(info: Info, error: FabricError)] = []
  for info in try Info.discover(hints, node: node, local: local) {
    do {
      let domain = try Domain(info)
      _ = try Endpoint(domain)
      let (level, reason) = TransportProvider.Level.explain(domain)
      let others = failures.map { "; \($0.info) does not work: \($0.error)" }.joined()
      return TransportProvider(level: level, reason: reason + others, domain: domain)
    } catch {
      failures.append((info, error))
    }
  }
  throw failures[0].error
}
