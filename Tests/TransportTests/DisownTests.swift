import Packet
import SimulationSupport
import Testing
import Transport

/// Operations that the program gives up: they go on without its memory.
@Suite struct DisownTests {
  private static let nobody: UInt64 = 4711

  /// Messages and writes under way, of which nothing has arrived or a part; then the program uses its memory again.
  @Test(arguments: [OperationKind.message, .write], [0, 5, 3_000, 60_000, 200_000])
  func whatIsSentComesWhole(kind: OperationKind, size: Int) {
    let size = kind == .write ? min(size, 65_536) : size
    let bench = Bench()
    bench.establish()
    // Small ones would be over with the first datagram.
    let passing = size > 1_000 ? 2 : 0
    var passed = 0
    bench.network.filter = { source, _, _ in
      passed += source == 0 ? 1 : 0
      return source != 0 || passed <= passing
    }
    let kept = bench.post(kind, size: size)
    for _ in 0..<3 { bench.post(kind, size: size, flags: .deliveryComplete) }
    bench.network.run(for: milliseconds(2))
    bench.host(0).endpoint.disown(as: Cookies(Self.nobody)) { $0.first != kept }
    bench.network.filter = nil
    // That of the one that is kept stays as it is.
    bench.spoilSources(butFor: kept)
    bench.network.run(maximumSteps: 200_000)
    #expect(bench.status(kept) == .ok)
    #expect(bench.recorders[0].completions.filter { $0.id == Self.nobody }.map(\.status) == [.ok, .ok, .ok])
    if kind == .message {
      #expect(
        bench.recorders[1].messages.dropFirst().map(\.bytes) == [[UInt8]](repeating: Bench.pattern(size), count: 4))
    } else {
      #expect(Array(bench.recorders[1].region[0..<size]) == Bench.pattern(size))
    }
    #expect(bench.isQuiet)
  }

  /// What a read brings goes nowhere that the program knows.
  @Test(arguments: [5, 3_000, 60_000]) func readsWriteNothing(size: Int) {
    let bench = Bench()
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    bench.post(.read, size: size)
    bench.network.run(for: milliseconds(2))
    bench.host(0).endpoint.disown(as: Cookies(Self.nobody)) { _ in true }
    bench.spoilSources()
    bench.network.filter = nil
    bench.network.run(maximumSteps: 200_000)
    #expect(
      bench.recorders[0].completions.last?.id == Self.nobody && bench.recorders[0].completions.last?.status == .ok)
    #expect(bench.source().allSatisfy { $0 == 0xEE })
    #expect(bench.isQuiet)
  }

  /// Nor does what an atomic operation returns, of one segment or more.
  @Test(arguments: [8, 900, 4_096], [1, 2]) func resultsOfAtomicsAreDropped(length: Int, count: Int) {
    let bench = Bench()
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    let result = UnsafeMutableRawBufferPointer.allocate(byteCount: length, alignment: 16)
    defer { result.deallocate() }
    result.initializeMemory(as: UInt8.self, repeating: 0xEE)
    let part = UInt64(length / count)
    let segments = (0..<count).map { RemoteSegment(address: UInt64($0) * part, length: part, key: 1) }
    let code = AtomicCode(operation: 1, datatype: 1)
    bench.postAtomic(code, size: length, flags: .fetch, segments: segments, result: result)
    bench.postAtomic(code, size: length, segments: segments)
    bench.network.run(for: milliseconds(2))
    bench.host(0).endpoint.disown(as: Cookies(Self.nobody)) { _ in true }
    bench.network.filter = nil
    bench.network.run(maximumSteps: 200_000)
    #expect(bench.recorders[0].completions.filter { $0.id == Self.nobody }.map(\.status) == [.ok, .ok])
    #expect(bench.recorders[1].atomics.count == 2)
    #expect(result.allSatisfy { $0 == 0xEE })
    #expect(bench.isQuiet)
  }
}
