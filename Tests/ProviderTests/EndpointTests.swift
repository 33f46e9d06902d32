import CFabric
import CPlatform
import Datagram
import Packet
import Provider
import Testing
import Transport

/// Two nodes that know each other, closed at the end.
private struct Pair {
  let a: Node
  let b: Node
  let toB: UInt64
  let toA: UInt64
  var both: [Node] { [a, b] }

  init(_ options: NodeOptions = NodeOptions()) throws {
    a = try Node(options)
    b = try Node(options)
    toB = try a.insert(b)
    toA = try b.insert(a)
  }

  func close() throws {
    try a.close()
    try b.close()
  }
}

@Suite(.serialized) struct EndpointTests {
  /// A peer that nearly everything goes to gets a socket of its own, which comes and goes while somebody may sleep on it.
  @Test(arguments: [false, true]) func favouritesChange(isAutomatic: Bool) throws {
    let options = NodeOptions(progress: isAutomatic ? FI_PROGRESS_AUTO : FI_PROGRESS_MANUAL)
    let nodes = try (0..<3).map { _ in try Node(options) }
    #expect(nodes[0].domain.engine.waitDescriptor >= 0)
    let numbers = try nodes.map { $0 === nodes[0] ? 0 : try nodes[0].insert($0) }
    let memory = Memory(64, seed: 1)
    for (peer, count) in [(1, 100), (2, 1200), (1, 100), (2, 10)] {
      for _ in 0..<count {
        let target = Memory(64)
        #expect(nodes[peer].receive(target.whole) == 0)
        #expect(nodes[0].send(memory.source, to: numbers[peer]) == 0)
        try #require(completions(1, of: nodes[0], with: nodes).count == 1)
        try #require(completions(1, of: nodes[peer], with: nodes).count == 1)
        #expect(target.isEqual(memory))
      }
    }
    for node in nodes { try node.close() }
  }

  // MARK: Life

  @Test func bindsByTheRules() throws {
    let node = try Node(enable: false)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.enable() } == Int32(FI_ENOAV))
    try node.endpoint.bind(node.addresses)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.bind(node.addresses) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.enable() } == Int32(FI_ENOCQ))
    #expect(
      errorCode { () throws(FabricError) in try node.endpoint.bind(node.queue, flags: FI_READ) }
        == Int32(FI_EBADFLAGS))
    try node.endpoint.bind(node.queue, flags: FI_TRANSMIT)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.enable() } == Int32(FI_ENOCQ))
    #expect(
      errorCode { () throws(FabricError) in try node.endpoint.bind(node.queue, flags: FI_TRANSMIT | FI_RECV) }
        == FI_EINVAL)
    try node.endpoint.bind(node.queue, flags: FI_RECV)
    #expect(errorCode { () throws(FabricError) in try node.queue.close() } == FI_EBUSY)
    #expect(errorCode { () throws(FabricError) in try node.addresses.close() } == FI_EBUSY)
    try node.endpoint.enable()
    #expect(errorCode { () throws(FabricError) in try node.endpoint.enable() } == Int32(FI_EOPBADSTATE))
    #expect(errorCode { () throws(FabricError) in try node.domain.close() } == FI_EBUSY)
    try node.close()
  }

  @Test func hasANameFromTheStartThatCanBeMoved() throws {
    let node = try Node(enable: false)
    #expect(node.endpoint.name.port != 0 && node.endpoint.name.isLoopback)
    let free = try UDPSocket.open(bind: .loopback(.ipv4, port: 0)).localAddress
    try node.endpoint.setName(free)
    #expect(node.endpoint.name == free)
    let other = SocketAddress.loopback(.ipv6, port: 0)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.setName(other) } == FI_EINVAL)
    try node.endpoint.bind(node.queue, flags: FI_TRANSMIT | FI_RECV)
    try node.endpoint.bind(node.addresses)
    try node.endpoint.enable()
    #expect(node.endpoint.name == free)
    #expect(errorCode { () throws(FabricError) in try node.endpoint.setName(free) } == Int32(FI_EOPBADSTATE))
    try node.close()
  }

  @Test func closeDeliversWhatWasInjected() throws {
    let pair = try Pair()
    let target = Memory(8)
    #expect(pair.b.receive(target.whole) == 0)
    let stop = Stopper(pair.b)
    for value in 1...3 {
      let source = Memory(8, seed: UInt8(value))
      while pair.a.send(source.source, to: pair.toB, context: 0, flags: FI_INJECT) != 0 {}
    }
    try pair.a.close()
    stop.join()
    #expect(target.isEqual(Memory(8, seed: 1)))
    try pair.b.close()
  }

  @Test func closeGivesUpOnAPeerThatIsSilent() throws {
    let silent = try UDPSocket.open(bind: .loopback(.ipv4, port: 0))
    let node = try Node()
    let peer = try node.addresses.insert(silent.localAddress)
    let source = Memory(8, seed: 1)
    #expect(node.send(source.source, to: peer) == 0)
    let begin = Clock.now()
    try node.close()
    #expect(Clock.now() - begin < 3_000_000_000)
  }

  // MARK: Messages

  @Test(arguments: [0, 1, 64, 4096, 65_536, 1_000_000])
  func messagesOfAllSizes(length: Int) throws {
    let pair = try Pair()
    let source = Memory(length, seed: 7)
    let target = Memory(length)
    #expect(pair.b.receive(target.whole, tag: 5, context: 22) == 0)
    #expect(pair.a.send(source.source, to: pair.toB, tag: 5, data: 99, context: 11) == 0)
    let received = completions(1, of: pair.b, with: [pair.a])
    let flags = FI_RECV | FI_TAGGED | FI_REMOTE_CQ_DATA
    #expect(received == [Outcome(context: 22, flags: flags, length: length, data: 99, tag: 5)])
    #expect(target.isEqual(source))
    let sent = completions(1, of: pair.a, with: [pair.b])
    #expect(sent == [Outcome(context: 11, flags: FI_SEND | FI_TAGGED)])
    #expect(pair.a.port.operationsLeft == 64 && pair.b.receiver.receivesLeft == 64)
    try pair.close()
  }

  @Test(arguments: [10, 3000, 200_000])
  func truncationIsTheReceiversError(length: Int) throws {
    let pair = try Pair()
    let source = Memory(length, seed: 7)
    let target = Memory(4)
    #expect(pair.b.receive(target.whole, context: 22) == 0)
    #expect(pair.a.send(source.source, to: pair.toB, context: 11) == 0)
    let received = completions(1, of: pair.b, with: [pair.a])
    #expect(
      received == [
        Outcome(
          context: 22, flags: FI_RECV | FI_MSG, length: 4, error: Int32(FI_ETRUNC), overflow: length - 4)
      ])
    #expect(memcmp(target.bytes.baseAddress!, source.bytes.baseAddress!, 4) == 0)
    #expect(completions(1, of: pair.a, with: [pair.b]) == [Outcome(context: 11, flags: FI_SEND | FI_MSG)])
    try pair.close()
  }

  @Test func queuesPushBackAndRecover() throws {
    var options = NodeOptions()
    options.queueSize = 4
    let pair = try Pair(options)
    let source = Memory(8, seed: 1)
    let target = Memory(8)
    for _ in 0..<4 { #expect(pair.b.receive(target.whole) == 0) }
    #expect(pair.b.receive(target.whole) == -Int(FI_EAGAIN))
    for _ in 0..<4 { #expect(pair.a.send(source.source, to: pair.toB) == 0) }
    #expect(pair.a.send(source.source, to: pair.toB) == -Int(FI_EAGAIN))
    #expect(completions(4, of: pair.b, with: [pair.a]).count == 4)
    #expect(completions(4, of: pair.a, with: [pair.b]).count == 4)
    #expect(pair.b.receive(target.whole) == 0)
    #expect(pair.a.send(source.source, to: pair.toB) == 0)
    #expect(completions(1, of: pair.b, with: [pair.a]).count == 1)
    try pair.close()
  }

  @Test func refusesWhatCannotBe() throws {
    let pair = try Pair()
    let source = Memory(Capabilities.injectSize + 1, seed: 1)
    #expect(pair.a.send(source.source, to: pair.toB, flags: FI_INJECT) == -Int(FI_EINVAL))
    #expect(pair.a.send(source.source, to: 4711) == -Int(FI_EINVAL))
    #expect(pair.a.receive(source.whole, from: 4711) == -Int(FI_EINVAL))
    #expect(pair.a.port.operationsLeft == 64 && pair.a.receiver.receivesLeft == 64)
    try pair.close()
  }

  @Test func cancelEndsAReceive() throws {
    let node = try Node()
    let target = Memory(8)
    #expect(node.receive(target.whole, tag: 3, context: 5) == 0)
    node.receiver.cancel(context: 6)
    #expect(node.poll().isEmpty)
    node.receiver.cancel(context: 5)
    #expect(
      node.poll() == [Outcome(context: 5, flags: FI_RECV | FI_TAGGED, tag: 3, error: Int32(FI_ECANCELED))])
    #expect(node.receiver.receivesLeft == 64)
    try node.close()
  }

  @Test func peekClaimAndDiscard() throws {
    let pair = try Pair()
    var slice = Slice(base: nil, count: 0)
    func kept(_ flags: UInt64, _ tag: UInt64, _ context: UInt, _ target: Memory? = nil) -> Int {
      slice = Slice(base: target?.bytes.baseAddress, count: target?.count ?? 0)
      return pair.b.receiver.receiveKept(
        Pieces(&slice, 1), from: unspecifiedAddress, kind: FI_TAGGED, tag: tag, ignore: 0, context: context,
        flags: flags | FI_COMPLETION)
    }
    let nothing = Outcome(context: 1, flags: FI_RECV | FI_TAGGED, tag: 1, error: Int32(FI_ENOMSG))
    #expect(kept(FI_PEEK, 1, 1) == 0)
    #expect(pair.b.poll() == [nothing])
    let source = Memory(3000, seed: 4)
    for tag in 1...3 as ClosedRange<UInt64> { #expect(pair.a.send(source.source, to: pair.toB, tag: tag) == 0) }
    var found: [Outcome] = []
    let arrived = progress(pair.both) {
      #expect(kept(FI_PEEK, 3, 9) == 0)
      found = pair.b.poll()
      return found.first?.error == 0
    }
    #expect(arrived && found == [Outcome(context: 9, flags: FI_RECV | FI_TAGGED, length: 3000, tag: 3)])
    #expect(kept(FI_PEEK | FI_CLAIM, 1, 1) == 0)
    #expect(pair.b.poll() == [Outcome(context: 1, flags: FI_RECV | FI_TAGGED, length: 3000, tag: 1)])
    #expect(kept(FI_PEEK, 1, 1) == 0)
    #expect(pair.b.poll() == [nothing])
    #expect(kept(FI_PEEK | FI_DISCARD, 2, 1) == 0)
    #expect(pair.b.poll().count == 1)
    #expect(kept(FI_CLAIM, 1, 77) == -Int(FI_ENOMSG))
    let target = Memory(3000)
    #expect(kept(FI_CLAIM, 1, 1, target) == 0)
    #expect(
      completions(1, of: pair.b, with: [pair.a])
        == [Outcome(context: 1, flags: FI_RECV | FI_TAGGED, length: 3000, tag: 1)])
    #expect(target.isEqual(source))
    #expect(completions(3, of: pair.a, with: [pair.b]).count == 3)
    try pair.close()
  }

  @Test func deadPeerIsAnError() throws {
    let pair = try Pair()
    let name = pair.b.endpoint.name
    try pair.b.close()
    let source = Memory(8, seed: 1)
    #expect(pair.a.send(source.source, to: pair.toB, context: 11) == 0)
    let sent = completions(1, of: pair.a, with: [])
    #expect(sent == [Outcome(context: 11, flags: FI_SEND | FI_MSG, error: FI_ECONNREFUSED)], "\(name.port)")
    try pair.a.close()
  }

  // MARK: Remote memory

  @Test(arguments: [0, 8, 1000, 500_000])
  func writesAndReads(length: Int) throws {
    let pair = try Pair()
    let remote = Memory(length)
    let region = try pair.b.register(remote.whole, key: 42)
    let source = Memory(length, seed: 9)
    #expect(pair.a.access(.write, source.whole, at: 0, key: 42, of: pair.toB, data: 5, context: 1) == 0)
    #expect(completions(1, of: pair.a, with: [pair.b]) == [Outcome(context: 1, flags: FI_RMA | FI_WRITE)])
    let told = Outcome(
      context: 0, flags: FI_RMA | FI_REMOTE_WRITE | FI_REMOTE_CQ_DATA, length: length, data: 5)
    #expect(completions(1, of: pair.b, with: [pair.a]) == [told])
    #expect(remote.isEqual(source))
    let back = Memory(length)
    #expect(pair.a.access(.read, back.whole, at: 0, key: 42, of: pair.toB, context: 2) == 0)
    #expect(completions(1, of: pair.a, with: [pair.b]) == [Outcome(context: 2, flags: FI_RMA | FI_READ)])
    #expect(back.isEqual(source))
    region.close()
    try pair.close()
  }

  @Test(arguments: [100, 500_000])
  func refusedAccessIsTheInitiatorsError(length: Int) throws {
    let pair = try Pair()
    let remote = Memory(length)
    let writable = try pair.b.register(remote.whole, key: 1, access: FI_REMOTE_WRITE)
    let readable = try pair.b.register(remote.whole, key: 2, access: FI_REMOTE_READ)
    let local = Memory(length, seed: 3)
    func fails(_ direction: OperationKind, at address: UInt64, key: UInt64) {
      #expect(pair.a.access(direction, local.whole, at: address, key: key, of: pair.toB, context: 8) == 0)
      let flags = direction == .read ? FI_RMA | FI_READ : FI_RMA | FI_WRITE
      #expect(completions(1, of: pair.a, with: [pair.b]) == [Outcome(context: 8, flags: flags, error: FI_EACCES)])
    }
    fails(.write, at: 0, key: 3)
    fails(.read, at: 0, key: 1)
    fails(.write, at: 0, key: 2)
    fails(.write, at: 1, key: 1)
    fails(.read, at: .max, key: 2)
    #expect(remote.isEqual(Memory(length)))
    writable.close()
    readable.close()
    try pair.close()
  }

  /// More writes with data than the target's queue holds: input stops until the program reads, and nothing is lost.
  @Test func completionDataWaitsForRoom() throws {
    var options = NodeOptions()
    options.queueSize = 32
    options.completions = 1
    let pair = try Pair(options)
    let remote = Memory(8)
    let region = try pair.b.register(remote.whole, key: 42)
    let source = Memory(8, seed: 9)
    let total = 500
    var posted = 0
    var told: [UInt64] = []
    var room = 0
    let done = progress([]) {
      while posted < total,
        pair.a.access(.write, source.whole, at: 0, key: 42, of: pair.toB, data: UInt64(posted)) == 0
      {
        posted += 1
      }
      for outcome in pair.a.poll() { #expect(outcome.error == 0) }
      // Polls that take nothing out, so that the queue is full most of the time.
      room += 1
      if room % 8 != 0 {
        _ = pair.b.queue.read(into: nil, count: 0, sources: nil)
      } else {
        told += pair.b.poll().map(\.data)
      }
      return told.count >= total
    }
    #expect(done && told == (0..<UInt64(total)).map { $0 })
    region.close()
    try pair.close()
  }

  @Test func closedRegionEndsTransfers() throws {
    let pair = try Pair()
    let remote = Memory(8_000_000)
    let region = try pair.b.register(remote.whole, key: 42)
    let source = Memory(8_000_000, seed: 9)
    let target = Memory(8_000_000)
    #expect(pair.a.access(.write, source.whole, at: 0, key: 42, of: pair.toB, context: 1) == 0)
    #expect(pair.a.access(.read, target.whole, at: 0, key: 42, of: pair.toB, context: 2) == 0)
    let begun = progress(pair.both) { remote.bytes[0] != 0 || remote.bytes[1] != 0 }
    #expect(begun)
    region.close()
    memset(remote.bytes.baseAddress!, 0, remote.count)
    let ended = completions(2, of: pair.a, with: [pair.b]).sorted { $0.context < $1.context }
    #expect(ended.count == 2 && ended.allSatisfy { $0.error == FI_EREMOTEIO || $0.error == FI_EACCES }, "\(ended)")
    #expect(remote.isEqual(Memory(8_000_000)))
    try pair.close()
  }

  // MARK: Progress

  @Test func helperThreadServesAProgramThatDoesNotPoll() throws {
    var options = NodeOptions()
    options.progress = FI_PROGRESS_AUTO
    let pair = try Pair(options)
    let remote = Memory(100_000, seed: 5)
    let region = try pair.b.register(remote.whole, key: 1)
    let target = Memory(100_000)
    for _ in 0..<3 {
      memset(target.bytes.baseAddress!, 0, target.count)
      #expect(pair.a.access(.read, target.whole, at: 0, key: 1, of: pair.toB, context: 1) == 0)
      #expect(completions(1, of: pair.a, with: []) == [Outcome(context: 1, flags: FI_RMA | FI_READ)])
      #expect(target.isEqual(remote))
    }
    region.close()
    try pair.close()
  }

  @Test func waitDescriptorTellsOfTraffic() throws {
    let pair = try Pair()
    let target = Memory(8)
    let source = Memory(8, seed: 1)
    #expect(pair.b.receive(target.whole) == 0)
    // The handshake first, so that one datagram is all that is missing.
    #expect(pair.a.send(source.source, to: pair.toB) == 0)
    #expect(completions(1, of: pair.b, with: [pair.a]).count == 1)
    #expect(completions(1, of: pair.a, with: [pair.b]).count == 1)
    var entry = pollfd(fd: pair.b.domain.engine.waitDescriptor, events: Int16(POLLIN), revents: 0)
    func arm() -> Bool {
      _ = pair.b.queue.read(into: nil, count: 0, sources: nil)
      pair.b.domain.engine.lock()
      defer { pair.b.domain.engine.unlock() }
      return pair.b.domain.engine.armWait()
    }
    let quiet = progress([pair.a]) { arm() && platform_poll(&entry, 1, 20) == 0 }
    #expect(quiet)
    #expect(pair.b.receive(target.whole) == 0)
    #expect(pair.a.send(source.source, to: pair.toB) == 0)
    #expect(platform_poll(&entry, 1, 2000) == 1)
    #expect(completions(1, of: pair.b, with: [pair.a]).count == 1)
    try pair.close()
  }
}

/// A thread that polls a node while the test is in a call that blocks.
private final class Stopper: @unchecked Sendable {
  private let node: Node
  private let flag = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
  private var thread: Thread?

  init(_ node: Node) {
    self.node = node
    flag.initialize(to: 0)
    thread = try? Thread(
      { context in
        let stopper = Unmanaged<Stopper>.fromOpaque(context!).takeUnretainedValue()
        while stopper.flag.pointee == 0 {
          _ = stopper.node.queue.read(into: nil, count: 0, sources: nil)
          Thread.yield()
        }
      }, context: Unmanaged.passUnretained(self).toOpaque())
  }

  func join() {
    flag.pointee = 1
    thread.take()?.join()
    flag.deallocate()
  }
}
