import Testing
import Transport

@Suite struct RTTEstimatorTests {
  @Test func beginsWithAGuess() {
    let estimator = RTTEstimator()
    #expect(!estimator.hasSample)
    #expect(estimator.smoothed == milliseconds(10))
    #expect(estimator.probeTimeout == milliseconds(30))
    #expect(estimator.queueing == 0)
  }

  @Test func takesTheFirstSampleWhole() {
    var estimator = RTTEstimator()
    estimator.update(microseconds(800), now: 0)
    #expect(estimator.smoothed == microseconds(800))
    #expect(estimator.variation == microseconds(400))
    #expect(estimator.minimum == microseconds(800))
    #expect(estimator.probeTimeout == microseconds(800 + 1_600))
  }

  @Test func smoothsAsRFC9002Says() {
    var estimator = RTTEstimator()
    estimator.update(8_000_000, now: 0)
    estimator.update(16_000_000, now: 0)
    #expect(estimator.smoothed == (7 * 8_000_000 + 16_000_000) / 8)
    #expect(estimator.variation == (3 * 4_000_000 + 8_000_000) / 4)
    #expect(estimator.latest == 16_000_000)
    #expect(estimator.minimum == 8_000_000)
  }

  /// A lost ping on a link of 10 us is missed within a tenth of a millisecond.
  @Test func timersAreFine() {
    var estimator = RTTEstimator()
    for index in 0..<100 as Range<UInt64> { estimator.update(microseconds(10), now: index * microseconds(20)) }
    #expect(estimator.probeTimeout >= microseconds(50))
    #expect(estimator.probeTimeout <= microseconds(100))
    #expect(estimator.lossDelay >= microseconds(50))
    for index in 0..<100 as Range<UInt64> { estimator.update(milliseconds(80), now: index * milliseconds(80)) }
    #expect(estimator.lossDelay == estimator.latest * 9 / 8 || estimator.lossDelay == estimator.smoothed * 9 / 8)
  }

  @Test func theShortestRoundTripIsForgotten() {
    var estimator = RTTEstimator()
    estimator.update(microseconds(10), now: milliseconds(1))
    for second in 1...30 as ClosedRange<UInt64> {
      estimator.update(microseconds(100), now: milliseconds(second * 1_000))
      if second == 9 { #expect(estimator.minimum == microseconds(10)) }
    }
    #expect(estimator.minimum == microseconds(100))
  }

  /// What delays every packet is a queue, what delays some is not.
  @Test func queueingIsWhatAllPacketsWait() {
    var estimator = RTTEstimator()
    var now: Instant = milliseconds(1)
    func sample(_ time: UInt64) {
      now += microseconds(5)
      estimator.update(time, now: now)
    }
    for _ in 0..<100 { sample(microseconds(10)) }
    for index in 0..<100 { sample(index % 4 == 0 ? microseconds(10) : microseconds(500)) }
    #expect(estimator.queueing < microseconds(500))
    for _ in 0..<1_000 { sample(microseconds(300)) }
    #expect(estimator.queueing == microseconds(290))
    for _ in 0..<1_000 { sample(microseconds(10)) }
    #expect(estimator.queueing == 0)
    // After a rest the rounds may be older than what the shortest round trip is taken of.
    now += milliseconds(25_000)
    sample(microseconds(400))
    #expect(estimator.queueing == 0)
  }
}

@Suite struct CongestionControllerTests {
  /// Neither none nor a long one.
  private static let queue = microseconds(25)
  private static let shortest = microseconds(20)

  private func makeController(_ size: Int = 1_000) -> CongestionController { CongestionController(datagramSize: size) }

  /// Rounds of packets sent one a nanosecond, every `lossEvery`th of which is lost.
  private func rounds(
    _ count: Int, lossEvery: Int, _ controller: inout CongestionController, _ now: inout Instant,
    queueing: UInt64 = queue
  ) {
    for _ in 0..<count {
      let packets = max(controller.window / 1_000, 1)
      let sent = now
      now += UInt64(packets) + 100
      for packet in 1...packets {
        controller.onRoundTrips(queueing: queueing, shortest: Self.shortest)
        if (Int(now) + packet) % lossEvery == 0 {
          controller.onLoss(sentTime: sent + UInt64(packet), now: now)
        } else {
          controller.onAcknowledged(1_000, sentTime: sent + UInt64(packet), isLimited: true)
        }
      }
    }
  }

  private func lose(
    _ count: Int, from sent: Instant, now: Instant, _ controller: inout CongestionController, queueing: UInt64 = queue
  ) {
    controller.onRoundTrips(queueing: queueing, shortest: Self.shortest)
    for packet in 0..<count { controller.onLoss(sentTime: sent + UInt64(packet), now: now) }
  }

  @Test func slowStartGrowsByWhatIsAcknowledged() {
    var controller = makeController()
    let start = controller.window
    controller.onAcknowledged(5_000, sentTime: 1, isLimited: true)
    #expect(controller.window == start + 5_000)
  }

  @Test func anUnusedWindowDoesNotGrow() {
    var controller = makeController()
    let start = controller.window
    controller.onAcknowledged(5_000, sentTime: 1, isLimited: false)
    #expect(controller.window == start)
  }

  @Test func lossesOfOneRoundCountOnce() {
    var controller = makeController()
    let start = controller.window
    lose(40, from: 100, now: 1_000, &controller)
    #expect(controller.window == start / 2, "in slow start, half of the window was too much")
    lose(900, from: 101, now: 1_001, &controller)
    #expect(controller.window == start / 2, "sent before the first loss was noticed")
    lose(40, from: 1_500, now: 2_000, &controller)
    #expect(controller.window == start / 2 * 7 / 10)
  }

  @Test(arguments: [1_000, 200, 100, 67])
  func randomLossIsBorne(lossEvery: Int) {
    var controller = makeController()
    var now: Instant = 1_000
    rounds(8, lossEvery: lossEvery, &controller, &now)
    #expect(controller.window > 1_000_000)
  }

  @Test(arguments: [10, 4, 2])
  func moreIsCongestion(lossEvery: Int) {
    var controller = makeController()
    var now: Instant = 1_000
    rounds(30, lossEvery: lossEvery, &controller, &now)
    #expect(controller.window < 64_000)
  }

  /// Nothing overflows where nothing queues; but who loses a quarter shall yield all the same.
  @Test func withoutAQueueMoreIsBorne() {
    var controller = makeController()
    var now: Instant = 1_000
    rounds(8, lossEvery: 20, &controller, &now, queueing: 0)
    #expect(controller.window > 1_000_000)
    rounds(60, lossEvery: 4, &controller, &now, queueing: 0)
    #expect(controller.window < 64_000)
  }

  @Test func aLongQueueMakesEveryLossCount() {
    var controller = makeController()
    var now: Instant = 1_000
    rounds(4, lossEvery: .max, &controller, &now)
    let window = controller.window
    lose(1, from: now, now: now + 10, &controller, queueing: milliseconds(3))
    #expect(controller.window < window / 2, "down to what does not stand in the queue")
    for _ in 0..<30 { rounds(1, lossEvery: 200, &controller, &now, queueing: milliseconds(3)) }
    #expect(controller.window > 24_000, "a burst is not cut")
    #expect(controller.window < 1_000_000)
  }

  @Test func avoidanceGrowsFasterAndFaster() {
    var controller = makeController()
    lose(40, from: 1, now: 1_000, &controller)
    let window = controller.window
    controller.onAcknowledged(window, sentTime: 2_000, isLimited: true)
    #expect(controller.window == window + 1_000)
    controller.onAcknowledged(window + 1_000, sentTime: 2_000, isLimited: true)
    #expect(controller.window == window + 3_000)
    controller.onAcknowledged(window, sentTime: 5, isLimited: true)
    #expect(controller.window == window + 3_000, "sent before the loss")
  }

  @Test func spuriousLossIsTakenBack() {
    var controller = makeController()
    let start = controller.window
    lose(20, from: 100, now: 1_000, &controller)
    #expect(controller.window < start)
    for packet in 0..<20 as Range<UInt64> { controller.onSpuriousLoss(sentTime: 100 + packet) }
    #expect(controller.window == start)
    controller.onSpuriousLoss(sentTime: 100)
    #expect(controller.window == start)
  }

  @Test func persistentCongestionLeavesTwoDatagrams() {
    var controller = makeController()
    controller.onPersistentCongestion(now: 1_000)
    #expect(controller.window == 2_000)
    controller.onPersistentCongestion(now: 2_000)
    #expect(controller.window == 2_000)
    controller.setDatagramSize(65_507)
    #expect(controller.window >= 2 * 65_507, "two datagrams always fit")
  }
}

@Suite struct PathMTUTests {
  /// Runs the search over a path that carries `limit` bytes. Returns the probes it took.
  private func search(_ mtu: inout PathMTU, limit: Int, now: Instant = 0) -> Int {
    var probes = 0
    while let size = mtu.nextProbe(now: now) {
      probes += 1
      check(size > mtu.current)
      mtu.onProbeSent(size)
      check(mtu.nextProbe(now: now) == nil, "one at a time")
      if size <= limit { mtu.onProbeAcknowledged(size) } else { mtu.onProbeLost(size) }
      guard probes < 1_000 else { break }
    }
    return probes
  }

  @Test func staysAtTheBaseBeforeTheSearch() {
    var mtu = PathMTU(base: 1_200)
    check(mtu.current == 1_200)
    check(mtu.nextProbe(now: 0) == nil)
  }

  /// Whatever the path carries, the search finds it to the last 64 bytes, and never more than it.
  @Test(arguments: [1_472, 4_000, 8_972, 65_507])
  func findsEveryLimit(target: Int) {
    for limit in stride(from: 1_200, through: target, by: 97) {
      var mtu = PathMTU(base: 1_200)
      mtu.start(target: target)
      let probes = search(&mtu, limit: limit)
      check(mtu.current <= limit)
      check(mtu.current > limit - 64, "\(mtu.current) of \(limit) towards \(target)")
      check(probes < 60, "\(probes) probes for \(limit) towards \(target)")
    }
  }

  @Test func takesTheWholeWayAtOnce() {
    var mtu = PathMTU(base: 1_200)
    mtu.start(target: 8_972)
    check(search(&mtu, limit: 9_000) == 1)
    check(mtu.current == 8_972)
  }

  @Test func looksUpwardAgainAfterTenMinutes() {
    var mtu = PathMTU(base: 1_200)
    mtu.start(target: 8_972)
    _ = search(&mtu, limit: 1_472)
    let found = mtu.current
    check(mtu.nextProbe(now: milliseconds(599_000)) == nil)
    _ = search(&mtu, limit: 8_972, now: milliseconds(600_001))
    check(found < 1_473)
    check(mtu.current == 8_972)
  }

  @Test func noticesABlackHole() {
    var mtu = PathMTU(base: 1_200)
    mtu.start(target: 8_972)
    _ = search(&mtu, limit: 8_972)
    for number in 1...5 as ClosedRange<UInt64> { check(!mtu.onLost(8_972, number: number)) }
    mtu.onAcknowledged(8_972, number: 6)
    for number in 7...11 as ClosedRange<UInt64> { check(!mtu.onLost(8_972, number: number)) }
    for number in 12...61 as ClosedRange<UInt64> { check(!mtu.onLost(1_000, number: number), "small ones say nothing") }
    check(mtu.onLost(8_972, number: 62))
    check(mtu.current == 1_200)
    _ = search(&mtu, limit: 1_472)
    check((1_409...1_472).contains(mtu.current))
  }

  /// Losses are noticed when later packets are acknowledged: these have shown that the size fits.
  @Test func lossBetweenArrivalsIsNoBlackHole() {
    var mtu = PathMTU(base: 1_200)
    mtu.start(target: 8_972)
    _ = search(&mtu, limit: 8_972)
    mtu.onAcknowledged(8_972, number: 100)
    for number in 1...99 as ClosedRange<UInt64> { check(!mtu.onLost(8_972, number: number)) }
    check(mtu.current == 8_972)
  }

  @Test func believesTheNetwork() {
    var mtu = PathMTU(base: 1_200)
    mtu.start(target: 8_972)
    _ = search(&mtu, limit: 8_972)
    check(mtu.onTooBig(4_000))
    check(mtu.current == 4_000)
    check(!mtu.onTooBig(5_000))
    check(mtu.onTooBig(0), "without a size: back to the base")
    check(mtu.current == 1_200)
    check(!mtu.onTooBig(100), "never below the base")
    check(mtu.current == 1_200)
  }
}
