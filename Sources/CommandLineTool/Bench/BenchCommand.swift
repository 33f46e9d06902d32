import ArgumentParser
import Fabric

/// Measures what two hosts can do together.
struct BenchCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measures latency and bandwidth between two hosts.",
    discussion: """
      Without HOST it is the server, which listens on a TCP port and serves one client after the other until it is \
      stopped. With HOST it is the client, which measures and prints. Messages go over the fabric, the TCP connection \
      only carries what to do next; whoever reaches the port can have messages sent to themselves, so let it be reached \
      on networks you trust alone.

      Latency is half of a round trip of 64 bytes. Bandwidth is that of messages sent one after the other, several under \
      way at a time, until the server has them all. Figures are of the Swift API; C programs on the shared library do a \
      little better with small messages.

      EXAMPLES:
        fabric-polyfill bench                      on one host
        fabric-polyfill bench node7 --json         on the other
      """)

  @Argument(help: "The server; without it this is the server.")
  var host: String?

  @Option(help: "The server's TCP port.")
  var port: UInt16 = ControlSocket.standardPort

  @Option(help: "Server: the address to listen at; all when not given.")
  var bind: String?

  @Flag(help: "Server: ends after one client.")
  var once = false

  @Option(help: "Client: the provider that both sides use; the best when not given.")
  var provider: String?

  @Option(help: "Client: the sizes to send, in bytes, a comma list.")
  var sizes = SizeList(sizes: [64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20])

  @Option(help: "Client: round trips for the latency.")
  var iterations = 10_000

  @Option(help: "Client: seconds for each size, about.")
  var seconds = 0.5

  @Flag(help: "Client: prints JSON.")
  var json = false

  func validate() throws {
    if host != nil && (once || bind != nil) { throw ValidationError("--once and --bind are the server's") }
    if host == nil && (json || provider != nil) { throw ValidationError("--json and --provider are the client's") }
    guard (1...1_000_000).contains(iterations) else { throw ValidationError("--iterations is 1 to 1000000") }
    guard (0.01...60).contains(seconds) else { throw ValidationError("--seconds is 0.01 to 60") }
  }

  func run() throws {
    guard let host else {
      let server = try PeerServer(host: bind, port: port)
      Output.note("waiting for clients at TCP port \(port)")
      try server.serve(once: once)
      return
    }
    let session = try PeerSession(host: host, port: port, provider: provider)
    let figures = try measure(session)
    if json {
      try Output.json(figures)
    } else {
      figures.lines.forEach { print($0) }
    }
  }

  private func measure(_ session: PeerSession) throws -> BenchFigures {
    var bar = ProgressBar(steps: sizes.sizes.count + 1)
    defer { bar.clear() }
    bar.show("latency")
    _ = try session.pingPong(size: BenchCommand.pingSize, count: min(iterations, 1_000))
    let latency = BenchFigures.Latency(
      size: BenchCommand.pingSize, halfRoundTrips: try session.pingPong(size: BenchCommand.pingSize, count: iterations))
    var streams: [BenchFigures.Stream] = []
    for size in sizes.sizes {
      bar.advance()
      bar.show(Output.size(size))
      // What a few take says how many fill the time.
      let trial = min(256, max(4, (16 << 20) / max(size, 1)))
      let rate = Double(trial) / max(try session.stream(size: size, count: trial), 1e-6)
      let count = min(max(Int(rate * seconds), trial), ControlMessage.largestCount / 10)
      let seconds = try session.stream(size: size, count: count)
      streams.append(BenchFigures.Stream(size: size, count: count, seconds: seconds))
    }
    let provider = session.link.provider
    return BenchFigures(
      provider: provider.info.providerName, domain: provider.info.domainName, reason: provider.reason, latency: latency,
      bandwidth: streams)
  }

  private static let pingSize = 64
}

/// Sizes as an argument: `64,4096`.
struct SizeList: ExpressibleByArgument {
  var sizes: [Int]

  init(sizes: [Int]) {
    self.sizes = sizes
  }

  init?(argument: String) {
    sizes = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      guard let size = Int(part), (0...ControlMessage.largestSize).contains(size) else { return nil }
      sizes.append(size)
    }
  }

  var defaultValueDescription: String { sizes.map(String.init).joined(separator: ",") }
}
