import Packet
import SimulationSupport
import Testing
import Transport

/// What would change memory that is still being read waits.
@Suite struct DeferralTests {
  private static let size = 60_000

  /// A session whose first datagram with an answer to a read is lost, so that the answer is read from the memory again.
  private func bench(loses: Bool = true) -> Bench {
    let bench = Bench()
    bench.establish()
    var isFirst = true
    bench.network.filter = { source, _, datagram in
      guard loses, source == 1, isFirst, datagram.count > 1_000 else { return true }
      isFirst = false
      return false
    }
    return bench
  }

  private func region(_ bench: Bench) -> [UInt8] { Array(bench.recorders[1].region) }

  private func segment(_ address: Int, _ length: Int) -> [RemoteSegment] {
    [RemoteSegment(address: UInt64(address), length: UInt64(length), key: 1)]
  }

  /// Writes of all kinds, into the beginning, the middle and the end of what is read.
  @Test(arguments: [8, 3_000, 60_000], [(0, false), (20_000, true), (59_000, false), (59_000, true)])
  func writesWaitForReads(size: Int, place: (address: Int, loses: Bool)) {
    let bench = bench(loses: place.loses)
    let address = place.address
    let before = region(bench)
    let read = bench.post(.read, size: Self.size)
    let count = min(size, Self.size - address)
    let write = bench.post(.write, size: count, segments: segment(address, count))
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(read) == .ok && bench.status(write) == .ok)
    #expect(bench.source(last: 1) == Array(before[..<Self.size]))
    #expect(Array(region(bench)[address..<(address + count)]) == Bench.pattern(count))
    #expect(bench.host(1).statistics.deferredTransfers == 1)
    #expect(bench.isQuiet)
  }

  /// Pulled writes wait as well: nothing of them comes before.
  @Test func largeWritesWaitForReads() {
    let bench = Bench { configuration, _ in configuration.eagerLimit = 4_096 }
    bench.establish()
    let before = region(bench)
    for _ in 0..<3 { bench.post(.read, size: Self.size) }
    let write = bench.post(.write, size: Self.size)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(write) == .ok)
    for index in 1...3 { #expect(bench.source(last: index) == Array(before[..<Self.size])) }
    #expect(Array(region(bench)[..<Self.size]) == Bench.pattern(Self.size))
    #expect(bench.host(1).statistics.deferredTransfers == 1)
    #expect(bench.isQuiet)
  }

  /// A message that is received in memory which is being read, whether its buffer was there first or not.
  @Test(arguments: [8, 3_000, 50_000], [false, true]) func messagesWaitForReads(size: Int, loses: Bool) {
    let bench = bench(loses: loses)
    bench.recorders[1].place = 100
    let before = region(bench)
    let read = bench.post(.read, size: Self.size)
    let message = bench.post(size: size, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(read) == .ok && bench.status(message) == .ok)
    #expect(bench.source(last: 1) == Array(before[..<Self.size]))
    #expect(Array(region(bench)[100..<(100 + size)]) == Bench.pattern(size))
    #expect(bench.host(1).statistics.deferredTransfers == 1)
    #expect(bench.isQuiet)
  }

  /// Other memory, and other peers, are not waited for.
  @Test func onlyTheSameMemoryIsWaitedFor() {
    let bench = Bench(hosts: 3)
    bench.establish(0, 1)
    bench.establish(2, 1)
    // No answer arrives.
    bench.network.filter = { source, target, datagram in source != 1 || target != 0 || datagram.count < 1_000 }
    bench.post(.read, size: 30_000)
    let beside = bench.post(.write, size: 8, segments: segment(30_000, 8))
    let other = bench.post(.write, from: 2, size: 8)
    bench.network.run(for: milliseconds(50))
    #expect(bench.status(beside) == .ok && bench.status(other, at: 2) == .ok)
    let inside = bench.post(.write, size: 8, segments: segment(29_999, 8))
    bench.network.run(for: milliseconds(50))
    #expect(bench.status(inside) == nil)
    #expect(bench.host(1).statistics.deferredTransfers == 1)
    bench.network.filter = nil
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(inside) == .ok)
    #expect(bench.isQuiet)
  }

  /// What is behind a write that waits waits with it, in order; and reads see what was written.
  @Test func orderIsKeptBehindAWaitingWrite() {
    let bench = bench()
    var writesBefore: [Int] = []
    bench.recorders[1].onMessage = { _ in writesBefore.append(bench.recorders[1].writes.count) }
    bench.post(.read, size: Self.size)
    for _ in 0..<3 {
      bench.post(.write, size: 100)
      bench.post(size: 8)
    }
    let again = bench.post(.read, size: 100)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(writesBefore == [1, 2, 3])
    #expect(bench.status(again) == .ok)
    #expect(bench.source() == Bench.pattern(100))
    #expect(bench.isQuiet)
  }

  /// The session ends, or the memory goes away, while something waits.
  @Test(arguments: ["session", "memory"]) func waitingEnds(_ ending: String) {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 1_000 }
    bench.establish()
    bench.network.filter = { source, _, datagram in source != 1 || datagram.count < 1_000 }
    bench.post(.read, size: 30_000)
    let write = bench.post(.write, size: 3_000)
    bench.post(.write, size: 100)
    bench.network.run(for: milliseconds(20))
    #expect(bench.host(1).statistics.deferredTransfers == 1)
    if ending == "session" {
      bench.network.filter = { _, _, _ in false }
      bench.network.run(for: milliseconds(30_000))
      #expect(bench.status(write) == .timedOut)
      bench.network.filter = nil
    } else {
      bench.host(1).endpoint.abortTransfers(now: bench.network.now) { $0.first == 0 }
      bench.host(1).schedule(at: bench.network.now, bench.network)
      bench.network.filter = nil
      bench.network.run(maximumSteps: 1_000_000)
      #expect(bench.status(write) == .aborted)
    }
    let after = bench.post(.write, size: 100)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(after) == .ok)
    #expect(bench.isQuiet)
  }
}
