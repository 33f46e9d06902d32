import Testing
import Transport

@Suite struct RTTEstimatorTests {
  @Test func beginsWithAGuess() {
    let estimator = RTTEstimator()
    #expect(!estimator.hasSample)
    #expect(estimator.smoothed == milliseconds(10))
    #expect(estimator.probeTimeout(maximumAckDelay: 0) == milliseconds(30))
  }

  @Test func takesTheFirstSampleWhole() {
    var estimator = RTTEstimator()
    estimator.update(microseconds(800), ackDelay: microseconds(500))
    #expect(estimator.smoothed == microseconds(800))
    #expect(estimator.variation == microseconds(400))
    #expect(estimator.minimum == microseconds(800))
    #expect(estimator.probeTimeout(maximumAckDelay: microseconds(50)) == microseconds(800 + 1_600 + 50))
  }

  @Test func smoothsAsRFC9002Says() {
    var estimator = RTTEstimator()
    estimator.update(8_000_000, ackDelay: 0)
    estimator.update(16_000_000, ackDelay: 0)
    #expect(estimator.smoothed == (7 * 8_000_000 + 16_000_000) / 8)
    #expect(estimator.variation == (3 * 4_000_000 + 8_000_000) / 4)
    #expect(estimator.latest == 16_000_000)
    #expect(estimator.minimum == 8_000_000)
  }

  @Test func subtractsTheDelayUnlessItUndercutsTheMinimum() {
    var estimator = RTTEstimator()
    estimator.update(1_000_000, ackDelay: 0)
    estimator.update(1_500_000, ackDelay: 400_000)
    #expect(estimator.smoothed == (7 * 1_000_000 + 1_100_000) / 8)
    var other = RTTEstimator()
    other.update(1_000_000, ackDelay: 0)
    other.update(1_500_000, ackDelay: 600_000)
    #expect(other.smoothed == (7 * 1_000_000 + 1_500_000) / 8)
  }

  @Test func timersHaveAGranularity() {
    var estimator = RTTEstimator()
    for _ in 0..<100 { estimator.update(microseconds(10), ackDelay: 0) }
    #expect(estimator.probeTimeout(maximumAckDelay: 0) >= milliseconds(1))
    #expect(estimator.lossDelay >= milliseconds(1))
    for _ in 0..<100 { estimator.update(milliseconds(80), ackDelay: 0) }
    #expect(estimator.lossDelay == estimator.latest * 9 / 8 || estimator.lossDelay == estimator.smoothed * 9 / 8)
  }
}

@Suite struct CongestionControllerTests {
  @Test func slowStartGrowsByWhatIsAcknowledged() {
    var controller = CongestionController(datagramSize: 1_200)
    let start = controller.window
    controller.onAcknowledged(5_000, sentTime: 1, isLimited: true)
    #expect(controller.window == start + 5_000)
  }

  @Test func anUnusedWindowDoesNotGrow() {
    var controller = CongestionController(datagramSize: 1_200)
    let start = controller.window
    controller.onAcknowledged(5_000, sentTime: 1, isLimited: false)
    #expect(controller.window == start)
  }

  @Test func lossesOfOneRoundCountOnce() {
    var controller = CongestionController(datagramSize: 1_200)
    let start = controller.window
    controller.onLoss(sentTime: 100, now: 1_000)
    let reduced = controller.window
    #expect(reduced == start * 7 / 10)
    for sent in 101...1_000 as ClosedRange<UInt64> { controller.onLoss(sentTime: sent, now: 1_001) }
    #expect(controller.window == reduced, "sent before the first loss was noticed")
    controller.onLoss(sentTime: 1_500, now: 2_000)
    #expect(controller.window == reduced * 7 / 10)
  }

  @Test func congestionAvoidanceGrowsByADatagramARound() {
    var controller = CongestionController(datagramSize: 1_000)
    controller.onLoss(sentTime: 1, now: 10)
    let window = controller.window
    var acknowledged = 0
    while acknowledged < window {
      controller.onAcknowledged(1_000, sentTime: 20, isLimited: true)
      acknowledged += 1_000
    }
    #expect(controller.window == window + 1_000)
    controller.onAcknowledged(window, sentTime: 5, isLimited: true)
    #expect(controller.window == window + 1_000, "sent before the loss")
  }

  @Test func spuriousLossIsTakenBack() {
    var controller = CongestionController(datagramSize: 1_200)
    let start = controller.window
    controller.onLoss(sentTime: 100, now: 1_000)
    controller.onSpuriousLoss(sentTime: 100)
    #expect(controller.window == start)
    controller.onSpuriousLoss(sentTime: 100)
    #expect(controller.window == start)
  }

  @Test func theWindowHasAFloor() {
    var controller = CongestionController(datagramSize: 1_200)
    for round in 1...100 as ClosedRange<UInt64> { controller.onLoss(sentTime: round * 10, now: round * 10 + 5) }
    let floor = controller.window
    #expect(floor >= 2 * 1_200)
    controller.onPersistentCongestion()
    #expect(controller.window == floor)
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
    for _ in 0..<5 { check(!mtu.onLost(8_972)) }
    mtu.onAcknowledged(8_972)
    for _ in 0..<5 { check(!mtu.onLost(8_972)) }
    for _ in 0..<50 { check(!mtu.onLost(1_000), "small ones say nothing") }
    check(mtu.onLost(8_972))
    check(mtu.current == 1_200)
    _ = search(&mtu, limit: 1_472)
    check((1_409...1_472).contains(mtu.current))
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
