import Packet
import SimulationSupport
import Testing
import Transport

/// Atomic operations: each carried out once, in its turn.
@Suite struct AtomicTests {
  private let segment = RemoteSegment(address: 64, length: 16, key: 1)

  private func code(_ number: Int) -> AtomicCode {
    AtomicCode(operation: UInt8(truncatingIfNeeded: number), datatype: UInt8(truncatingIfNeeded: number >> 8))
  }

  /// Operations of every size and class on a network that loses, doubles and swaps.
  @Test(arguments: 1...8 as ClosedRange<UInt64>) func eachOnceAndInOrder(seed: UInt64) {
    var conditions = NetworkConditions()
    conditions.loss = 0.1
    conditions.duplication = 0.1
    conditions.reordering = 0.2
    conditions.reorderingDelay = microseconds(100)
    let bench = Bench(seed: seed, conditions: conditions)
    let count = 300
    let results = UnsafeMutableRawBufferPointer.allocate(byteCount: count * 4096, alignment: 16)
    defer { results.deallocate() }
    var ids: [UInt64?] = []
    for number in 0..<count {
      let length = [1, 8, 16, 900, 1_100, 1_300, 4_096][number % 7]
      let segments = [
        RemoteSegment(address: 0, length: UInt64(length / 2), key: 1),
        RemoteSegment(address: 4_096, length: UInt64(length - length / 2), key: 1),
      ]
      let kind = number % 4
      let result = UnsafeMutableRawBufferPointer(rebasing: results[number * 4096..<(number * 4096 + length)])
      ids.append(
        bench.postAtomic(
          code(number), size: [0, length, length, 2 * length][kind], flags: kind == 1 ? [] : .fetch, segments: segments,
          result: kind == 1 ? nil : result))
      if number % 5 == 0 { bench.post(size: 100) }
      if number % 11 == 0 { bench.post(.write, size: 3_000) }
    }
    bench.network.run(maximumSteps: 4_000_000)
    #expect(bench.recorders[1].atomics == Array(0..<count))
    #expect(ids.allSatisfy { bench.status($0) == .ok })
    // From the second on the memory holds the operands of those before.
    for number in stride(from: 14, to: count, by: 7) where number % 4 != 1 {
      #expect(results[number * 4096] == Bench.pattern(1)[0])
    }
    #expect(bench.isQuiet)
  }

  /// Earlier writes are in place, be they eager or pulled, before an operation sees the memory; later ones are not.
  @Test(arguments: [8, 3_000, 50_000, 200_000]) func seesEarlierWritesOnly(size: Int) {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    bench.establish()
    let result = UnsafeMutableRawBufferPointer.allocate(byteCount: 4_096, alignment: 16)
    defer { result.deallocate() }
    let memory = RemoteSegment(address: 0, length: UInt64(min(size, 4_096)), key: 1)
    let length = Int(memory.length)
    let place = UnsafeMutableRawBufferPointer(rebasing: result[0..<length])
    let large = [RemoteSegment(address: 0, length: UInt64(min(size, 1 << 16)), key: 1)]
    bench.post(.write, size: Int(large[0].length), segments: large)
    let fetch = bench.postAtomic(code(1), size: 2 * length, flags: .fetch, segments: [memory], result: place)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(fetch) == .ok)
    #expect(Array(place) == Array(Bench.pattern(size).prefix(length)))
    #expect(bench.recorders[1].events.firstIndex(of: .atomic)! > bench.recorders[1].events.firstIndex(of: .write)!)
    #expect(bench.isQuiet)
  }

  /// Messages that nobody asks for use up all credit; an operation behind them gets through.
  @Test func needsNoCredit() {
    let bench = Bench { configuration, _ in
      configuration.creditWindow = 1 << 16
      configuration.eagerLimit = 1 << 14
    }
    bench.establish()
    bench.recorders[1].holds = true
    for _ in 0..<20 { bench.post(size: 10_000) }
    let atomic = bench.postAtomic(code(3), size: 16, segments: [segment])
    bench.network.run(for: milliseconds(100))
    #expect(bench.status(atomic) == .ok)
    #expect(bench.recorders[1].messages.count == 1)
    bench.recorders[1].holds = false
    for _ in 0..<30 {
      bench.recorders[1].acceptHeld(bench.host(1), bench.network)
      bench.network.run(for: milliseconds(10))
    }
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[1].messages.count == 21)
    #expect(bench.isQuiet)
  }

  /// Answers are bounded as those of reads are, and so wait for one another.
  @Test func waitsForRoomToAnswer() {
    let bench = Bench { configuration, _ in configuration.maximumReads = 2 }
    bench.establish()
    let result = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
    defer { result.deallocate() }
    let ids = (0..<100).map {
      bench.postAtomic(code($0), size: 16, flags: .fetch, segments: [segment], result: result)
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(ids.allSatisfy { bench.status($0) == .ok })
    #expect(bench.recorders[1].atomics == Array(0..<100))
    #expect(bench.isQuiet)
  }

  /// Several peers share one slot to gather in: whoever has it comes to an end.
  @Test func gathersWithOneSlot() {
    let bench = Bench(hosts: 4) { configuration, _ in
      configuration.inboundTransfers = 1
      configuration.interfaceDatagram = 1_200
    }
    let memory = RemoteSegment(address: 0, length: 4_096, key: 1)
    var ids: [(host: Int, id: UInt64?)] = []
    for number in 0..<20 {
      for host in 0..<3 {
        ids.append((host, bench.postAtomic(code(number), from: host, to: 3, size: 8_192, segments: [memory])))
      }
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(ids.allSatisfy { bench.status($0.id, at: $0.host) == .ok })
    #expect(bench.recorders[3].atomics.count == 60)
    #expect(bench.isQuiet)
  }

  /// Where messages that nobody asks for hold all slots, an operation that comes whole needs none.
  @Test func wholeOnesNeedNoSlot() {
    let bench = Bench { configuration, _ in configuration.inboundTransfers = 4 }
    bench.establish()
    bench.recorders[1].holds = true
    for _ in 0..<4 { bench.post(size: 100) }
    let atomic = bench.postAtomic(code(3), size: 16, segments: [segment])
    let blocked = bench.post(size: 100)
    bench.network.run(for: milliseconds(20))
    #expect(bench.status(atomic) == .ok && bench.recorders[1].held.count == 4)
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(for: milliseconds(20))
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(blocked) == .ok && bench.isQuiet)
  }

  @Test(arguments: [OperationStatus.accessDenied, .outOfBounds, .unsupported, .aborted], [16, 3_000])
  func refusalsAreTold(refusal: OperationStatus, size: Int) {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].refusal = refusal
    let base = bench.postAtomic(code(1), size: size, segments: [segment])
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16, alignment: 16)
    defer { memory.deallocate() }
    memory.initializeMemory(as: UInt8.self, repeating: 0x77)
    let fetch = bench.postAtomic(code(1), size: size, flags: .fetch, segments: [segment], result: memory)
    bench.network.run(maximumSteps: 100_000)
    let expected: [OperationStatus: TransportStatus] = [
      .accessDenied: .accessDenied, .outOfBounds: .outOfBounds, .unsupported: .unsupported, .aborted: .aborted,
    ]
    #expect(bench.status(base) == expected[refusal] && bench.status(fetch) == expected[refusal])
    #expect(memory.allSatisfy { $0 == 0x77 })
    #expect(bench.isQuiet)
  }

  /// More memory, or more operands, than the protocol allows: the packet counts as malformed.
  @Test func tooLargeOnesAreNotTaken() {
    for (length, size) in [(AtomicCode.maximumSize + 1, 8), (8, 2 * AtomicCode.maximumSize + 1)] {
      let bench = Bench()
      bench.establish()
      let before = bench.host(1).statistics.malformed
      bench.postAtomic(
        code(1), size: size, segments: [RemoteSegment(address: 0, length: UInt64(length), key: 1)])
      bench.network.run(for: milliseconds(5))
      #expect(bench.host(1).statistics.malformed > before)
      #expect(bench.recorders[1].atomics.isEmpty)
    }
  }

  /// A session that ends while fragments are gathered leaves nothing behind.
  @Test func anEndLosesWhatIsGathered() {
    let bench = Bench { configuration, _ in
      configuration.interfaceDatagram = 1_200
      configuration.maximumSilence = 1_000
    }
    bench.establish()
    var passed = 0
    bench.network.filter = { source, _, _ in
      guard source == 0 else { return false }
      passed += 1
      return passed == 1
    }
    let atomic = bench.postAtomic(code(1), size: 4_096, segments: [RemoteSegment(address: 0, length: 4_096, key: 1)])
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(atomic) == .timedOut)
    #expect(bench.recorders[1].atomics.isEmpty)
    #expect(bench.isQuiet)
  }
}
