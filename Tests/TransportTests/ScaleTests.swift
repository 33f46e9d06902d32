import Testing
import Transport

/// Two endpoints with many connections between them: to each, the other has as many addresses. No network, no loss.
private final class ManyPeers {
  private final class Side {
    var endpoint: TransportEndpoint
    var batch = TransmitBatch()
    var messages = 0

    init(seed: UInt64) {
      var configuration = TransportConfiguration()
      configuration.seed = seed
      configuration.transmitQueueSize = 16 * 1024
      endpoint = TransportEndpoint(configuration: configuration, localAddress: PeerAddress(words: (seed, 0, 0)))
    }
  }

  private let sides = [Side(seed: 1), Side(seed: 2)]
  let count: Int
  private(set) var now: Instant = 1_000_000_000

  init(_ count: Int) { self.count = count }

  static func address(_ peer: Int) -> PeerAddress { PeerAddress(words: (7, UInt64(peer), 0)) }

  func statistics(_ side: Int) -> TransportStatistics { sides[side].endpoint.statistics }
  func messages(_ side: Int) -> Int { sides[side].messages }
  var isQuiet: Bool { sides.allSatisfy { $0.endpoint.isQuiet && $0.endpoint.nextTimeout() == never } }

  /// Posts an empty message from side 0.
  func post(to peer: Int) {
    let operation = Operation(kind: .message, flags: [], slices: nil, sliceCount: 0, cookie: Cookies())
    let connection = sides[0].endpoint.connection(to: Self.address(peer))
    #expect(sides[0].endpoint.post(operation, on: connection) == .queued)
  }

  /// One poll as the progress engine does it, but for at most one batch of datagrams, so that the other side can answer
  /// before it has forgotten. They arrive there unless they are to be lost. Returns how many there were.
  @discardableResult
  func poll(_ side: Int, losing: Bool = false) -> Int {
    let from = sides[side]
    from.endpoint.pollIdle(now: now)
    from.endpoint.handleTimeout(now: now)
    drain(side)
    guard from.endpoint.pollTransmit(into: &from.batch, now: now) else { return 0 }
    defer { from.batch.removeAll() }
    for index in 0..<from.batch.count where !losing {
      deliver(from.batch.transmits[index], from.batch.slices, to: 1 - side)
    }
    return from.batch.count
  }

  private func deliver(_ transmit: Transmit, _ slices: UnsafeMutablePointer<Slice>, to side: Int) {
    var bytes: [UInt8] = []
    for index in transmit.firstSlice..<transmit.firstSlice + transmit.sliceCount {
      bytes += UnsafeRawBufferPointer(start: slices[index].base, count: slices[index].count)
    }
    var start = 0
    while start < bytes.count {
      let end = min(start + transmit.segmentSize, bytes.count)
      bytes.withUnsafeBytes {
        sides[side].endpoint.receive(
          UnsafeRawBufferPointer(rebasing: $0[start..<end]), from: transmit.destination, now: now)
        drain(side)
      }
      start = end
    }
  }

  private func drain(_ side: Int) {
    while let event = sides[side].endpoint.pollEvent(now: now) {
      if event.pointee.kind == .message { sides[side].messages += 1 }
    }
  }

  func advance(_ time: UInt64) { now += time }

  /// Polls both sides until neither has anything to say, however long they wait.
  func settle() {
    for _ in 0..<1_000 {
      while poll(0) + poll(1) > 0 { advance(microseconds(1)) }
      let next = sides.map { $0.endpoint.nextTimeout() }.min()!
      if next == never { return }
      now = max(now, next)
    }
    Issue.record("no end")
  }

  /// A session with each peer, everything that belongs to it over.
  func establish() {
    for peer in 0..<count { post(to: peer) }
    settle()
  }
}

/// What many connections cost that have nothing to do: counted, not timed.
@Suite struct ScaleTests {
  @Test func idleConnectionsAreNotLookedAt() {
    let peers = ManyPeers(10_000)
    peers.establish()
    #expect(peers.isQuiet && peers.messages(1) == 10_000)
    let before = [peers.statistics(0), peers.statistics(1)]
    for _ in 0..<1_000 {
      #expect(peers.poll(0) + peers.poll(1) == 0)
      peers.advance(milliseconds(1))
    }
    for side in 0..<2 { #expect(peers.statistics(side).timersExamined == before[side].timersExamined) }
    // One of them talks: the others cost nothing.
    for _ in 0..<100 {
      peers.post(to: 5_000)
      for _ in 0..<5 where peers.poll(0) + peers.poll(1) > 0 { peers.advance(microseconds(5)) }
    }
    peers.settle()
    #expect(peers.isQuiet && peers.messages(1) == 10_100)
    for side in 0..<2 {
      #expect(peers.statistics(side).timersExamined < before[side].timersExamined + 100 * 16, "side \(side)")
    }
  }

  /// Each connection waits for an acknowledgement, that is for a timer. Polls before the first is due look at none.
  @Test func connectionsAreLookedAtWhenTheyAreDue() {
    let peers = ManyPeers(2_000)
    peers.establish()
    for peer in 0..<peers.count { peers.post(to: peer) }
    while peers.poll(0, losing: true) > 0 {}
    let before = peers.statistics(0)
    for _ in 0..<1_000 { #expect(peers.poll(0, losing: true) == 0) }
    #expect(peers.statistics(0).timersExamined == before.timersExamined)
    #expect(peers.statistics(0).probeTimeouts == before.probeTimeouts)
    peers.advance(milliseconds(2_000))
    peers.poll(0)
    #expect(peers.statistics(0).timersExamined <= before.timersExamined + 2 * UInt64(peers.count))
    #expect(peers.statistics(0).probeTimeouts == before.probeTimeouts + UInt64(peers.count))
    peers.settle()
    #expect(peers.isQuiet && peers.messages(1) == 2 * UInt64(peers.count))
  }
}
