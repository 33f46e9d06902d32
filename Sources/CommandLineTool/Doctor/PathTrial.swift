import CFabric
import Fabric
import Glibc

/// Messages to another host and back: whether they get through, and what the path carries.
struct PathTrial {
  /// What was seen.
  struct Outcome: Equatable {
    /// Half round trips of small messages, in microseconds: the median. Nil if they did not come back.
    var halfRoundTrip: Double?
    /// Why not.
    var failure = ""
    /// Datagrams that the other host has received.
    var arrivedThere: UInt64 = 0
    /// Datagrams that have come back.
    var arrivedHere: UInt64 = 0
    /// UDP payload of the largest datagram that gets through; 0 if it is not known.
    var payload = 0
    var isIPv6 = false
    /// MTU of this host's interface.
    var interfaceMTU: Int?
  }

  private let session: PeerSession

  /// Connects over TCP to the server at the other host.
  init(host: String, port: UInt16) throws {
    session = try PeerSession(host: host, port: port, provider: "polyfill", silenceLimit: .seconds(4))
  }

  /// Exchanges messages.
  func run(_ facts: HostFacts) throws -> Outcome {
    var outcome = Outcome()
    let before = LibraryStatus.report().receive_buffers
    do {
      let halfRoundTrips = try session.pingPong(size: 64, count: 100)
      outcome.halfRoundTrip = BenchFigures.Latency(size: 64, halfRoundTrips: halfRoundTrips).median
      outcome.payload = try largestPayload()
    } catch {
      // What has arrived, and where, says which way is closed.
      outcome.failure = "\(error)"
    }
    outcome.arrivedHere = LibraryStatus.report().receive_buffers &- before
    outcome.arrivedThere = try session.arrivals()
    let info = session.link.provider.info
    outcome.isIPv6 = info.fabricName.contains(":")
    outcome.interfaceMTU = facts.interfaces.first { $0.name == info.domainName }?.mtu
    return outcome
  }

  /// Sends until the library has found out what the path carries: it tries while there is traffic.
  private func largestPayload() throws -> Int {
    var (largest, unchanged, tries) = (0, 0, 0)
    while unchanged < PathTrial.settled && tries < PathTrial.longestSearch {
      tries += 1
      _ = try session.stream(size: 64 << 10, count: 16)
      let payload = Int(clamping: LibraryStatus.report().smallest_mtu)
      unchanged = payload == largest ? unchanged + 1 : 0
      largest = payload
      usleep(20_000)
    }
    return largest
  }

  /// The library does not search on for the last few bytes.
  fileprivate static let searchPrecision = 32
  /// What Ethernet carries at most.
  fileprivate static let largestFrame = 9_216
  private static let longestSearch = 150
  private static let settled = 25
}

extension PathTrial.Outcome {
  /// What it means. `range` is FI_POLYFILL_PORT_RANGE, and `firewalls` are commands that can open it.
  func findings(host: String, ports range: String?, firewalls: [String]) -> [Finding] {
    guard let halfRoundTrip else { return [blocked(host, range, firewalls)] }
    var findings = [Finding.ok("messages", "to \(host) and back; half round trip \(Output.rounded(halfRoundTrip)) us")]
    guard payload > 0 else { return findings }
    let packet = payload + (isIPv6 ? 48 : 28)
    let seen = "IP packets of \(packet) bytes get through"
    // Loopback is no path to another host, whatever its interface has.
    if let interfaceMTU, packet + PathTrial.searchPrecision < interfaceMTU && interfaceMTU <= PathTrial.largestFrame {
      findings.append(
        .warn("path MTU", "\(seen), though this host's interface has \(interfaceMTU)", "tracepath -n \(host)"))
    } else {
      findings.append(.ok("path MTU", seen))
    }
    return findings
  }

  /// The way that is closed, and how to open it.
  private func blocked(_ host: String, _ range: String?, _ firewalls: [String]) -> Finding {
    guard arrivedThere == 0 || arrivedHere == 0 else {
      return .fail("messages", "UDP gets through both ways, but messages do not: \(failure)", "tracepath -n \(host)")
    }
    let (place, detail) =
      arrivedThere == 0
      ? ("on \(host)", "UDP from here does not reach \(host)") : ("here", "UDP from \(host) does not come back")
    let ports = range ?? "47600-47699"
    let open = PathTrial.Outcome.command(firewalls.first ?? "iptables", ports)
    var finding = Finding.fail("messages", "\(detail), though TCP gets through: a firewall?", "\(open)  # \(place)")
    if range == nil {
      finding.remedy.append("export FI_POLYFILL_PORT_RANGE=\(ports)  # on both hosts")
    }
    return finding
  }

  /// The command that lets UDP in.
  private static func command(_ firewall: String, _ ports: String) -> String {
    switch firewall {
    case "firewall-cmd": "sudo firewall-cmd --add-port=\(ports)/udp"
    case "ufw": "sudo ufw allow \(ports.replacing("-", with: ":"))/udp"
    case "nft": "sudo nft insert rule inet filter input udp dport \(ports) accept"
    default: "sudo iptables -I INPUT -p udp --dport \(ports.replacing("-", with: ":")) -j ACCEPT"
    }
  }
}
