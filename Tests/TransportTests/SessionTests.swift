import Packet
import SimulationSupport
import Testing
import Transport

/// How sessions end: restarts, resets, silence, unreachable hosts, CLOSE.
@Suite struct SessionTests {
  @Test func aRestartedPeerIsNoticedAtTheNextPacket() {
    let bench = Bench()
    bench.establish()
    bench.host(1).stop(bench.network)
    bench.host(1).restart(bench.network, seed: 77)
    let lost = bench.post(size: 10)
    bench.network.run(for: milliseconds(100))
    #expect(bench.status(lost) == .reset)
    #expect(bench.recorders[0].failures.map(\.status) == [.reset])
    let next = bench.post(size: 11, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(next) == .ok)
    #expect(bench.recorders[1].messages.map(\.length) == [1, 11])
    #expect(bench.isQuiet)
  }

  @Test func aRestartedInitiatorReplacesItsOldSession() {
    let bench = Bench()
    bench.establish()
    let pending = bench.post(.read, from: 1, to: 0, size: 100)
    bench.host(0).stop(bench.network)
    bench.host(0).restart(bench.network, seed: 78)
    bench.post(from: 0, to: 1, size: 12, flags: .deliveryComplete)
    bench.network.run(until: milliseconds(60_000), maximumSteps: 10_000)
    #expect(bench.status(pending, at: 1) == .reset)
    #expect(bench.recorders[1].messages.map(\.length) == [1, 12])
    #expect(bench.isQuiet)
  }

  @Test func forgedResetsAreIgnored() {
    let bench = Bench()
    bench.establish()
    var forged: [[UInt8]] = []
    bench.network.filter = { source, _, datagram in
      if source == 0 && datagram.first == firstByte(.data) {
        var reset = Array(datagram[0..<16])
        reset[0] = firstByte(.reset)
        for position in 4..<16 {
          var wrong = reset
          wrong[position] ^= 4
          forged.append(wrong)
        }
      }
      return true
    }
    bench.post(size: 30)
    bench.network.run(for: milliseconds(1))
    #expect(forged.count >= 12)
    for packet in forged { bench.network.inject(packet, from: 1, to: 0) }
    let id = bench.post(size: 31, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[0].failures.isEmpty)
    #expect(bench.host(0).statistics.unknown >= 12)
  }

  /// A peer of a session that is kept alive is missed although nothing is under way; without, nobody asks.
  @Test(arguments: [false, true]) func aDeadPeerOfAnIdleSession(isKeptAlive: Bool) throws {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 2_000 }
    bench.establish()
    if isKeptAlive { bench.keepAlive() }
    bench.network.run(for: milliseconds(20_000))
    #expect(bench.recorders[0].failures.isEmpty && bench.recorders[1].failures.isEmpty)
    let start = bench.network.now
    bench.host(1).stop(bench.network)
    bench.network.run(for: milliseconds(20_000))
    guard isKeptAlive else { return #expect(bench.recorders[0].failures.isEmpty) }
    let failure = try #require(bench.recorders[0].failures.first)
    #expect(failure.status == .timedOut)
    #expect(failure.time - start <= milliseconds(6_000))
  }

  /// One of two sessions ends, in good order; the other goes on.
  @Test func oneSessionIsClosed() {
    let bench = Bench(hosts: 3)
    bench.establish()
    bench.post(from: 0, to: 2, size: 1, flags: .deliveryComplete)
    bench.network.run(for: milliseconds(100))
    let last = bench.post(size: 5)
    bench.close(0, to: 1)
    bench.network.run(for: milliseconds(1_000))
    #expect(bench.status(last) == .ok)
    #expect(bench.recorders[1].failures.map(\.status) == [.closed])
    #expect(bench.recorders[0].failures.map(\.status) == [.reset])
    #expect(bench.recorders[2].failures.isEmpty)
    let other = bench.post(from: 0, to: 2, size: 2, flags: .deliveryComplete)
    bench.network.run(for: milliseconds(1_000))
    #expect(bench.status(other) == .ok)
  }

  /// Everything under way ends at this side, and nothing begins any more.
  @Test func abandonedSessionsEndTheirOperations() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].holds = true
    let large = bench.post(size: 500_000)
    bench.network.run(for: milliseconds(5))
    bench.host(0).endpoint.abandon(now: bench.network.now)
    bench.host(0).schedule(at: bench.network.now, bench.network)
    bench.network.run(for: milliseconds(5_000))
    #expect(bench.status(large) == .closed)
    #expect(bench.recorders[0].failures.map(\.status) == [.closed])
    let refused = bench.post(from: 1, to: 0, size: 1)
    bench.network.run(for: milliseconds(1_000))
    #expect(bench.status(refused, at: 1) != .ok)
    #expect(bench.recorders[0].messages.isEmpty)
  }

  /// An address that nobody has: the operation ends after this side's patience, neither much sooner nor much later.
  @Test func nobodyAnswers() throws {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 5_000 }
    bench.host(1).stop(bench.network)
    let start = bench.network.now
    let id = bench.post(size: 10)
    bench.network.run(maximumSteps: 10_000)
    let completion = try #require(bench.recorders[0].completions.first)
    #expect(bench.status(id) == .timedOut)
    #expect(completion.time - start >= milliseconds(5_000))
    #expect(completion.time - start <= milliseconds(9_000))
    #expect(bench.isQuiet)
  }

  /// A peer that died with operations of every kind under way.
  @Test func aDeadPeerEndsEverything() throws {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 2_000 }
    bench.establish()
    bench.recorders[1].holds = true
    bench.post(size: 500_000)
    bench.network.run(for: milliseconds(5))
    bench.recorders[1].holds = false
    let start = bench.network.now
    bench.host(1).stop(bench.network)
    let ids = [
      bench.post(size: 10), bench.post(size: 100_000), bench.post(.write, size: 10), bench.post(.read, size: 10),
      bench.post(size: 10, flags: [.deliveryComplete, .inject]),
    ]
    bench.network.run(maximumSteps: 10_000)
    for id in ids { #expect(bench.status(id) == .timedOut) }
    #expect(bench.recorders[0].completions.count == 1 + 1 + ids.count)
    #expect(bench.recorders[0].failures.map(\.status) == [.timedOut])
    #expect(try #require(bench.recorders[0].failures.first).time - start < milliseconds(8_000))
    #expect(bench.isQuiet)
  }

  /// The other direction: transfers that this side has accepted end as well when their sender dies.
  @Test(arguments: [30_000, 500_000])
  func aDeadSenderEndsWhatWasAccepted(size: Int) {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 2_000 }
    bench.establish()
    var packets = 0
    bench.network.filter = { source, _, datagram in
      if source == 0 && datagram.count > 900 { packets += 1 }
      return source != 0 || packets < 3
    }
    bench.post(size: size)
    bench.network.run(for: milliseconds(5))
    bench.host(0).stop(bench.network)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[1].lostMessages == [.timedOut])
    #expect(bench.recorders[1].failures.map(\.status) == [.timedOut])
    #expect(bench.isQuiet)
  }

  /// A program that computes for long is not taken for dead, nor does it blame its peers afterwards.
  @Test func whoSleepsIsNotDead() {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 30_000 }
    bench.establish()
    bench.host(1).pausedUntil = bench.network.now + milliseconds(25_000)
    let there = bench.post(size: 10, flags: .deliveryComplete)
    let back = bench.post(.read, from: 1, to: 0, size: 10)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(there) == .ok)
    #expect(bench.status(back, at: 1) == .ok)
    bench.host(0).pausedUntil = bench.network.now + milliseconds(200_000)
    let late = bench.post(size: 10, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(late) == .ok)
    #expect(bench.recorders.allSatisfy { $0.failures.isEmpty })
  }

  @Test func aClosedPortIsNoticedEarly() throws {
    var conditions = NetworkConditions()
    conditions.reportsUnreachable = true
    let bench = Bench(conditions: conditions)
    bench.establish()
    bench.host(1).stop(bench.network)
    let start = bench.network.now
    let id = bench.post(size: 10)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(id) == .refused)
    let failure = try #require(bench.recorders[0].failures.first)
    #expect(failure.time - start >= milliseconds(100))
    #expect(failure.time - start < milliseconds(3_000))
  }

  /// Whoever drives the endpoint may ask the network about peers that are silent, during the handshake and later.
  @Test(arguments: [false, true]) func silentPeersAreNamed(isEstablished: Bool) {
    let bench = Bench()
    if isEstablished { bench.establish() }
    while bench.host(0).endpoint.takeSilentPeer() != nil {}
    bench.host(1).stop(bench.network)
    bench.post(size: 10)
    bench.network.run(for: milliseconds(500))
    var silences = 0
    while let peer = bench.host(0).endpoint.takeSilentPeer() {
      #expect(peer == SimulatedNetwork.address(1))
      silences += 1
    }
    #expect((3...8).contains(silences))
  }

  @Test func aConnectionAtRestHasNoTimers() {
    let bench = Bench()
    bench.establish()
    #expect(bench.isQuiet)
    let before = bench.network.statistics.sent
    bench.network.run(for: milliseconds(3_600_000))
    #expect(bench.network.statistics.sent == before)
    let id = bench.post(size: 10)
    bench.network.run(maximumSteps: 1_000)
    #expect(bench.status(id) == .ok)
  }

  @Test func closeTellsThePeersAfterTheLastOperation() {
    let bench = Bench(hosts: 3)
    bench.establish(0, 1)
    bench.establish(2, 0)
    let id = bench.post(size: 300_000)
    bench.host(0).endpoint.close(now: bench.network.now)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[1].messages.last?.bytes == Bench.pattern(300_000))
    #expect(bench.recorders[1].failures.map(\.status) == [.closed])
    #expect(bench.recorders[2].failures.map(\.status) == [.closed])
    #expect(bench.host(0).isDrained)
  }

  /// A message was sent again, its first copy alone arrives, late, and its target closes at once, whose first packets may
  /// be lost: the other copies are never acknowledged, but the message has been taken.
  @Test(arguments: 0...3) func whatWasTakenIsNotLostWithItsTarget(losses: Int) throws {
    let bench = Bench()
    bench.establish()
    var first: [UInt8]?
    var answersToLose = losses
    bench.network.filter = { source, _, datagram in
      guard source == 0 else {
        answersToLose -= 1
        return answersToLose < 0
      }
      // Probes of the path's MTU are larger. Acknowledgements arrive once the message has.
      if first == nil && datagram.count < 200 { first = Array(datagram) }
      return bench.recorders[1].messages.count > 1 && datagram.count < 100
    }
    let id = bench.post(size: 100)
    bench.network.run(for: milliseconds(50))
    #expect(bench.host(0).statistics.probeTimeouts > 0)
    bench.recorders[1].onMessage = { _ in bench.close(1, to: 0) }
    bench.network.inject(try #require(first), from: 0, to: 1)
    bench.network.run(for: milliseconds(3_000))
    #expect(bench.recorders[1].messages.map(\.length) == [1, 100])
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[0].failures.map(\.status) == [.closed])
  }

  /// The same on networks that lose, double and delay: each message that was taken ends well, whatever its kind.
  @Test func whoClosesAtOnceHasToldWhatWasTaken() {
    var conditions = NetworkConditions()
    conditions.loss = 0.3
    conditions.duplication = 0.1
    conditions.reordering = 0.5
    conditions.reorderingDelay = milliseconds(20)
    let sizes = [8, 3_000, 8]
    for seed in UInt64(1)...60 {
      let bench = Bench(seed: seed, conditions: conditions)
      bench.establish()
      var hasClosed = false
      bench.recorders[1].onStep = {
        guard !hasClosed, bench.recorders[1].messages.count == 1 + sizes.count else { return }
        hasClosed = true
        bench.close(1, to: 0)
      }
      let ids = sizes.map { bench.post(size: $0, flags: $0 == 3_000 ? .deliveryComplete : []) }
      bench.network.run(for: milliseconds(20_000))
      #expect(ids.allSatisfy { bench.status($0) == .ok }, "seed \(seed)")
      #expect(bench.recorders[0].failures.map(\.status) == [.closed], "seed \(seed)")
      bench.recorders[1].onStep = nil
    }
  }

  /// Nobody has asked for a message whose sender waits for that: it is not taken, but what came before is.
  @Test func whatIsHeldWasNotTaken() throws {
    let bench = Bench()
    bench.establish()
    let before = bench.post(size: 10)
    bench.network.run(for: milliseconds(10))
    bench.recorders[1].holds = true
    let held = bench.post(size: 10, flags: .deliveryComplete)
    let unwanted = bench.post(size: 10, flags: .matchComplete)
    bench.network.run(for: milliseconds(10))
    bench.close(1, to: 0)
    bench.network.run(for: milliseconds(3_000))
    #expect(bench.status(before) == .ok && bench.status(held) == .ok)
    #expect(bench.status(unwanted) == .closed)
  }

  /// Its answer is lost: who closes gives up in time.
  @Test func closeEndsWithoutAnAnswer() {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 2_000 }
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    bench.host(0).endpoint.close(now: bench.network.now)
    bench.host(0).schedule(at: bench.network.now, bench.network)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[1].failures.map(\.status) == [.closed])
    #expect(bench.host(0).isDrained)
    #expect(bench.host(0).isQuiet)
  }

  @Test func heldMessagesOutliveTheirSender() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].holds = true
    bench.post(size: 2_000)
    bench.network.run(maximumSteps: 10_000)
    bench.host(0).endpoint.close(now: bench.network.now)
    bench.host(0).schedule(at: bench.network.now, bench.network)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[1].failures.map(\.status) == [.closed])
    #expect(bench.recorders[1].lostHeld == 0)
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.recorders[1].messages.last?.bytes == Bench.pattern(2_000))
    #expect(bench.isQuiet)
  }

  @Test func aHeldAnnouncementIsLostWithItsSender() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].holds = true
    bench.post(size: 2_000_000)
    bench.network.run(for: milliseconds(50))
    #expect(bench.recorders[1].held.count == 1)
    bench.host(0).stop(bench.network)
    bench.host(0).restart(bench.network, seed: 5)
    bench.post(from: 0, to: 1, size: 1)
    bench.network.run(for: milliseconds(100))
    #expect(bench.recorders[1].lostHeld == 1)
  }
}
