import SimulationSupport
import Transport

/// Experiments that print their figures, one JSON object a line: `{"name": ..., "value": ..., "unit": ...}`.
///
/// Time is virtual, so the same build prints the same figures on every machine.
enum Measurements {
  /// Goodput of a stream of 1 MiB messages under random loss, against that without.
  static func lossGoodput() {
    for (rate, rateName) in [(1_000_000_000, "1G"), (10_000_000_000, "10G"), (25_000_000_000, "25G")] {
      for (roundTrip, roundTripName) in [(20, "20us"), (200, "200us"), (10_000, "10ms")] as [(UInt64, String)] {
        var lossless = 0.0
        for loss in [0, 0.001, 0.01, 0.02, 0.05] {
          var experiment = TrafficExperiment()
          experiment.linkRate = rate
          experiment.roundTrip = microseconds(roundTrip)
          experiment.loss = loss
          let messages = rate >= 10_000_000_000 && roundTrip < 10_000 ? 96 : 48
          let result = experiment.goodput(messages: messages)
          if loss == 0 { lossless = result.goodput }
          let name = "loss_goodput/\(rateName)/\(roundTripName)/loss=\(rounded(loss * 100))%"
          print(name, result.goodput / 1e6, "MB/s")
          print(name + "/ratio", result.goodput / lossless, "ratio")
          print(name + "/probe_timeouts", Double(result.probeTimeouts), "count")
          print(name + "/spurious", Double(result.spuriousLosses), "count")
        }
      }
    }
  }

  /// Completion times of a 64 B ping-pong and of single 1 MiB messages under random loss.
  static func lossTail() {
    for (size, sizeName, count) in [(64, "64B", 20_000), (4_096, "4KiB", 20_000), (1 << 20, "1MiB", 500)] {
      var lossless: UInt64 = 1
      for loss in [0, 0.01] {
        var experiment = TrafficExperiment()
        experiment.roundTrip = microseconds(10)
        experiment.loss = loss
        let result = experiment.pingPong(count: count, size: size)
        if loss == 0 { lossless = result.quantile(0.999) }
        let name = "loss_tail/\(sizeName)/loss=\(rounded(loss * 100))%"
        for (share, shareName) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9"), (1, "max")] {
          print("\(name)/\(shareName)", Double(result.quantile(share)) / 1e3, "us")
        }
        print("\(name)/max_to_lossless_p99.9", Double(result.quantile(1)) / Double(lossless), "ratio")
      }
    }
  }

  /// 64 senders and one receiver behind a switch with a finite queue, against an ideal receiver: its link is always in
  /// use, and shared evenly by all who have something to send.
  static func incast() {
    for (size, sizeName, messages) in [(4_096, "4KiB", 200), (65_536, "64KiB", 20), (1 << 20, "1MiB", 4)] {
      for (rate, rateName) in [(10_000_000_000, "10G"), (25_000_000_000, "25G")] {
        var experiment = TrafficExperiment()
        experiment.linkRate = rate
        let result = experiment.incast(messages: messages, size: size)
        let name = "incast/64x\(sizeName)/\(rateName)"
        print("\(name)/goodput_ratio", result.goodputRatio, "ratio")
        for (share, shareName) in [(0.5, "p50"), (0.99, "p99"), (1, "max")] {
          print("\(name)/\(shareName)", Double(result.quantile(share)) / 1e3, "us")
          print("\(name)/\(shareName)_ideal", Double(result.idealQuantile(share)) / 1e3, "us")
        }
        print("\(name)/drops", Double(result.actual.drops), "count")
        print("\(name)/retransmitted_frames", Double(result.actual.retransmittedFrames), "count")
        print("\(name)/packets_sent", Double(result.actual.packetsSent), "count")
        print("\(name)/probe_timeouts", Double(result.actual.probeTimeouts), "count")
      }
    }
  }

  /// Streams that share the port of a switch: how evenly, how much of it they use, and what they lose on the way.
  static func fairness() {
    for (size, sizeName, window) in [(32_768, "eager", 32), (1 << 20, "pulled", 4)] {
      for streams in [2, 4, 16] {
        for (queue, queueName) in [(64 << 10, "64KiB"), (256 << 10, "256KiB"), (4 << 20, "4MiB")] {
          var experiment = TrafficExperiment()
          experiment.portQueue = queue
          experiment.roundTrip = microseconds(50)
          let (bytes, utilization, result) = experiment.share(
            streams: streams, size: size, window: window, stagger: milliseconds(5), settling: milliseconds(20),
            measured: milliseconds(40))
          let name = "fairness/\(sizeName)/streams=\(streams)/queue=\(queueName)"
          print("\(name)/jain", SimulationSupport.fairness(bytes), "index")
          print("\(name)/utilization", utilization, "ratio")
          print("\(name)/loss", Double(result.drops) / Double(max(result.packetsSent, 1)), "ratio")
        }
      }
    }
  }

  private static func print(_ name: String, _ value: Double, _ unit: String) {
    Swift.print("{\"name\": \"\(name)\", \"value\": \(rounded(value)), \"unit\": \"\(unit)\"}")
  }

  /// Three decimals are more than enough.
  private static func rounded(_ value: Double) -> Double { (value * 1_000).rounded() / 1_000 }
}
