#if os(Linux)
import CPlatform
import Testing

@testable import Datagram

extension Endpoint {
  var hotDescriptor: Int32 { socket.hotDescriptor }

  /// Sends until `peer` has a socket of its own.
  func heat(_ peer: SocketAddress) {
    for index in 0..<64 {
      #expect(hotDescriptor == -1)
      #expect(send(pattern(8, seed: UInt64(index)), to: peer).stop == .finished)
    }
    #expect(hotDescriptor >= 0)
  }

  /// What arrives at any descriptor until `count` datagrams have, or nothing has for `patience` milliseconds.
  func gather(_ count: Int, patience: Int32 = 2000) -> [(bytes: Payload, source: SocketAddress)] {
    var found: [(bytes: Payload, source: SocketAddress)] = []
    while found.count < count {
      let buffers = receive()
      if buffers == 0 {
        var entries = [
          pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
          pollfd(fd: hotDescriptor, events: Int16(POLLIN), revents: 0),
        ]
        if poll(&entries, 2, patience) == 0 { break }
        continue
      }
      for index in 0..<buffers {
        let datagrams = socket.datagram(index)
        let bytes = UnsafeRawBufferPointer(start: datagrams.base, count: datagrams.length)
        for start in stride(from: 0, to: datagrams.length, by: datagrams.segmentSize) {
          let end = min(start + datagrams.segmentSize, datagrams.length)
          found.append((Payload(content: Array(bytes[start..<end])), datagrams.source))
        }
      }
    }
    return found
  }
}

/// A second socket for the peer that nearly everything goes to: nothing may be lost, or come from the wrong address.
@Suite struct HotPeerTests {
  private static func isShared(_ descriptor: Int32) -> Bool {
    Syscall.option(descriptor, SOL_SOCKET, SO_REUSEADDR) != 0
  }

  @Test(arguments: Path.linux) func opensAfter64InARow(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let other = try Endpoint(path)
    for _ in 0..<63 { _ = a.send([1], to: b.address) }
    _ = a.send([2], to: other.address)
    a.heat(b.address)
    #expect(b.gather(127).count == 127)
    #expect(other.gather(1).map(\.source) == [a.address])
    #expect(a.hotDescriptor != a.descriptor)
  }

  @Test(arguments: Path.linux) func aBatchCounts(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    #expect(a.send((0..<63).map { pattern(9, seed: $0) }, to: b.address).stop == .finished)
    #expect(a.hotDescriptor == -1)
    #expect(a.send((0..<9).map { pattern(9, seed: $0) }, to: b.address).stop == .finished)
    #expect(a.hotDescriptor >= 0)
    #expect(b.gather(72).count == 72)
  }

  /// The peer's and others' arrive with their right sources, also when both always have something waiting.
  @Test(arguments: Path.linux) func allAreHeard(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let others = try (0..<3).map { _ in try Endpoint(path) }
    a.heat(b.address)
    #expect(b.gather(64).map(\.source) == Array(repeating: a.address, count: 64))
    let senders = [b] + others
    var expected = senders.map { _ in [Payload]() }
    for round in 0..<50 {
      for (index, sender) in senders.enumerated() {
        let bytes = pattern(20 + round, seed: UInt64(round * 10 + index))
        #expect(sender.send(bytes, to: a.address).stop == .finished)
        expected[index].append(bytes)
      }
    }
    let found = a.gather(200)
    try #require(found.count == 200)
    for (sender, bytes) in zip(senders, expected) {
      #expect(found.filter { $0.source == sender.address }.map(\.bytes) == bytes)
    }
    // Nobody waits until the other has nothing more.
    #expect(
      found.prefix(60).contains { $0.source == b.address } && found.prefix(60).contains { $0.source != b.address })
    #expect(a.gather(1, patience: 20).isEmpty)
  }

  /// The other way about: one batch to the peer and to others.
  @Test(arguments: Path.linux) func aMixedBatchGoesWhereItShould(path: Path) throws {
    let a = try Endpoint(path)
    let peers = try (0..<3).map { _ in try Endpoint(path) }
    a.heat(peers[1].address)
    #expect(peers[1].gather(64).count == 64)
    let order = [1, 1, 0, 2, 1, 0, 0, 1, 2, 2, 1, 1]
    let entries = order.enumerated().map {
      (bytes: pattern(50 + $0.offset, seed: UInt64($0.offset)), destination: peers[$0.element].address)
    }
    let outcome = a.send(entries)
    #expect(outcome == SendOutcome(sent: entries.count, segments: 0, stop: .finished))
    for (index, peer) in peers.enumerated() {
      let expected = entries.filter { $0.destination == peers[index].address }.map(\.bytes)
      let found = peer.gather(expected.count)
      #expect(found.map(\.bytes) == expected)
      #expect(found.allSatisfy { $0.source == a.address })
    }
  }

  /// A batch that stops in the middle says how far it came, in whichever socket it stopped.
  @Test(arguments: 0..<7) func aStoppedBatchIsResumed(stop: Int) throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let peers = try (0..<2).map { _ in try Endpoint(path) }
    a.heat(peers[0].address)
    #expect(peers[0].gather(64).count == 64)
    let entries = (0..<7).map { (bytes: pattern(60 + $0), destination: peers[[0, 1, 0, 1, 1, 0, 0][$0]].address) }
    var messages = 0
    let hook = SyscallHook { record in
      guard record.name == .sendmsg || record.name == .sendmmsg else { return .pass }
      guard messages < stop else { return .fail(EAGAIN) }
      let count = min(record.count, stop - messages)
      messages += count
      return .limit(count)
    }
    let outcome = hook.run { a.send(entries) }
    #expect(outcome == SendOutcome(sent: stop, segments: 0, stop: .wouldBlock))
    #expect(a.send(Array(entries[stop...])).stop == .finished)
    for peer in peers {
      let expected = entries.filter { $0.destination == peer.address }.map(\.bytes)
      #expect(peer.gather(expected.count + 1, patience: 20).map(\.bytes) == expected)
    }
  }

  @Test(arguments: Path.linux) func segmentsGoThroughIt(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    a.heat(b.address)
    let bytes = pattern(30_500)
    #expect(a.send(bytes, to: b.address, segmentSize: 1000, cuts: [24, 5000]).stop == .finished)
    #expect(b.gather(95).suffix(31).map(\.bytes) == split(bytes, every: 1000))
    #expect(b.send(bytes, to: a.address, segmentSize: 1000).stop == .finished)
    let found = a.gather(31)
    #expect(found.map(\.bytes) == split(bytes, every: 1000))
    #expect(found.allSatisfy { $0.source == b.address })
  }

  @Test(arguments: Path.linux) func coolsDown(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let other = try Endpoint(path)
    a.heat(b.address)
    #expect(b.gather(64).count == 64)
    let descriptor = a.hotDescriptor
    let hook = SyscallHook()
    hook.run {
      for index in 0..<1024 {
        #expect(a.send(pattern(4, seed: UInt64(index)), to: other.address).stop == .finished)
        if index % 64 == 63 { #expect(other.gather(64).count == 64) }
      }
      #expect(a.hotDescriptor == descriptor)
      #expect(a.send([9], to: other.address).stop == .finished)
    }
    #expect(a.hotDescriptor == -1)
    #expect(hook.closed.contains(descriptor))
    #expect(other.gather(1).map(\.bytes) == [[9]])
    // What it sends arrives at the main socket again, and it can become hot again.
    #expect(b.send([7], to: a.address).stop == .finished)
    #expect(a.gather(1).map(\.source) == [b.address])
    a.heat(b.address)
    #expect(b.gather(64).count == 64)
    #expect(b.send([8], to: a.address).stop == .finished)
    #expect(a.gather(1).map(\.bytes) == [[8]])
  }

  /// One datagram to it now and then keeps it warm.
  @Test func strayDatagramsInARowCount() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let other = try Endpoint(path)
    a.heat(b.address)
    for index in 0..<1500 {
      #expect(a.send([1], to: index % 1000 == 999 ? b.address : other.address).stop == .finished)
      if index % 100 == 0 { _ = other.gather(100, patience: 0) }
    }
    #expect(a.hotDescriptor >= 0)
  }

  @Test(arguments: Path.linux) func thePortStaysExclusive(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    #expect(!Self.isShared(a.descriptor))
    a.heat(b.address)
    #expect(!Self.isShared(a.descriptor))
    #expect(!Self.isShared(a.hotDescriptor))
    #expect(throws: SystemError(code: EADDRINUSE)) {
      _ = try UDPSocket.open(bind: a.address, options: path.options())
    }
    // Not even with somebody who would share.
    let result = Syscall.socket(family: path.family.systemValue)
    try #require(result >= 0)
    let descriptor = Int32(result)
    defer { Syscall.close(descriptor) }
    #expect(Syscall.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1) >= 0)
    var storage = sockaddr_in6()
    let length = a.address.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
    #expect(Syscall.bind(descriptor, &storage, length) == -Int(EADDRINUSE))
  }

  @Test func opensOnlyWhereItMay() throws {
    for path in Path.all {
      let a = try Endpoint(path) { $0.connects = path.portable }
      let b = try Endpoint(path)
      for _ in 0..<200 { #expect(a.send([1], to: b.address).stop == .finished) }
      #expect(a.hotDescriptor == -1)
    }
  }

  @Test(arguments: Path.linux) func aDeadPeerIsReportedAndCostsNothing(path: Path) throws {
    let a = try Endpoint(path)
    let other = try Endpoint(path)
    let dead: SocketAddress
    do {
      let b = try Endpoint(path)
      dead = b.address
      a.heat(dead)
    }
    var expected: [Payload] = []
    for round in 0..<20 {
      #expect(a.send(pattern(10), to: dead) == SendOutcome(sent: 1, segments: 0, stop: .finished))
      expected.append(pattern(100, seed: UInt64(round)))
      #expect(a.send(expected[round], to: other.address).stop == .finished)
    }
    #expect(a.send([[1], [2], [3]], to: dead).sent == 3)
    #expect(other.gather(20).map(\.bytes) == expected)
    #expect(a.errorsPending)
    var errors: [PeerError] = []
    while let error = a.nextError() { errors.append(error) }
    #expect(errors.count >= 20)
    #expect(errors.allSatisfy { $0 == PeerError(destination: dead, kind: .portUnreachable, isLocal: false) })
    #expect(!a.errorsPending)
    // Receiving steps over such an error as well, and says so.
    #expect(a.send([4], to: dead).stop == .finished)
    #expect(other.send([5], to: a.address).stop == .finished)
    #expect(a.gather(1).map(\.bytes) == [[5]])
    #expect(a.errorsPending)
    #expect(a.nextError()?.destination == dead)
  }

  @Test(arguments: Path.linux) func itsDescriptorsAreClosedWithTheSocket(path: Path) throws {
    let hook = SyscallHook()
    var descriptors: [Int32] = []
    try hook.run {
      let a = try Endpoint(path)
      let b = try Endpoint(path)
      a.heat(b.address)
      descriptors = [a.descriptor, a.hotDescriptor, b.descriptor]
    }
    for descriptor in descriptors { #expect(hook.closed.filter { $0 == descriptor }.count == 1) }
    // Two more are the pipe's.
    #expect(hook.closed.count == 5)
  }

  @Test(arguments: [SyscallName.socket, .bind, .connect, .socketOption])
  func whatCannotBeOpenedIsDoneWithout(call: SyscallName) throws {
    for path in Path.linux {
      let a = try Endpoint(path)
      let b = try Endpoint(path)
      let hook = SyscallHook { $0.name == call ? .fail(EACCES) : .pass }
      hook.run {
        for index in 0..<300 {
          #expect(a.send(pattern(5, seed: UInt64(index)), to: b.address).stop == .finished)
        }
      }
      #expect(a.hotDescriptor == -1)
      #expect(hook.trace.filter { $0.name == call }.count == 1)
      #expect(hook.closed.count == (call == .socket ? 0 : 1))
      // Nor is it tried later.
      for _ in 0..<200 { #expect(a.send([1], to: b.address).stop == .finished) }
      #expect(a.hotDescriptor == -1)
      #expect(!Self.isShared(a.descriptor))
      #expect(b.gather(500).count == 500)
      #expect(b.send([3], to: a.address).stop == .finished)
      #expect(a.gather(1).map(\.bytes) == [[3]])
    }
  }

  /// The owner may say that it cannot have it.
  @Test func closesOnRequest() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    a.heat(b.address)
    a.socket.closeHotPeer()
    #expect(a.hotDescriptor == -1)
    #expect(a.send([1], to: b.address).stop == .finished)
    #expect(b.gather(65).count == 65)
    #expect(b.send([2], to: a.address).stop == .finished)
    #expect(a.gather(1).map(\.bytes) == [[2]])
  }

  // MARK: Holes

  /// Datagrams that end before, at, in and behind the hole.
  @Test(arguments: Path.linux, [1, 39, 40, 41, 100, 540, 1039, 1040, 1041, 3000, 65_000])
  func aHoleIsReceivedElsewhere(path: Path, size: Int) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    a.heat(b.address)
    let bytes = pattern(size)
    let elsewhere = UnsafeMutableRawBufferPointer.allocate(byteCount: 1002, alignment: 1)
    defer { elsewhere.deallocate() }
    elsewhere.initializeMemory(as: UInt8.self, repeating: 0xA5)
    #expect(b.send(bytes, to: a.address).stop == .finished)
    a.socket.hole = ReceiveHole(offset: 40, base: elsewhere.baseAddress! + 1, length: 1000)
    try #require(a.receive() == 1)
    #expect(a.socket.hole == nil)
    let datagram = a.socket.datagram(0)
    #expect(datagram.length == size && datagram.segmentSize == size && datagram.source == b.address)
    let placed = min(max(size - 40, 0), 1000)
    #expect(datagram.placed == placed)
    let buffer = Array(UnsafeRawBufferPointer(start: datagram.base, count: size))
    #expect(Array(buffer.prefix(40)) == Array(bytes.content.prefix(40)))
    #expect(Array(elsewhere[1..<1 + placed]) == Array(bytes.content.dropFirst(40).prefix(placed)))
    #expect(Array(buffer.dropFirst(1040)) == Array(bytes.content.dropFirst(1040)))
    #expect(elsewhere[0] == 0xA5 && elsewhere[1 + placed..<1002].allSatisfy { $0 == 0xA5 })

    // It is used up: the next has none.
    #expect(b.send(bytes, to: a.address).stop == .finished)
    try #require(a.receive() == 1)
    #expect(a.socket.datagram(0).placed == 0)
    #expect(Array(UnsafeRawBufferPointer(start: a.socket.datagram(0).base, count: size)) == bytes.content)
  }

  /// It is for the hot peer's datagrams alone, and used up all the same.
  @Test(arguments: Path.linux) func othersFallIntoNoHole(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let other = try Endpoint(path)
    a.heat(b.address)
    var elsewhere = [UInt8](repeating: 0xA5, count: 1000)
    try elsewhere.withUnsafeMutableBytes { memory in
      #expect(other.send(pattern(2000), to: a.address).stop == .finished)
      a.socket.hole = ReceiveHole(offset: 40, base: memory.baseAddress!, length: 1000)
      try #require(a.receive() == 1)
      #expect(a.socket.hole == nil)
      let datagram = a.socket.datagram(0)
      #expect(datagram.placed == 0 && datagram.source == other.address)
      #expect(Array(UnsafeRawBufferPointer(start: datagram.base, count: datagram.length)) == pattern(2000).content)
    }
    #expect(elsewhere.allSatisfy { $0 == 0xA5 })
  }

  /// A datagram that is cut off is dropped, and what comes next from another has lost nothing to the hole.
  @Test func whatIsTooLongLeavesNoTrace() throws {
    let path = Path.linux[0]
    let a = try Endpoint(path) {
      $0.receiveOffload = false
      $0.receiveCapacity = 2000
    }
    let b = try Endpoint(path)
    let other = try Endpoint(path)
    a.heat(b.address)
    var elsewhere = [UInt8](repeating: 0xA5, count: 500)
    try elsewhere.withUnsafeMutableBytes { memory in
      #expect(b.send(pattern(2001), to: a.address).stop == .finished)
      #expect(other.send(pattern(700), to: a.address).stop == .finished)
      a.socket.hole = ReceiveHole(offset: 40, base: memory.baseAddress!, length: 500)
      try #require(a.receive() == 1)
      let datagram = a.socket.datagram(0)
      #expect(datagram.placed == 0 && datagram.source == other.address)
      #expect(Array(UnsafeRawBufferPointer(start: datagram.base, count: datagram.length)) == pattern(700).content)
    }
    #expect(a.statistics.truncated == 1)
    #expect(b.send(pattern(2001), to: a.address).stop == .finished)
    #expect(b.send(pattern(2000), to: a.address).stop == .finished)
    #expect(a.gather(1).map(\.bytes) == [pattern(2000)])
    #expect(a.statistics.truncated == 2)
  }
}
#endif
