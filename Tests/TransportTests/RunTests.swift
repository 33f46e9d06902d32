import Packet
import SimulationSupport
import Testing
import Transport

/// Rows of small messages that are over once they were sent, the last one excepted.
@Suite struct RunTests {
  private func post(_ count: Int, _ bench: Bench, size: Int = 40, flags: OperationFlags = []) -> [UInt64?] {
    (0..<count).map { bench.post(size: size, flags: flags.union([.buffered, .tagged]), tag: UInt64($0)) }
  }

  /// Everything has arrived once and in order, and nothing is left.
  private func expectAll(_ count: Int, _ bench: Bench, size: Int = 40) {
    let messages = bench.recorders[1].messages.dropFirst()
    #expect(messages.map(\.tag) == (0..<UInt64(count)).map { $0 })
    #expect(messages.allSatisfy { $0.bytes == Bench.pattern(size) })
    #expect(bench.isQuiet)
  }

  @Test func allButTheLastEndWithoutThePeer() {
    let bench = Bench()
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    let ids = post(50, bench)
    bench.network.run(for: microseconds(500))
    #expect(ids.dropLast().allSatisfy { bench.status($0) == .ok })
    #expect(bench.status(ids.last!) == nil)
    bench.network.filter = nil
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(ids.last!) == .ok)
    expectAll(50, bench)
  }

  /// Who asks for more than that the memory is free again waits for it.
  @Test(arguments: [.deliveryComplete, .matchComplete] as [OperationFlags])
  func otherLevelsWaitForThePeer(level: OperationFlags) {
    let bench = Bench()
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    let ids = (0..<20).map { _ in bench.post(size: 40, flags: level) }
    bench.network.run(for: microseconds(500))
    #expect(ids.allSatisfy { bench.status($0) == nil })
    bench.network.filter = nil
    bench.network.run(maximumSteps: 100_000)
    #expect(ids.allSatisfy { bench.status($0) == .ok })
  }

  /// The last one ends after those before it have arrived, and not when it alone has.
  @Test func theLastWaitsForLostRuns() {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    bench.establish()
    var isFirst = true
    bench.network.filter = { source, _, datagram in
      guard source == 0, datagram[DataHeader.size] == FrameType.message.rawValue else { return true }
      defer { isFirst = false }
      return !isFirst
    }
    var arrived: Int?
    let ids = post(60, bench)
    bench.recorders[0].onStep = {
      if arrived == nil && bench.status(ids.last!) != nil { arrived = bench.recorders[1].messages.count }
    }
    bench.network.run(maximumSteps: 100_000)
    #expect(!isFirst)
    #expect(arrived == 61)
    #expect(bench.host(0).statistics.retransmittedFrames > 0)
    expectAll(60, bench)
  }

  /// A run that went out in one large datagram is lost, and nothing larger than the smallest gets through any more.
  @Test(arguments: [40, 1_000, 1_100], ["silent", "reports", "reports with size"])
  func runsAreTornWhereThePathShrinks(size: Int, router: String) {
    var conditions = NetworkConditions()
    conditions.reportsTooBig = router != "silent"
    conditions.reportsLimit = router == "reports with size"
    let bench = Bench(conditions: conditions)
    bench.establish()
    for _ in 0..<4 { bench.post(size: 60_000) }
    bench.network.run(maximumSteps: 100_000)
    bench.network.limit(1_200, between: 0, and: 1)
    let before = bench.recorders[1].messages.count - 1
    let ids = post(100, bench, size: size)
    bench.network.run(until: bench.network.now + milliseconds(20_000), maximumSteps: 1_000_000)
    #expect(ids.allSatisfy { bench.status($0) == .ok })
    #expect(bench.recorders[1].messages.dropFirst(before + 1).map(\.tag) == (0..<100).map { UInt64($0) })
    #expect(bench.recorders[1].messages.dropFirst(before + 1).allSatisfy { $0.bytes == Bench.pattern(size) })
    #expect(bench.isQuiet)
  }

  /// Longer messages, and those for a peer that is not known yet, go the usual way among them.
  @Test func runsKeepOrderWithOthers() {
    let bench = Bench()
    var tags: [UInt64] = []
    bench.recorders[1].onMessage = { tags.append($0.tag) }
    for tag in 0..<200 as Range<UInt64> {
      let size = tag % 7 == 3 ? 3_000 : tag % 31 == 5 ? 100_000 : Int(tag)
      let flags: OperationFlags = tag % 5 == 4 ? [.tagged] : [.tagged, .buffered]
      #expect(bench.post(size: size, flags: flags, tag: tag) != nil)
      if tag % 50 == 49 { bench.network.run(for: microseconds(30)) }
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(tags == (0..<200).map { UInt64($0) })
    #expect(bench.recorders[0].completions.count == 200)
    #expect(bench.isQuiet)
  }

  /// Injected messages of which only failures are told.
  @Test func silentOnesAreCounted() {
    let bench = Bench()
    bench.establish()
    _ = post(50, bench, flags: [.inject, .silent])
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[0].silentCompletions == 50)
    expectAll(50, bench)
  }

  /// The peer is gone: what was held for it is given back, and the last one tells.
  @Test func aFailureFreesRuns() {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 1_000 }
    bench.establish()
    bench.network.filter = { _, _, _ in false }
    let ids = post(50, bench)
    bench.network.run(until: bench.network.now + milliseconds(100_000), maximumSteps: 1_000_000)
    #expect(bench.status(ids.last!) == .timedOut)
    #expect(ids.dropLast().allSatisfy { bench.status($0) == .ok })
    #expect(bench.host(0).endpoint.usage.frames == 0)
  }

  /// Slots of messages that were sent are free for others.
  @Test func runsOccupyNoSlots() {
    let bench = Bench { configuration, _ in configuration.transmitQueueSize = 16 }
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    for _ in 0..<8 {
      #expect(post(8, bench).allSatisfy { $0 != nil })
      bench.network.run(for: microseconds(20))
    }
    bench.network.filter = nil
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[1].messages.count == 65)
    #expect(bench.isQuiet)
  }
}
