import Provider
import Testing
import Transport

/// Thousands of posted receives, or of messages that came before theirs: who takes which, and how many are looked at.
@Suite struct ManyWaitingTests {
  /// Against the rule written down naively, with queues that grow long and short again.
  @Test(arguments: 0..<12 as Range<UInt64>)
  func receivesAgreeWithAModel(seed: UInt64) {
    struct Posted {
      var context: UInt
      var tag: UInt64
      var ignore: UInt64
      var peer: ConnectionIndex?
    }
    var random = Seeded(state: seed)
    let receives = Receives(300)
    let isTagged = seed % 3 != 0
    // From none to many receives that ignore bits.
    let wildcards = isTagged ? Double(seed % 4) * 0.1 : 0
    var model: [Posted] = []
    for step in 1...6000 {
      let grows = step / 1000 % 2 == 0
      let tag = isTagged ? UInt64.random(in: 0..<60, using: &random) : 0
      let peer = ConnectionIndex.random(in: 0..<20, using: &random)
      switch Int.random(in: 0..<10, using: &random) {
      case 0..<(grows ? 6 : 3):
        let isWild = Double.random(in: 0..<1, using: &random) < wildcards
        let posted = Posted(
          context: UInt(step), tag: tag, ignore: isWild ? UInt64.random(in: 1..<64, using: &random) : 0,
          peer: Bool.random(using: &random) ? peer : nil)
        let fits = receives.post(
          posted.context, tagged: isTagged, tag: posted.tag, ignore: posted.ignore, from: posted.peer)
        #expect(fits == (model.count < 300), "seed \(seed) step \(step)")
        if fits { model.append(posted) }
      case 9:
        guard let victim = model.randomElement(using: &random) else { continue }
        #expect(receives.cancel(victim.context), "seed \(seed) step \(step)")
        model.removeAll { $0.context == victim.context }
      default:
        let expected = model.firstIndex {
          ($0.tag ^ tag) & ~$0.ignore == 0 && ($0.peer == nil || $0.peer == peer)
        }
        let taken = receives.take(tagged: isTagged, tag: tag, from: peer)
        #expect(taken == expected.map { model[$0].context }, "seed \(seed) step \(step)")
        if let expected { model.remove(at: expected) }
      }
    }
    for posted in model {
      #expect(receives.take(tagged: isTagged, tag: posted.tag, from: posted.peer ?? 99) != nil)
    }
    #expect(receives.queue.count == 0)
  }

  @Test(arguments: 0..<12 as Range<UInt64>)
  func messagesAgreeWithAModel(seed: UInt64) {
    var random = Seeded(state: seed)
    let unexpected = Unexpected(300)
    var model: [(handle: MessageHandle, tag: UInt64, peer: ConnectionIndex, tagged: Bool)] = []
    for step in 1...6000 as ClosedRange<MessageHandle> {
      let grows = step / 1000 % 2 == 0
      let tagged = UInt64.random(in: 0..<4, using: &random) != 0
      let tag = tagged ? UInt64.random(in: 0..<60, using: &random) : 0
      let peer = ConnectionIndex.random(in: 0..<20, using: &random)
      if Int.random(in: 0..<10, using: &random) < (grows ? 6 : 3) {
        let fits = unexpected.add(step, tagged: tagged, tag: tag, from: peer)
        #expect(fits == (model.count < 300), "seed \(seed) step \(step)")
        if fits { model.append((step, tag, peer, tagged)) }
        continue
      }
      let ignore = Int.random(in: 0..<8, using: &random) == 0 ? UInt64.random(in: 1..<64, using: &random) : 0
      let wanted = Bool.random(using: &random) ? peer : nil
      let expected = model.firstIndex {
        $0.tagged == tagged && ($0.tag ^ tag) & ~ignore == 0 && (wanted == nil || $0.peer == wanted)
      }
      let found = unexpected.find(tagged: tagged, tag: tag, ignore: ignore, from: wanted)
      #expect(unexpected.handle(found) == expected.map { model[$0].handle }, "seed \(seed) step \(step)")
      if let found, let expected, Bool.random(using: &random) {
        unexpected.remove(found)
        model.remove(at: expected)
      }
    }
    #expect(unexpected.queue.count == model.count)
  }

  /// What a collective operation among thousands of processes posts: a tag, or a peer, for each.
  @Test(arguments: [false, true])
  func aMessageLooksAtFewReceives(directed: Bool) {
    let count = 4096
    let receives = Receives(count)
    var random = Seeded(state: 1)
    for peer in 0..<count {
      let tag = directed ? 5 : UInt64(peer) << 32
      #expect(receives.post(UInt(peer), tagged: true, tag: tag, from: directed ? ConnectionIndex(peer) : nil))
    }
    for peer in Array(0..<count).shuffled(using: &random) {
      let tag = directed ? 5 : UInt64(peer) << 32
      #expect(receives.take(tagged: true, tag: tag, from: ConnectionIndex(peer)) == UInt(peer))
    }
    #expect(receives.queue.count == 0)
    #expect(receives.queue.steps > 0 && receives.queue.steps < UInt64(5 * count), "\(receives.queue.steps)")
  }

  @Test(arguments: [false, true])
  func aReceiveLooksAtFewMessages(directed: Bool) {
    let count = 4096
    let unexpected = Unexpected(count)
    var random = Seeded(state: 1)
    for peer in 0..<count {
      let tag = directed ? 5 : UInt64(peer) << 32
      #expect(unexpected.add(MessageHandle(peer), tagged: true, tag: tag, from: ConnectionIndex(peer)))
    }
    for peer in Array(0..<count).shuffled(using: &random) {
      let tag = directed ? 5 : UInt64(peer) << 32
      let found = unexpected.find(tagged: true, tag: tag, from: directed ? ConnectionIndex(peer) : nil)
      #expect(unexpected.handle(found) == MessageHandle(peer))
      if let found { unexpected.remove(found) }
    }
    #expect(unexpected.queue.count == 0)
    #expect(unexpected.queue.steps > 0 && unexpected.queue.steps < UInt64(8 * count), "\(unexpected.queue.steps)")
  }

  /// A stream is received in the order of posting: it has no use for hashes, and does not pay for them.
  @Test func streamsLookAtTheFirstReceiveOnly() {
    let receives = Receives(1000)
    for context in 0..<1000 { #expect(receives.post(UInt(context), tagged: true, tag: 3)) }
    for context in 1000..<5000 {
      #expect(receives.take(tagged: true, tag: 3, from: 1) == UInt(context - 1000))
      #expect(receives.post(UInt(context), tagged: true, tag: 3))
    }
    #expect(receives.queue.steps == 0)
  }
}
