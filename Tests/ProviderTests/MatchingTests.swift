import CFabric
import Provider
import Testing
import Transport

/// The containers behind reference types, since #expect copies what it calls methods of.
final class Receives {
  var queue: ReceiveQueue
  init(_ capacity: Int) { queue = ReceiveQueue(capacity: capacity) }

  /// Posts a receive that its context names; false when the queue is full.
  func post(_ context: UInt, tagged: Bool, tag: UInt64 = 0, ignore: UInt64 = 0, from peer: ConnectionIndex? = nil)
    -> Bool
  {
    var slice = Slice(base: nil, count: Int(context))
    guard let index = queue.allocate(&slice, count: 1) else { return false }
    let entry = queue[index]
    entry.pointee.context = context
    entry.pointee.tag = tag
    entry.pointee.ignore = ignore
    entry.pointee.connection = peer ?? PostedReceive.anyConnection
    entry.pointee.flags = 0
    queue.append(index, tagged: tagged)
    return true
  }

  /// The context of the receive that a message takes.
  func take(tagged: Bool, tag: UInt64 = 0, from peer: ConnectionIndex) -> UInt? {
    queue.take(tagged: tagged, tag: tag, from: peer).map { release($0) }
  }

  func cancel(_ context: UInt) -> Bool { queue.take(context: context).map { release($0) } != nil }

  private func release(_ index: UInt32) -> UInt {
    let context = queue[index].pointee.context
    #expect(queue[index].pointee.capacity == Int(context))
    #expect(queue.slices(index).pointee.count == Int(context))
    queue.free(index)
    return context
  }
}

final class Unexpected {
  var queue: UnexpectedQueue
  init(_ capacity: Int) { queue = UnexpectedQueue(capacity: capacity) }

  func add(_ handle: MessageHandle, tagged: Bool, tag: UInt64 = 0, from peer: ConnectionIndex) -> Bool {
    guard let index = queue.allocate() else { return false }
    queue[index].initialize(
      to: UnexpectedMessage(connection: peer, flags: tagged ? .tagged : [], tag: tag, data: 0, length: 0))
    queue[index].pointee.handle = handle
    queue.append(index)
    return true
  }

  func find(tagged: Bool, tag: UInt64 = 0, ignore: UInt64 = 0, from peer: ConnectionIndex? = nil) -> UInt32? {
    queue.find(tagged: tagged, tag: tag, ignore: ignore, from: peer ?? PostedReceive.anyConnection)
  }

  func handle(_ index: UInt32?) -> MessageHandle? { index.map { queue[$0].pointee.handle } }

  func remove(_ index: UInt32) {
    queue.unlink(index)
    queue.free(index)
  }
}

@Suite struct MatchingTests {
  @Test func messagesTakeReceivesInTheOrderOfPosting() {
    let receives = Receives(4)
    for context in 1...4 { #expect(receives.post(UInt(context), tagged: false)) }
    #expect(!receives.post(5, tagged: false))
    #expect(receives.queue.available == 0)
    for context in 1...4 { #expect(receives.take(tagged: false, from: 0) == UInt(context)) }
    #expect(receives.take(tagged: false, from: 0) == nil)
    #expect(receives.queue.count == 0)
  }

  @Test func taggedAndUntaggedDoNotMix() {
    let receives = Receives(4)
    #expect(receives.post(1, tagged: false) && receives.post(2, tagged: true, tag: 0))
    #expect(receives.take(tagged: true, tag: 0, from: 0) == 2)
    #expect(receives.take(tagged: true, tag: 0, from: 0) == nil)
    #expect(receives.take(tagged: false, from: 0) == 1)
  }

  @Test func ignoredBitsDoNotCount() {
    let receives = Receives(4)
    #expect(receives.post(1, tagged: true, tag: 0xF0, ignore: 0x0F))
    #expect(receives.take(tagged: true, tag: 0xE0, from: 0) == nil)
    #expect(receives.take(tagged: true, tag: 0xFA, from: 0) == 1)
  }

  @Test func directedReceivesTakeTheirPeersMessagesOnly() {
    let receives = Receives(4)
    #expect(receives.post(1, tagged: true, tag: 9, from: 7) && receives.post(2, tagged: true, tag: 9))
    #expect(receives.take(tagged: true, tag: 9, from: 8) == 2)
    #expect(receives.take(tagged: true, tag: 9, from: 8) == nil)
    #expect(receives.take(tagged: true, tag: 9, from: 7) == 1)
  }

  @Test func cancelTakesTheOldest() {
    let receives = Receives(4)
    #expect(receives.post(3, tagged: true, tag: 1) && receives.post(3, tagged: true, tag: 2))
    #expect(receives.cancel(3))
    #expect(receives.take(tagged: true, tag: 1, from: 0) == nil)
    #expect(receives.cancel(3) && !receives.cancel(3) && !receives.cancel(4))
  }

  @Test func vectorsKeepAllTheirSlices() {
    let receives = Receives(2)
    var slices = (1...maximumSlices).map { Slice(base: UnsafeMutableRawPointer(bitPattern: $0), count: $0) }
    let many = receives.queue.allocate(&slices, count: maximumSlices)!
    let none = receives.queue.allocate(&slices, count: 0)!
    #expect(receives.queue[many].pointee.capacity == (1...maximumSlices).reduce(0, +))
    for index in 0..<maximumSlices { #expect(receives.queue.slices(many)[index].count == index + 1) }
    #expect(receives.queue[none].pointee.capacity == 0 && receives.queue[none].pointee.sliceCount == 0)
  }

  /// Against the rule written down naively.
  @Test(arguments: 0..<20 as Range<UInt64>)
  func agreesWithAModel(seed: UInt64) {
    struct Posted {
      var context: UInt
      var tagged: Bool
      var tag: UInt64
      var ignore: UInt64
      var peer: ConnectionIndex?
    }
    var random = Seeded(state: seed)
    let receives = Receives(32)
    var model: [Posted] = []
    for step in 1...2000 {
      let tagged = Bool.random(using: &random)
      let tag = tagged ? UInt64.random(in: 0..<4, using: &random) : 0
      switch Int.random(in: 0..<5, using: &random) {
      case 0, 1:
        let posted = Posted(
          context: UInt(step), tagged: tagged, tag: tag, ignore: tagged ? UInt64.random(in: 0..<4, using: &random) : 0,
          peer: Bool.random(using: &random) ? ConnectionIndex.random(in: 0..<3, using: &random) : nil)
        let fits = receives.post(
          posted.context, tagged: tagged, tag: posted.tag, ignore: posted.ignore, from: posted.peer)
        #expect(fits == (model.count < 32), "seed \(seed) step \(step)")
        if fits { model.append(posted) }
      case 2, 3:
        let peer = ConnectionIndex.random(in: 0..<3, using: &random)
        let expected = model.firstIndex {
          $0.tagged == tagged && ($0.tag ^ tag) & ~$0.ignore == 0 && ($0.peer == nil || $0.peer == peer)
        }
        let taken = receives.take(tagged: tagged, tag: tag, from: peer)
        #expect(taken == expected.map { model[$0].context }, "seed \(seed) step \(step)")
        if let expected { model.remove(at: expected) }
      default:
        guard let victim = model.randomElement(using: &random) else { continue }
        #expect(receives.cancel(victim.context), "seed \(seed) step \(step)")
        model.removeAll { $0.context == victim.context }
      }
      #expect(receives.queue.count == model.count)
    }
  }

  // MARK: Unexpected messages

  @Test func receivesTakeMessagesInTheOrderOfArrival() {
    let unexpected = Unexpected(8)
    #expect(unexpected.add(1, tagged: true, tag: 5, from: 0) && unexpected.add(2, tagged: true, tag: 6, from: 1))
    #expect(unexpected.add(3, tagged: true, tag: 5, from: 1) && unexpected.add(4, tagged: false, from: 0))
    #expect(unexpected.handle(unexpected.find(tagged: true, tag: 5)) == 1)
    #expect(unexpected.handle(unexpected.find(tagged: true, tag: 5, from: 1)) == 3)
    #expect(unexpected.handle(unexpected.find(tagged: true, tag: 7, ignore: 1)) == 2)
    #expect(unexpected.handle(unexpected.find(tagged: false)) == 4)
    #expect(unexpected.find(tagged: false, from: 1) == nil)
    unexpected.remove(unexpected.find(tagged: true, tag: 5)!)
    #expect(unexpected.handle(unexpected.find(tagged: true, tag: 5)) == 3)
    #expect(unexpected.queue.count == 3 && !unexpected.queue.isEmpty(tagged: true))
  }

  @Test func claimedMessagesAreTheirClaimants() {
    let unexpected = Unexpected(3)
    for handle in 1...3 { #expect(unexpected.add(MessageHandle(handle), tagged: true, tag: 1, from: 0)) }
    #expect(!unexpected.add(4, tagged: true, tag: 1, from: 0))
    unexpected.queue.claim(unexpected.find(tagged: true, tag: 1)!, context: 77)
    unexpected.queue.claim(unexpected.find(tagged: true, tag: 1)!, context: 88)
    #expect(unexpected.handle(unexpected.find(tagged: true, tag: 1)) == 3)
    #expect(unexpected.queue.find(claimedBy: 99) == nil)
    #expect(unexpected.handle(unexpected.queue.find(claimedBy: 88)) == 2)
    unexpected.remove(unexpected.queue.find(claimedBy: 77)!)
    #expect(unexpected.queue.find(claimedBy: 77) == nil && unexpected.queue.count == 2)
  }

  // MARK: Peers

  @Test func cacheForgetsWithTheGeneration() {
    final class Cache {
      var cache = PeerCache()
      func connection(_ address: UInt64, _ generation: UInt32) -> ConnectionIndex? {
        cache.connection(to: address, generation: generation)
      }
      func source(_ connection: ConnectionIndex, _ generation: UInt32) -> UInt64? {
        cache.source(of: connection, generation: generation)
      }
    }
    let peers = Cache()
    #expect(peers.connection(0, 0) == nil && peers.source(0, 0) == nil)
    for address in [0, 3, 1000, 100_000] as [UInt64] {
      peers.cache.note(ConnectionIndex(address) + 1, to: address, generation: 0)
      peers.cache.note(source: address, of: ConnectionIndex(address) + 1, generation: 0)
    }
    #expect(peers.connection(1000, 0) == 1001 && peers.connection(100_000, 0) == 100_001)
    #expect(peers.source(1001, 0) == 1000 && peers.source(2, 0) == nil)
    #expect(peers.connection(1000, 1) == nil && peers.source(1001, 1) == nil)
    #expect(peers.connection(2, 0) == nil && peers.connection(.max, 0) == nil)
    // Too far out to be kept; looked up each time.
    peers.cache.note(5, to: 1 << 40, generation: 0)
    #expect(peers.connection(1 << 40, 0) == nil)
  }
}

@Suite struct TransferErrorTests {
  private static let failures: [TransportStatus] = [
    .accessDenied, .outOfBounds, .aborted, .refused, .timedOut, .reset, .closed,
  ]

  /// fi_cq_strerror explains `prov_errno` as a system error number: it must be one, and tell the outcomes apart.
  @Test func providerCodesAreErrorNumbers() {
    #expect(TransferError.providerCode(.ok) == 0)
    #expect(TransferError.providerCode(.refused) == FI_ECONNREFUSED)
    #expect(TransferError.providerCode(.timedOut) == FI_ETIMEDOUT)
    #expect(TransferError.code(.outOfBounds) == TransferError.code(.accessDenied))
    #expect(Set(Self.failures.map(TransferError.providerCode)).count == Self.failures.count)
  }
}
