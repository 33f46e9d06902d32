import CPlatform
import Testing

@testable import Datagram

@Suite struct UDPSocketTests {
  @Test(arguments: Path.all) func opensWithWhatItPromises(path: Path) throws {
    let endpoint = try Endpoint(path) { $0.receiveBufferSize = 1 << 20 }
    #expect(endpoint.address.isLoopback)
    #expect(endpoint.address.port != 0)
    #expect(endpoint.receiveBufferSize >= 1 << 20)
    #expect(platform_fcntl_get(endpoint.descriptor, F_GETFL) & Int(O_NONBLOCK) != 0)
    #expect(platform_fcntl_get(endpoint.descriptor, F_GETFD) & Int(FD_CLOEXEC) != 0)
    #expect(endpoint.maximumSegments == (path.portable ? 1 : 64))
    #expect(endpoint.reportsErrors == !path.portable)
    #expect(endpoint.forbidsFragmentation)
    let received = endpoint.receive()
    #expect(received == 0)
  }

  @Test(arguments: Path.all) func refusesAPortInUse(path: Path) throws {
    let first = try Endpoint(path)
    #expect(throws: SystemError(code: EADDRINUSE)) {
      _ = try UDPSocket.open(bind: first.address, options: path.options())
    }
  }

  @Test func refusesNoFamily() {
    #expect(throws: SystemError(code: EAFNOSUPPORT)) { _ = try UDPSocket.open(bind: SocketAddress()) }
  }

  @Test(arguments: Path.all, [0, 1, 64, 1472, 9000, 65488]) func makesARoundTrip(path: Path, size: Int) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let bytes = pattern(size)
    #expect(a.send(bytes, to: b.address) == SendOutcome(sent: 1, segments: 0, stop: .finished))
    let there = b.collect(1)
    try #require(there.map(\.bytes) == [bytes])
    #expect(there[0].source == a.address)
    #expect(b.send(bytes, to: there[0].source).stop == .finished)
    #expect(a.collect(1).map(\.bytes) == [bytes])
  }

  @Test(arguments: Path.all) func gathersSlices(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let bytes = pattern(3000)
    #expect(a.send(bytes, to: b.address, cuts: [1, 24, 24, 1500, 2999]).stop == .finished)
    #expect(b.collect(1).map(\.bytes) == [bytes])
  }

  @Test(arguments: Path.all) func keepsTheOrderOfABatch(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let entries = (0..<150).map { pattern(100 + $0, seed: UInt64($0)) }
    #expect(a.send(entries, to: b.address) == SendOutcome(sent: 150, segments: 0, stop: .finished))
    #expect(b.collect(150).map(\.bytes) == entries)
    #expect(a.statistics.datagramsSent == 150)
  }

  @Test(arguments: Path.all) func sendsOneBatchToManyPeers(path: Path) throws {
    let a = try Endpoint(path)
    let peers = try (0..<5).map { _ in try Endpoint(path) }
    let entries = (0..<20).map { (bytes: pattern(64, seed: UInt64($0)), destination: peers[$0 % 5].address) }
    #expect(a.send(entries).stop == .finished)
    for (index, peer) in peers.enumerated() {
      #expect(peer.collect(4).map(\.bytes) == stride(from: index, to: 20, by: 5).map { entries[$0].bytes })
    }
  }

  /// Segment sizes and slice borders that fall together, apart and across; last segments full, short and of one byte.
  @Test(arguments: Path.all, [(1472, 64 * 1000), (1000, 64000), (1000, 63001), (1200, 1201), (500, 1000), (7, 100)])
  func cutsIntoSegments(path: Path, shape: (size: Int, total: Int)) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let bytes = pattern(shape.total)
    let cuts = [24, 500, 1000, 1001, 2944, 5000, 40000]
    let outcome = a.send(bytes, to: b.address, segmentSize: shape.size, cuts: cuts)
    #expect(outcome == SendOutcome(sent: 1, segments: 0, stop: .finished))
    let expected = split(bytes, every: shape.size)
    #expect(b.collect(expected.count).map(\.bytes) == expected)
    #expect(a.statistics.datagramsSent == UInt64(expected.count))
    if !path.portable {
      #expect(a.statistics.sendCalls == 1)
      #expect(a.statistics.segmentationRefusals == 0)
    }
  }

  @Test(arguments: Path.all) func mixesSegmentsAndSingles(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let entries = [pattern(900), pattern(20000, seed: 2), pattern(1000, seed: 3), pattern(64000, seed: 4), pattern(1)]
    #expect(a.send(entries, to: b.address, segmentSize: 1000).stop == .finished)
    let expected = entries.flatMap { split($0, every: 1000) }
    #expect(b.collect(expected.count).map(\.bytes) == expected)
  }

  /// Resuming anywhere: inside a slice, at its border, after slices that are over, with nothing left out.
  @Test(arguments: Path.all, 0...5) func leavesOutSegmentsAlreadySent(path: Path, first: Int) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let bytes = pattern(5500)
    let cuts = [24, 1000, 1500, 1500, 2999, 3500, 5000]
    let outcome = a.send(bytes, to: b.address, segmentSize: 1000, cuts: cuts, firstSegment: first)
    #expect(outcome == SendOutcome(sent: 1, segments: 0, stop: .finished))
    #expect(b.collect(6 - first).map(\.bytes) == Array(split(bytes, every: 1000)[first...]))
    #expect(a.statistics.datagramsSent == UInt64(6 - first))
  }

  @Test(arguments: Path.linux) func worksWithoutOffloads(path: Path) throws {
    let a = try Endpoint(path) { $0.segmentationOffload = false }
    let b = try Endpoint(path) { $0.receiveOffload = false }
    #expect(a.maximumSegments == 1)
    let bytes = pattern(64000)
    #expect(a.send(bytes, to: b.address, segmentSize: 1000, cuts: [17, 30001]).stop == .finished)
    #expect(b.collect(64).map(\.bytes) == split(bytes, every: 1000))
    #expect(a.statistics.sendCalls == 1)
  }

  @Test(arguments: Path.linux) func receivesManySegmentsAsOneBuffer(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    #expect(a.send(pattern(64 * 1000), to: b.address, segmentSize: 1000).stop == .finished)
    #expect(b.collect(64).count == 64)
    // Loopback hands a cut send over whole when the receiver takes it whole.
    #expect(b.statistics.buffersReceived == 1)
  }

  @Test(arguments: Path.all) func dropsAndCountsWhatIsTooLong(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path) {
      $0.receiveOffload = false
      $0.receiveCapacity = 1000
    }
    #expect(a.send([pattern(1000), pattern(1001), pattern(999), pattern(2000)], to: b.address).stop == .finished)
    #expect(b.collect(3, patience: 50).map(\.bytes) == [pattern(1000), pattern(999)])
    #expect(b.statistics.truncated == 2)
  }

  @Test(arguments: Path.all) func saysWhenTheSendBufferIsFull(path: Path) throws {
    // A full receive buffer drops, it does not block: only a forced refusal fills a send buffer on loopback.
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let entries = (0..<8).map { pattern(100, seed: UInt64($0)) }
    var calls = 0
    let hook = SyscallHook { record in
      guard record.name == .sendmsg || record.name == .sendmmsg else { return .pass }
      calls += 1
      if path.portable { return calls > 3 ? .fail(EAGAIN) : .pass }
      return calls == 1 ? .limit(3) : .fail(EWOULDBLOCK)
    }
    let outcome = hook.run { a.send(entries, to: b.address) }
    #expect(outcome == SendOutcome(sent: 3, segments: 0, stop: .wouldBlock))
    #expect(a.send(Array(entries[3...]), to: b.address).stop == .finished)
    #expect(b.collect(8).map(\.bytes) == entries)
  }

  @Test func asksForABatchOnlyWhenDatagramsPile() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let b = try Endpoint(path) { $0.receiveOffload = false }
    let hook = SyscallHook()
    for _ in 0..<6 {
      #expect(a.send([1], to: b.address).stop == .finished)
      hook.run {
        #expect(b.receive() == 1)
        #expect(b.receive() == 0)
      }
    }
    #expect(hook.trace.filter { $0.name == .recvmsg }.count == 6)
    #expect(a.send((0..<17).map { _ in [1] }, to: b.address).stop == .finished)
    #expect([b.receive(), b.receive(), b.receive(), b.receive()] == [1, 8, 8, 0])
  }

  @Test func countsWhatTheKernelDrops() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let b = try Endpoint(path) { $0.receiveBufferSize = 4096 }
    for _ in 0..<50 { _ = a.send(pattern(1400), to: b.address) }
    #expect(b.kernelDrops > 0)
    #expect(b.kernelDrops + b.collect(50, patience: 20).count == 50)
  }
}
