#if os(Linux)
import CPlatform
import Testing

@testable import Datagram

/// Datagrams that go out by reference arrive as they were, and what cannot go so is copied.
@Suite struct SpliceTests {
  /// A piece of a datagram: scratch memory, or memory `offset` bytes into a page.
  struct Piece: Sendable {
    var length: Int
    var offset = 0
    var isScratch = false

    static func scratch(_ length: Int) -> Piece { Piece(length: length, isScratch: true) }
    static func memory(_ length: Int, at offset: Int = 0) -> Piece { Piece(length: length, offset: offset) }
  }

  /// A sender with a hot peer, and memory that stays as it is until the peer has it.
  final class Bench {
    let a: Endpoint
    let b: Endpoint
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 4096)
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 20, alignment: 4096)
    private var used = 0

    init(_ path: Path = Path.linux[0], _ change: (inout UDPSocketOptions) -> Void = { _ in }) throws {
      a = try Endpoint(path, change)
      b = try Endpoint(path)
      a.socket.scratch = UnsafeRawBufferPointer(scratch)
      a.heat(b.address)
      #expect(b.gather(64).count == 64)
      let bytes = pattern(64 * 1024 - 1)
      for start in stride(from: 0, to: memory.count, by: bytes.count) {
        let rest = min(bytes.count, memory.count - start)
        (memory.baseAddress! + start).copyMemory(from: bytes.content, byteCount: rest)
      }
    }

    deinit {
      scratch.deallocate()
      memory.deallocate()
    }

    /// Sends one datagram, and spoils the scratch memory at once. What is expected at the other side.
    func send(_ pieces: [Piece], seed: UInt64 = 1, expecting stop: SendStop = .finished) -> Payload {
      var slices: [iovec] = []
      var expected: [UInt8] = []
      var scratchUsed = 0
      for piece in pieces {
        let base: UnsafeMutableRawPointer
        if piece.isScratch {
          base = scratch.baseAddress! + scratchUsed
          base.copyMemory(
            from: pattern(piece.length, seed: seed + UInt64(scratchUsed)).content, byteCount: piece.length)
          // Not side by side, or they might go as one.
          scratchUsed += piece.length + 3
        } else {
          if used + piece.length + 8192 > memory.count { used = 0 }
          base = memory.baseAddress! + used + piece.offset
          used += (piece.offset + piece.length + 4095) & ~4095
        }
        slices.append(iovec(iov_base: base, iov_len: piece.length))
        expected += UnsafeRawBufferPointer(start: base, count: piece.length)
      }
      let outcome = slices.withUnsafeBufferPointer {
        a.socket.send(
          OutgoingDatagrams(
            destination: b.address, slices: $0.baseAddress!, sliceCount: $0.count, segmentSize: 0,
            totalLength: expected.count))
      }
      #expect(outcome.stop == stop)
      memset(scratch.baseAddress!, 0xEE, scratchUsed)
      return Payload(content: expected)
    }

    /// Whether each of these datagrams is spliced, having arrived unharmed.
    func splices(_ pieces: [Piece]) -> Bool {
      let hook = SyscallHook()
      let expected = hook.run { send(pieces) }
      let found = b.gather(1)
      #expect(found.map(\.bytes) == [expected])
      #expect(found.first?.source == a.address)
      let calls = hook.trace.filter { $0.name == .splice }.count
      let copies = hook.trace.filter { $0.name == .sendmsg || $0.name == .sendmmsg }.count
      #expect((calls, copies) == (2, 0) || (calls, copies) == (0, 1))
      return calls == 2
    }
  }

  @Test(arguments: Path.linux) func fromSixteenKibibytes(path: Path) throws {
    let bench = try Bench(path)
    #expect(!bench.splices([.scratch(40), .memory(15 * 1024)]))
    #expect(!bench.splices([.scratch(40), .memory(16 * 1024 - 41)]))
    #expect(bench.splices([.scratch(40), .memory(16 * 1024 - 40)]))
    #expect(bench.splices([.memory(16 * 1024)]))
    #expect(bench.a.statistics.datagramsSent == 64 + 4)
    let before = bench.a.statistics.sendCalls
    #expect(bench.splices([.memory(16 * 1024, at: 7)]))
    #expect(bench.a.statistics.sendCalls == before + 2)
  }

  /// Sixteen pages go by reference, and no more.
  @Test(arguments: Path.linux) func upToSixteenPages(path: Path) throws {
    let bench = try Bench(path)
    #expect(bench.splices([.scratch(40), .memory(15 * 4096)]))
    #expect(!bench.splices([.scratch(40), .memory(15 * 4096 + 1)]))
    #expect(bench.splices([.scratch(44), .memory(15 * 4096 - 1000, at: 1000)]))
    #expect(!bench.splices([.scratch(44), .memory(15 * 4096 - 1000, at: 1001)]))
    // The largest there are: loopback's MTU is 65536, headers included.
    let largest = path.family == .ipv4 ? 65_507 : 65_488
    #expect(bench.splices([.memory(largest)]))
    #expect(bench.splices([.memory(largest, at: 5)]))
    #expect(!bench.splices([.memory(largest, at: 100)]))
    #expect(!bench.splices([.scratch(40), .memory(largest - 40)]))
  }

  @Test(arguments: [1, 2, 3, 63, 64, 511, 1000, 2048, 4095]) func fromAnywhereInAPage(offset: Int) throws {
    let bench = try Bench()
    for length in [16_384, 20_000, 32_768, 40_001, 57_343] {
      #expect(bench.splices([.scratch(40), .memory(length, at: offset)]))
    }
  }

  @Test func severalSlices() throws {
    let bench = try Bench()
    #expect(bench.splices([.scratch(40), .memory(20_000), .scratch(20), .memory(20_000), .scratch(1024)]))
    #expect(bench.splices([.memory(9000, at: 3), .scratch(17), .memory(9000, at: 4000), .memory(1)]))
    #expect(bench.splices((0..<16).map { .memory(1100 + $0) }))
    #expect(!bench.splices((0..<17).map { .memory(1100 + $0) }))
    #expect(!bench.splices((0..<9).map { _ in .memory(2100, at: 4000) }))
    // Much scratch memory is copied anyway.
    #expect(!bench.splices([.scratch(1025), .memory(30_000)]))
    #expect(!bench.splices([.scratch(20_000)]))
  }

  /// Headers of datagrams that still wait at the receiver stay as they are.
  @Test func manyWaitAtOnce() throws {
    let bench = try Bench()
    var seed: UInt64 = 100
    for _ in 0..<10 {
      var expected: [Payload] = []
      for index in 0..<20 {
        seed += 10
        expected.append(
          bench.send([.scratch(30 + index), .memory(50_000 + index, at: index), .scratch(1024)], seed: seed))
      }
      #expect(bench.b.gather(20).map(\.bytes) == expected)
    }
  }

  /// The memory for headers comes round several times.
  @Test func headersComeRound() throws {
    let bench = try Bench()
    let hook = SyscallHook()
    hook.run {
      for round in 0..<1500 {
        let pieces: [Piece] = [.scratch(1000), .memory(8000), .scratch(1024), .memory(5000), .scratch(40)]
        let header = pattern(1000, seed: UInt64(round))
        let expected = bench.send(pieces + [.memory(2000), .scratch(700), .scratch(900)], seed: UInt64(round))
        guard bench.b.receive() == 1 else { Issue.record("nothing arrived in round \(round)"); return }
        let datagram = bench.b.socket.datagram(0)
        let isIntact = expected.count == datagram.length && memcmp(expected.content, datagram.base, expected.count) == 0
        guard isIntact, expected.content.starts(with: header.content) else {
          Issue.record("round \(round) came damaged")
          return
        }
      }
    }
    #expect(hook.trace.filter { $0.name == .splice }.count == 3000)
  }

  /// Large ones between small ones, in one batch: their order stays.
  @Test func aBatchKeepsItsOrder() throws {
    let bench = try Bench()
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { memory.deallocate() }
    memory.copyBytes(from: pattern(1 << 20).content)
    let sizes = [100, 30_000, 40_000, 200, 300, 16_384, 65_000, 10]
    var slices: [iovec] = []
    var expected: [Payload] = []
    for (index, size) in sizes.enumerated() {
      let base = memory.baseAddress! + index * 100_000
      slices.append(iovec(iov_base: base, iov_len: size))
      expected.append(Payload(content: Array(UnsafeRawBufferPointer(start: base, count: size))))
    }
    let hook = SyscallHook()
    slices.withUnsafeBufferPointer { slices in
      let batch = sizes.indices.map {
        OutgoingDatagrams(
          destination: bench.b.address, slices: slices.baseAddress! + $0, sliceCount: 1, segmentSize: 0,
          totalLength: sizes[$0])
      }
      let outcome = hook.run { bench.a.socket.send(batch, count: batch.count) }
      #expect(outcome == SendOutcome(sent: sizes.count, segments: 0, stop: .finished))
    }
    #expect(bench.b.gather(sizes.count).map(\.bytes) == expected)
    #expect(hook.trace.filter { $0.name == .splice }.count >= 6)
  }

  @Test func onlyWhereItMay() throws {
    let large: [Piece] = [.scratch(40), .memory(40_000)]
    #expect(try Bench().splices(large))
    #expect(try !Bench { $0.splices = false }.splices(large))
    // Without scratch memory named, nobody has promised to leave the rest alone.
    let careless = try Bench()
    careless.a.socket.scratch = UnsafeRawBufferPointer(start: nil, count: 0)
    #expect(!careless.splices([.memory(40_000)]))
    // Others are not connected to.
    let bench = try Bench()
    let other = try Endpoint(Path.linux[0])
    let hook = SyscallHook()
    #expect(hook.run { bench.a.send(pattern(40_000), to: other.address) }.stop == .finished)
    #expect(!hook.trace.contains { $0.name == .splice })
    #expect(other.gather(1).map(\.bytes) == [pattern(40_000)])
    // Nor are datagrams that the kernel is to cut.
    let cut = SyscallHook()
    #expect(cut.run { bench.a.send(pattern(40_000), to: bench.b.address, segmentSize: 10_000) }.stop == .finished)
    #expect(!cut.trace.contains { $0.name == .splice })
    #expect(bench.b.gather(4).map(\.bytes) == split(pattern(40_000), every: 10_000))
  }

  // MARK: Failures

  private static let large: [Piece] = [.scratch(40), .memory(40_000, at: 9)]

  /// The pipe stays empty and in use when nothing gets into it.
  @Test(arguments: [EAGAIN, ENOMEM, EINVAL]) func aPipeThatTakesNothing(code: Int32) throws {
    let bench = try Bench()
    let hook = SyscallHook { $0.name == .splice ? .fail(code) : .pass }
    let expected = hook.run { bench.send(Self.large) }
    #expect(bench.b.gather(2, patience: 20).map(\.bytes) == [expected])
    #expect(hook.closed.isEmpty)
    #expect(bench.splices(Self.large))
  }

  /// What is left in the pipe must not get in front of the next datagram.
  @Test(arguments: [EAGAIN, ENOBUFS, EPERM, ECONNREFUSED, EINVAL]) func aSocketThatTakesNothing(code: Int32) throws {
    let bench = try Bench()
    for _ in 0..<5 {
      let hook = SyscallHook { [hot = bench.a.hotDescriptor] in
        $0.name == .splice && $0.descriptor == hot ? .fail(code) : .pass
      }
      let expected = hook.run { bench.send(Self.large) }
      #expect(bench.b.gather(2, patience: 20).map(\.bytes) == [expected])
      #expect(hook.trace.filter { $0.name == .splice }.count == 2)
      #expect(hook.closed.count == 2)
      #expect(bench.a.errorsPending)
      #expect(bench.a.nextError() == nil)
      #expect(bench.splices(Self.large))
    }
  }

  @Test func aPipeThatTakesAPart() throws {
    let bench = try Bench()
    let watch = SyscallHook()
    let first = watch.run { bench.send(Self.large) }
    #expect(bench.b.gather(1).map(\.bytes) == [first])
    let pipe = try #require(watch.trace.first { $0.name == .splice }).descriptor
    let junk = [UInt8](repeating: 0xDD, count: 4096)
    for _ in 0..<10 { #expect(Syscall.write(pipe, junk, junk.count) == junk.count) }
    let hook = SyscallHook()
    let expected = hook.run { bench.send(Self.large) }
    #expect(bench.b.gather(2, patience: 20).map(\.bytes) == [expected])
    #expect(hook.closed.contains(pipe) && hook.closed.count == 2)
    #expect(bench.splices(Self.large))
  }

  /// A kernel that never does it is not asked for ever.
  @Test func persistentRefusalEndsIt() throws {
    let bench = try Bench()
    let hook = SyscallHook { [hot = bench.a.hotDescriptor] in
      $0.name == .splice && $0.descriptor == hot ? .fail(EINVAL) : .pass
    }
    hook.run {
      for round in 0..<100 {
        let expected = bench.send(Self.large, seed: UInt64(round))
        #expect(bench.b.gather(1).map(\.bytes) == [expected])
      }
    }
    #expect(hook.trace.filter { $0.name == .splice }.count == 2 * 64)
    #expect(!bench.splices(Self.large))
  }

  /// A full socket says so, and splicing goes on when it is not full any more.
  @Test func aFullSocketBlocks() throws {
    let bench = try Bench()
    for round in 0..<100 {
      let hook = SyscallHook { [hot = bench.a.hotDescriptor] record in
        record.descriptor == hot && (record.name == .splice || record.name == .sendmsg) ? .fail(EAGAIN) : .pass
      }
      hook.run { _ = bench.send(Self.large, seed: UInt64(round), expecting: .wouldBlock) }
    }
    #expect(bench.b.gather(1, patience: 20).isEmpty)
    #expect(bench.splices(Self.large))
  }

  @Test func aPeerThatIsGoneIsReported() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 40_000, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: 1)
    defer {
      scratch.deallocate()
      memory.deallocate()
    }
    a.socket.scratch = UnsafeRawBufferPointer(scratch)
    let dead: SocketAddress
    do {
      let b = try Endpoint(path)
      dead = b.address
      a.heat(dead)
    }
    var slice = iovec(iov_base: memory.baseAddress!, iov_len: memory.count)
    for _ in 0..<3 {
      let outcome = withUnsafePointer(to: &slice) {
        a.socket.send(
          OutgoingDatagrams(
            destination: dead, slices: $0, sliceCount: 1, segmentSize: 0, totalLength: memory.count))
      }
      #expect(outcome == SendOutcome(sent: 1, segments: 0, stop: .finished))
    }
    // The call that is told takes the error off the socket: nobody else hears of it.
    #expect(a.errorsPending)
    var errors = 0
    while let error = a.nextError() {
      #expect(error == PeerError(destination: dead, kind: .portUnreachable, isLocal: false))
      errors += 1
    }
    #expect(errors >= 2)
  }
}
#endif
