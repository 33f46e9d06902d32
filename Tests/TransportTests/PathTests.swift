import Packet
import SimulationSupport
import Testing
import Transport

/// Acknowledgements, loss recovery and the size of datagrams, seen from outside.
@Suite struct PathTests {
  /// The largest datagram that carries more than a PROBE.
  private func largest(_ bench: Bench, _ body: () -> Void) -> Int {
    var largest = 0
    bench.network.filter = { _, _, datagram in
      if datagram.first != firstByte(.data) || datagram[DataHeader.size] != FrameType.probe.rawValue {
        largest = max(largest, datagram.count)
      }
      return true
    }
    body()
    bench.network.filter = nil
    return largest
  }

  @Test(arguments: [1_200, 1_280, 1_472, 4_321, 8_972, 65_507])
  func findsWhatThePathCarries(limit: Int) {
    var conditions = NetworkConditions()
    conditions.datagramLimit = limit
    let bench = Bench(conditions: conditions)
    bench.establish()
    for _ in 0..<150 {
      bench.post(size: 2_000)
      bench.network.run(for: milliseconds(10))
    }
    let size = largest(bench) {
      bench.post(size: 300_000)
      bench.network.run(maximumSteps: 1_000_000)
    }
    #expect(size <= limit)
    #expect(size > limit - 64)
    #expect(bench.recorders[1].messages.count == 152)
  }

  /// The path carries less from one moment to the next, in the middle of a transfer, with and without a report.
  @Test(arguments: ["silent", "reports", "reports with size"], [1_200, 1_472, 4_000])
  func survivesAPathThatShrinks(router: String, limit: Int) {
    var conditions = NetworkConditions()
    conditions.reportsTooBig = router != "silent"
    conditions.reportsLimit = router == "reports with size"
    let bench = Bench(conditions: conditions)
    bench.establish()
    let id = bench.post(size: 1_500_000)
    bench.network.run(for: microseconds(100))
    bench.network.limit(limit, between: 0, and: 1)
    bench.network.run(until: bench.network.now + milliseconds(20_000), maximumSteps: 1_000_000)
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[1].messages.last?.bytes == Bench.pattern(1_500_000))
    #expect(bench.recorders.allSatisfy { $0.failures.isEmpty })
    #expect(bench.isQuiet)
  }

  /// One message, nobody else to talk to: the acknowledgement leaves when the receiver finds its socket empty.
  @Test func aLoneMessageIsAcknowledgedAtTheNextIdlePoll() {
    let bench = Bench { configuration, _ in
      configuration.acknowledgeDelay = milliseconds(100)
      configuration.interfaceDatagram = 1_200
    }
    bench.establish()
    let start = bench.network.now
    let id = bench.post(size: 10)
    bench.network.run(for: milliseconds(10))
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[0].completions.last!.time - start < microseconds(100))
  }

  /// A busy receiver acknowledges at the latest after its delay.
  @Test func acknowledgementsAreDelayedAtMostAsLongAsDeclared() {
    let bench = Bench { configuration, _ in
      configuration.acknowledgeDelay = milliseconds(2)
      configuration.interfaceDatagram = 1_200
    }
    bench.establish()
    // Never idle: something arrives at every poll.
    bench.host(1).habits.receiveBatch = 1
    let start = bench.network.now
    let junk = [UInt8](repeating: 0xFF, count: 40)
    for tick in 0..<4_000 as Range<UInt64> {
      bench.network.schedule(at: start + tick * 1_000) { bench.network.inject(junk, from: 0, to: 1) }
    }
    let id = bench.post(size: 10)
    bench.network.run(for: milliseconds(4))
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[0].completions.last!.time - start < milliseconds(2) + microseconds(200))
  }

  /// Request and response: the response carries the acknowledgement of the request.
  @Test func acknowledgementsTravelWithAnswers() {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    bench.establish()
    bench.establish(1, 0)
    let sent = bench.network.statistics.sent
    for round in 0..<100 {
      bench.post(from: 0, to: 1, size: 8)
      while bench.recorders[1].messages.count < round + 2 && !bench.network.clock.isEmpty {
        bench.network.run(maximumSteps: 10_000_000, while: { bench.recorders[1].messages.count < round + 2 })
      }
      bench.post(from: 1, to: 0, size: 8)
      bench.network.run(while: { bench.recorders[0].messages.count < round + 2 })
    }
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[0].messages.count == 101)
    #expect(bench.network.statistics.sent - sent < 330, "hardly more than one packet each way")
  }

  /// A stream is acknowledged rarely.
  @Test func manyPacketsShareAnAcknowledgement() {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    bench.establish()
    bench.post(size: 1_200_000)
    var back = 0
    var forth = 0
    bench.network.filter = { source, _, _ in
      if source == 1 { back += 1 } else { forth += 1 }
      return true
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(forth > 1_000)
    #expect(back * 10 < forth)
  }

  @Test func smallMessagesShareDatagrams() {
    let bench = Bench()
    bench.establish()
    let sent = bench.network.statistics.sent
    for _ in 0..<500 { bench.post(size: 16) }
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[1].messages.count == 501)
    #expect(bench.network.statistics.sent - sent < 60)
  }

  /// Reordering alone makes the sender repeat little, once it has learned.
  @Test func reorderingIsNotTakenForLoss() {
    var conditions = NetworkConditions()
    conditions.reordering = 0.1
    conditions.reorderingDelay = microseconds(30)
    conditions.portBandwidth = 1_250_000_000
    conditions.portQueue = 16 << 20
    let bench = Bench(conditions: conditions) { configuration, _ in configuration.interfaceDatagram = 1_472 }
    bench.establish()
    bench.post(size: 1_500_000)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.recorders[1].messages.last?.bytes == Bench.pattern(1_500_000))
    let statistics = bench.host(0).statistics
    #expect(statistics.packetsLost * 20 < statistics.packetsSent, "\(statistics)")
  }

  @Test(arguments: [0.01, 0.05, 0.2])
  func throughputUnderLoss(loss: Double) {
    var conditions = NetworkConditions()
    conditions.loss = loss
    conditions.delay = microseconds(50)
    let bench = Bench(seed: 3, conditions: conditions) { configuration, _ in configuration.interfaceDatagram = 1_472 }
    bench.establish()
    let start = bench.network.now
    let id = bench.post(size: 1_200_000)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(id) == .ok)
    let took = bench.recorders[0].completions.last!.time - start
    #expect(took < milliseconds(UInt64(1_500 * loss) + 30), "\(took / 1_000) us with loss \(loss)")
    let statistics = bench.host(0).statistics
    let needed = Double(1_200_000 / 1_400) / (1 - loss)
    #expect(Double(statistics.packetsSent) < needed * 1.3 + 200, "\(statistics)")
  }
}
