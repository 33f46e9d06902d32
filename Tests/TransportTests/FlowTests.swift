import Packet
import SimulationSupport
import Testing
import Transport

/// Back-pressure: what a peer can make this side keep, and what happens at the limits.
@Suite struct FlowTests {
  @Test func aFullQueueSaysAgain() {
    let bench = Bench { configuration, _ in configuration.transmitQueueSize = 3 }
    bench.establish()
    #expect((0..<5).map { _ in bench.post(size: 10) != nil } == [true, true, true, false, false])
    bench.network.run(maximumSteps: 1_000)
    #expect(bench.post(size: 10) != nil)
    bench.network.run(maximumSteps: 1_000)
    #expect(bench.recorders[1].messages.count == 5)
  }

  /// Silent operations count when they end well, and each tells by itself when it fails.
  @Test func silentOperationsTellOnlyOfFailure() {
    let bench = Bench { configuration, _ in configuration.transmitQueueSize = 30 }
    bench.establish()
    for index in 0..<20 { bench.post(size: index * 40, flags: index % 2 == 0 ? [.silent, .inject] : []) }
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[0].silentCompletions == 10)
    #expect(bench.recorders[0].completions.count == 1 + 10)
    #expect(bench.recorders[1].messages.count == 21)
    #expect(bench.isQuiet)
    bench.network.cut(true, between: 0, and: 1)
    let lost = bench.post(size: 100, flags: .silent)
    bench.network.run(for: milliseconds(60_000))
    #expect(bench.recorders[0].silentCompletions == 10)
    #expect(bench.status(lost) != nil && bench.status(lost) != .ok)
  }

  /// Messages that nobody waits for use no more than the credit that was granted, whatever the sender posts.
  @Test(arguments: [64, 1_000, 9_000])
  func unexpectedMessagesAreBounded(size: Int) {
    let bench = Bench { configuration, _ in
      configuration.creditWindow = 64 * 1024
      configuration.eagerLimit = 16 * 1024
      configuration.operationWindow = 100
      configuration.transmitQueueSize = 1_024
      configuration.inboundTransfers = 2_000
    }
    bench.establish()
    bench.recorders[1].holds = true
    for _ in 0..<1_000 { bench.post(size: size) }
    bench.network.run(for: milliseconds(200))
    let held = bench.recorders[1].held
    #expect(held.count <= 100)
    #expect(held.count >= min(99, 64 * 1024 / size - 1), "the window is used")
    #expect(bench.host(1).usage.inbound <= 101)
    #expect(bench.host(1).usage.staged <= 300)
    // One by one the rest comes in, in order.
    while bench.recorders[1].messages.count < 1_001 && bench.network.failure == nil {
      let before = bench.recorders[1].messages.count
      bench.recorders[1].acceptHeld(count: 40, bench.host(1), bench.network)
      bench.network.run(for: milliseconds(20))
      if bench.recorders[1].messages.count == before { break }
    }
    #expect(bench.recorders[1].messages.count == 1_001)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[0].completions.count == 1_001)
    #expect(bench.isQuiet)
  }

  /// A large message that nobody waits for costs a few bytes until it is accepted.
  @Test func largeUnexpectedMessagesStayWithTheirSender() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].holds = true
    let received = bench.host(1).statistics.bytesReceived
    bench.post(size: 700_000)
    bench.network.run(for: milliseconds(3_000))
    #expect(bench.recorders[1].held.map(\.length) == [700_000])
    #expect(bench.host(1).statistics.bytesReceived - received < 100_000)
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[1].messages.last?.bytes == Bench.pattern(700_000))
    #expect(bench.isQuiet)
  }

  @Test func tooSmallABufferTruncates() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].capacity = 1_000
    let ids = [2_000, 60_000, 500_000].map { bench.post(size: $0, flags: .deliveryComplete) }
    bench.network.run(maximumSteps: 100_000)
    for (message, size) in zip(bench.recorders[1].messages.dropFirst(), [2_000, 60_000, 500_000]) {
      #expect(message.length == UInt64(size))
      #expect(message.bytes == Array(Bench.pattern(size).prefix(1_000)))
    }
    for id in ids { #expect(bench.status(id) == .ok) }
    #expect(bench.isQuiet)
  }

  @Test(arguments: [OperationStatus.accessDenied, .outOfBounds], [100, 20_000, 500_000])
  func refusedAccessTouchesNothing(refusal: OperationStatus, size: Int) {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].refusal = refusal
    let before = Array(bench.recorders[1].region)
    let write = bench.post(.write, size: size)
    let read = bench.post(.read, size: size)
    let local = bench.source()
    bench.network.run(maximumSteps: 100_000)
    let expected: TransportStatus = refusal == .accessDenied ? .accessDenied : .outOfBounds
    #expect(bench.status(write) == expected)
    #expect(bench.status(read) == expected)
    #expect(Array(bench.recorders[1].region) == before)
    #expect(bench.source() == local)
    #expect(bench.recorders[1].writes.isEmpty && bench.recorders[1].answeredReads == 0)
    #expect(bench.isQuiet)
  }

  @Test(arguments: [0, 1, 1_000, 20_000, 60_000])
  func writesAndReadsReachTheirMemory(size: Int) {
    let bench = Bench()
    bench.establish()
    let half = size / 3
    let segments = [
      RemoteSegment(address: 100, length: UInt64(half), key: 1),
      RemoteSegment(address: UInt64(200 + half), length: UInt64(size - half), key: 1),
    ]
    let write = bench.post(.write, size: size, flags: .remoteData, data: 77, segments: segments)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(write) == .ok)
    let region = bench.recorders[1].region
    var written = Array(region[100..<(100 + half)])
    written += region[(200 + half)..<(200 + size)]
    #expect(written == Bench.pattern(size))
    #expect(bench.recorders[1].writes.map(\.data) == [77])
    let read = bench.post(.read, size: size, segments: segments)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(read) == .ok)
    #expect(Array(bench.source().prefix(size)) == Bench.pattern(size))
    #expect(bench.recorders[1].answeredReads == 1)
    #expect(bench.isQuiet)
  }

  @Test func abortedTransfersEndAtBothSides() {
    let bench = Bench()
    bench.establish()
    var chunks = 0
    bench.network.filter = { source, _, datagram in
      if source == 0 && datagram.count > 1_000 { chunks += 1 }
      return source != 0 || chunks < 4
    }
    let id = bench.post(size: 300_000)
    bench.network.run(for: milliseconds(3))
    #expect(bench.host(1).usage.inbound == 1)
    bench.host(1).endpoint.abortTransfers(now: bench.network.now) { $0.first == 1_000_001 }
    bench.host(1).schedule(at: bench.network.now, bench.network)
    bench.network.filter = nil
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(id) == .aborted)
    #expect(bench.recorders[1].lostMessages == [.aborted])
    #expect(bench.isQuiet)
  }

  /// Thirty-two senders, one receiver, a switch with room for a tenth of what they may send.
  @Test func incastComesThrough() {
    var conditions = NetworkConditions()
    conditions.portBandwidth = 1_250_000_000
    conditions.portQueue = 128 * 1024
    conditions.datagramLimit = 1_472
    let bench = Bench(hosts: 33, conditions: conditions) { configuration, _ in
      configuration.interfaceDatagram = 1_472
    }
    for source in 1...32 {
      bench.post(from: source, to: 0, size: 20_000)
      bench.post(from: source, to: 0, size: 70_000)
    }
    bench.network.run(until: milliseconds(30_000), maximumSteps: 2_000_000)
    #expect(bench.recorders[0].messages.count == 64)
    #expect(bench.recorders[0].messages.allSatisfy { $0.bytes == Bench.pattern(Int($0.length)) })
    #expect(bench.network.statistics.queueDrops > 0)
    #expect(bench.isQuiet)
  }
}
