import ArgumentParser
import Fabric

/// What programs are offered.
struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Shows what programs are offered, which level is active, and why.",
    discussion: """
      The entries are those of fi_getinfo, best first, under the variables that are set here. Ends with 1 if there is \
      none.

      EXAMPLES:
        fabric-polyfill info
        FI_POLYFILL_MODE=udp fabric-polyfill info --type rdm --json
      """)

  /// Kinds of endpoint, by their usual names.
  enum EndpointType: String, CaseIterable, ExpressibleByArgument {
    case rdm, msg, dgram

    var hint: Hints.EndpointType {
      switch self {
      case .rdm: .reliableDatagram
      case .msg: .connected
      case .dgram: .datagram
      }
    }

    /// What every provider of the kind can do.
    var capabilities: Capabilities { self == .rdm ? [.messages, .taggedMessages] : .messages }
  }

  @Option(help: "Only this kind of endpoint.")
  var type: EndpointType?

  @Option(help: "Only this provider, as libfabric names it: \"tcp;ofi_rxm\".")
  var provider: String?

  @Option(help: "Only what reaches this host.")
  var node: String?

  @Flag(help: "Prints JSON.")
  var json = false

  func run() throws {
    let entries = try (type.map { [$0] } ?? EndpointType.allCases).flatMap(discover)
    let listing = Listing(version: Library.version, status: LibraryStatus.current, entries: entries)
    if json {
      try Output.json(listing)
    } else {
      listing.lines.forEach { print($0) }
    }
    if entries.isEmpty { throw ExitCode.failure }
  }

  /// The entries of a kind; none where nobody offers it.
  private func discover(_ type: EndpointType) throws -> [Listing.Entry] {
    let hints = Hints(capabilities: type.capabilities, endpointType: type.hint, provider: provider)
    do {
      return try Info.discover(hints, node: node, service: node == nil ? nil : "1").map { Listing.Entry($0, type) }
    } catch {
      guard error.code == .noData else { throw error }
      return []
    }
  }
}

/// What `info` prints.
struct Listing: Encodable {
  /// One way to communicate.
  struct Entry: Encodable {
    var provider: String
    var fabric: String
    var domain: String
    var type: String
    var maximumMessageSize: Int
    var transmitQueueSize: Int
    var receiveQueueSize: Int
    var injectSize: Int
  }

  /// The release whose interface the library has.
  var version: String
  var status: LibraryStatus
  var entries: [Entry]

  var lines: [String] {
    var lines = [
      "level:   \(status.level) (FI_POLYFILL_MODE \(status.mode))",
      "why:     \(status.reason)",
      "native:  \(nativeText)",
      "version: the interface of libfabric \(version)",
      "",
    ]
    guard !entries.isEmpty else { return lines + ["no entries: fi_getinfo offers nothing of the kind"] }
    var table = TextTable(["PROVIDER", "FABRIC", "DOMAIN", "TYPE", "LARGEST MESSAGE"])
    for entry in entries {
      table.append([entry.provider, entry.fabric, entry.domain, entry.type, Output.size(entry.maximumMessageSize)])
    }
    lines += table.lines
    return lines
  }

  private var nativeText: String {
    let native = status.native
    guard let path = native.path else { return native.state }
    let version = native.version.map { ", version \($0)" } ?? ""
    let provider = native.provider.map { ", provider \($0)" } ?? ""
    return "\(native.state): \(path)\(version)\(provider)"
  }
}

extension Listing.Entry {
  init(_ info: Info, _ type: InfoCommand.EndpointType) {
    self.init(
      provider: info.providerName, fabric: info.fabricName, domain: info.domainName, type: type.rawValue,
      maximumMessageSize: info.maximumMessageSize, transmitQueueSize: info.transmitQueueSize,
      receiveQueueSize: info.receiveQueueSize, injectSize: info.injectSize)
  }
}
