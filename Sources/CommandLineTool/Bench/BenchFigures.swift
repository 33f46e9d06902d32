/// What `bench` has measured.
struct BenchFigures: Encodable {
  /// Half round trips, in microseconds.
  struct Latency: Encodable {
    var size: Int
    var count: Int
    var minimum: Double
    var mean: Double
    var median: Double
    var percentile99: Double
    var maximum: Double
  }

  /// A stream of messages in one direction.
  struct Stream: Encodable {
    var size: Int
    var count: Int
    var seconds: Double
    var messagesPerSecond: Double
    /// 10^6 bytes a second.
    var megabytesPerSecond: Double
  }

  var provider: String
  var domain: String
  /// Why this provider.
  var reason: String
  var latency: Latency
  var bandwidth: [Stream]

  var lines: [String] {
    var table = TextTable(["BYTES", "MESSAGES", "MESSAGES/S", "MB/S"], isRightAligned: true)
    for stream in bandwidth {
      table.append([
        "\(stream.size)", "\(stream.count)", Output.rounded(stream.messagesPerSecond),
        Output.rounded(stream.megabytesPerSecond),
      ])
    }
    let times = [
      ("min", latency.minimum), ("mean", latency.mean), ("p50", latency.median), ("p99", latency.percentile99),
      ("max", latency.maximum),
    ]
    let text = times.map { "\($0) \(Output.rounded($1))" }.joined(separator: ", ")
    return [
      "\(provider) on \(domain): \(reason)",
      "\(latency.size) bytes, half round trip in us: \(text) (\(latency.count) round trips)",
    ] + table.lines
  }
}

extension BenchFigures.Latency {
  /// From half round trips in nanoseconds, of which there is at least one.
  init(size: Int, halfRoundTrips: [Double]) {
    let sorted = halfRoundTrips.sorted().map { $0 / 1_000 }
    precondition(!sorted.isEmpty, "nothing was measured")
    /// The least of the samples that `share` of all do not exceed.
    func quantile(_ share: Double) -> Double {
      sorted[max(0, min(sorted.count - 1, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
    }
    self.init(
      size: size, count: sorted.count, minimum: sorted[0], mean: sorted.reduce(0, +) / Double(sorted.count),
      median: quantile(0.5), percentile99: quantile(0.99), maximum: sorted[sorted.count - 1])
  }
}

extension BenchFigures.Stream {
  init(size: Int, count: Int, seconds: Double) {
    let seconds = max(seconds, 1e-9)
    self.init(
      size: size, count: count, seconds: seconds, messagesPerSecond: Double(count) / seconds,
      megabytesPerSecond: Double(size) * Double(count) / seconds / 1e6)
  }
}
