import CFabric
import Fabric

/// Messages from this process to itself, over loopback: whether the library works at all, and what its sockets make use
/// of while it does.
struct LoopbackTrial {
  /// What the sockets of the two endpoints used.
  struct Outcome: Equatable {
    var sockets: UInt64 = 0
    var cutting: UInt64 = 0
    var merging: UInt64 = 0
    var connected: UInt64 = 0
    var splicing: UInt64 = 0
    var kernelDrops: UInt64 = 0
  }

  /// Sends a few large messages. What they used shows only while the endpoints are open.
  static func run() throws -> Outcome {
    let provider = try selectProvider(
      Hints(capabilities: [.messages], provider: "polyfill"), node: "127.0.0.1", local: true)
    let (source, target) = (try provider.endpoint(), try provider.endpoint())
    let peer = try source.addressVector.insert(target.address)
    let payload = try provider.domain.sendRegion(copying: [UInt8](repeating: 1, count: messageSize))
    for _ in 0..<messages {
      try target.recv(provider.domain.receiveRegion(byteCount: messageSize))
      try source.retrying(source.send(payload, to: peer))
      try wait(source, target)
    }
    let report = LibraryStatus.report()
    return Outcome(
      sockets: report.sockets, cutting: report.sockets_gso, merging: report.sockets_gro,
      connected: report.sockets_connected, splicing: report.sockets_splicing, kernelDrops: report.kernel_drops)
  }

  /// Waits until a message is sent and received.
  private static func wait(_ source: Endpoint, _ target: Endpoint) throws {
    let deadline = ContinuousClock.now + .seconds(10)
    var failure: FabricError?
    var ended = 0
    while ended < 2 {
      for endpoint in [source, target] {
        ended += try endpoint.completionQueue.read { failure = $0.error ?? failure }
      }
      if let failure { throw failure }
      guard ContinuousClock.now < deadline else { throw ToolError("a message to this process did not arrive") }
    }
  }

  private static let messageSize = 1 << 20
  private static let messages = 16
}

extension LoopbackTrial.Outcome {
  var findings: [Finding] {
    let name = "loopback"
    guard kernelDrops == 0 else {
      return [
        .warn(
          name, "messages arrive, but the kernel dropped \(kernelDrops) datagrams for want of a larger buffer",
          "sudo sysctl -w net.core.rmem_max=4194304")
      ]
    }
    let uses = [("GSO", cutting), ("GRO", merging), ("connected socket", connected), ("splice", splicing)]
    let (used, unused) = (uses.filter { $0.1 > 0 }.map(\.0), uses.filter { $0.1 == 0 }.map(\.0))
    let detail = "messages arrive; in use: \(used.isEmpty ? "nothing special" : used.joined(separator: ", "))"
    guard !unused.isEmpty else { return [.ok(name, detail)] }
    return [
      .warn(
        name, "\(detail); not in use: \(unused.joined(separator: ", "))", "FI_LOG_LEVEL=info fabric-polyfill doctor")
    ]
  }
}
