import Packet
import SimulationSupport
import Testing
import Transport

@Suite struct HandshakeTests {
  private func kinds(_ bench: Bench, _ body: () -> Void) -> [String] {
    var seen: [String] = []
    bench.network.filter = { source, _, datagram in
      seen.append("\(source) \(PacketKind(rawValue: datagram.first! >> 4)!)")
      return true
    }
    body()
    bench.network.filter = nil
    return seen
  }

  @Test func takesOneRoundTripBeforeData() {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    let seen = kinds(bench) {
      bench.post(size: 100, tag: 0)
      bench.network.run(maximumSteps: 10_000)
    }
    #expect(seen.prefix(4) == ["0 initial", "1 challenge", "0 confirm", "1 data"])
    #expect(bench.recorders[1].messages == [Recorder.Message(length: 100, bytes: Bench.pattern(100))])
    #expect(bench.recorders[0].completions.map(\.status) == [.ok])
    #expect(bench.isQuiet)
  }

  /// Nothing may wait for a timer, whatever the first operation is: more than the credit presumed before ACCEPT, too.
  @Test(arguments: [OperationKind.message, .write, .read], [0, 10, 9_000, 9_600, 10_000, 16_000, 60_000])
  func theFirstOperationTakesAFewRoundTrips(kind: OperationKind, size: Int) throws {
    let bench = Bench()
    let start = bench.network.now
    let id = bench.post(kind, size: size)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(id) == .ok)
    // A round trip takes 22 microseconds here.
    #expect(try #require(bench.recorders[0].completions.first).time - start < microseconds(250))
  }

  private func set(_ digests: [UInt64]) -> AuthorizationSet {
    var set = AuthorizationSet()
    for digest in digests { set.append(digest) }
    return set
  }

  /// Who shares no key is refused at once, whoever begins; who shares one is let in.
  @Test(
    arguments: [
      ([1], [1], true), ([1], [2], false), ([], [2], false), ([1], [], false), ([], [], true), ([1, 2], [2, 1], true),
      ([2, 1], [2], true), ([1, 2], [2], false),
    ] as [([UInt64], [UInt64], Bool)])
  func keysDecide(left: [UInt64], right: [UInt64], areLetIn: Bool) {
    let bench = Bench { configuration, host in configuration.authorizations = set(host == 0 ? left : right) }
    let id = bench.post(size: 500, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(id) == (areLetIn ? .ok : .accessDenied))
    #expect(bench.recorders[1].messages.count == (areLetIn ? 1 : 0))
    #expect(bench.network.now < milliseconds(100))
    #expect(bench.isQuiet)
  }

  /// The key that was chosen for a peer is named to it, not the first one, also in later sessions.
  @Test func aPeerMayHaveAKeyOfItsOwn() {
    let bench = Bench { configuration, host in configuration.authorizations = set(host == 0 ? [1, 2] : [2]) }
    bench.host(0).endpoint.authorize(bench.host(0).endpoint.connection(to: SimulatedNetwork.address(1)), 2)
    let id = bench.post(size: 500, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 10_000)
    #expect(bench.status(id) == .ok)
    let back = bench.host(1).endpoint.connection(to: SimulatedNetwork.address(0))
    check(bench.host(1).endpoint.authorization(of: back) == 2)
    #expect(bench.isQuiet)
  }

  @Test func digestsTellKeysApart() {
    let keys = ["", "a", "b", "job 17", "job 18", "12345678", "123456789", String(repeating: "x", count: 64)]
    let digests = keys.map { key in Array(key.utf8).withUnsafeBytes { KeyDigest.make($0) } }
    #expect(Set(digests).count == keys.count && !digests.contains(0))
    #expect(Array("job 17".utf8).withUnsafeBytes { KeyDigest.make($0) } == digests[3])
  }

  @Test func askingForAConnectionSendsNothing() {
    let bench = Bench()
    let index = bench.host(0).endpoint.connection(to: SimulatedNetwork.address(1))
    check(bench.host(0).endpoint.connection(to: SimulatedNetwork.address(1)) == index)
    check(bench.host(0).endpoint.address(of: index) == SimulatedNetwork.address(1))
    #expect(bench.host(0).isQuiet)
    check(!bench.host(0).endpoint.wantsTransmit)
  }

  @Test func anInitialCostsTheResponderNothing() {
    let bench = Bench()
    var initial = [UInt8](repeating: 0, count: InitialPacket.size)
    initial[0] = firstByte(.initial)
    for index in 0..<10_000 {
      initial[8] = UInt8(truncatingIfNeeded: index)
      initial[9] = UInt8(truncatingIfNeeded: index >> 8)
      bench.network.inject(initial, from: 0, to: 1)
    }
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.host(1).isQuiet)
    #expect(bench.recorders[1].events.isEmpty)
    #expect(bench.host(1).statistics.handshakes == 0)
  }

  /// Each of the first packets in either direction is lost, alone and together with the next.
  @Test(arguments: 0..<8, 1...3)
  func survivesLosses(first: Int, count: Int) {
    let bench = Bench()
    var number = 0
    bench.network.filter = { _, _, _ in
      number += 1
      return !(first..<(first + count)).contains(number - 1)
    }
    let id = bench.post(size: 5_000, flags: .deliveryComplete)
    let back = bench.post(from: 1, to: 0, size: 10, flags: .deliveryComplete)
    bench.network.run(until: milliseconds(20_000), maximumSteps: 10_000)
    #expect(bench.status(id) == .ok)
    #expect(bench.status(back, at: 1) == .ok)
    #expect(bench.recorders[1].messages.map(\.bytes) == [Bench.pattern(5_000)])
    #expect(bench.recorders[0].messages.map(\.bytes) == [Bench.pattern(10)])
    #expect(bench.isQuiet)
  }

  /// Every packet comes twice, the second time much later.
  @Test func survivesLateDuplicates() {
    let bench = Bench()
    bench.network.filter = { source, destination, datagram in
      let copy = Array(datagram)
      for delay in [1, 40, 700, 9_000] as [UInt64] {
        bench.network.schedule(at: bench.network.now + milliseconds(delay)) {
          bench.network.inject(copy, from: source, to: destination)
        }
      }
      return true
    }
    for _ in 0..<5 { bench.post(size: 50, flags: .deliveryComplete) }
    bench.network.run(for: milliseconds(100))
    bench.post(size: 51, flags: .deliveryComplete)
    bench.network.run(until: milliseconds(60_000), maximumSteps: 100_000)
    #expect(bench.recorders[1].messages.map(\.length) == [50, 50, 50, 50, 50, 51])
    #expect(bench.recorders[0].completions.allSatisfy { $0.status == .ok })
    #expect(bench.recorders[0].failures.isEmpty && bench.recorders[1].failures.isEmpty)
    #expect(bench.isQuiet)
  }

  @Test(arguments: 1...60)
  func bothMayBeginAtOnce(seed: UInt64) {
    var conditions = NetworkConditions()
    conditions.jitter = microseconds(40)
    conditions.keepsOrder = false
    conditions.loss = seed % 3 == 0 ? 0.2 : 0
    let bench = Bench(seed: seed, conditions: conditions)
    for index in 0..<6 {
      bench.post(from: 0, to: 1, size: 700 * index, flags: .deliveryComplete)
      bench.post(from: 1, to: 0, size: 900 * index, flags: .deliveryComplete)
    }
    bench.network.run(until: milliseconds(100_000), maximumSteps: 100_000)
    #expect(bench.recorders[0].bytesBySize == (0..<6).map { Bench.pattern(900 * $0) })
    #expect(bench.recorders[1].bytesBySize == (0..<6).map { Bench.pattern(700 * $0) })
    for recorder in bench.recorders {
      #expect(recorder.completions.map(\.status) == [TransportStatus](repeating: .ok, count: 6))
      #expect(recorder.failures.isEmpty)
    }
    #expect(bench.isQuiet)
  }

  @Test func anEndpointMayTalkToItself() {
    let bench = Bench(hosts: 1)
    bench.post(from: 0, to: 0, size: 20, flags: .tagged, tag: 9)
    bench.post(from: 0, to: 0, size: 200_000, flags: .deliveryComplete)
    bench.post(.write, from: 0, to: 0, size: 64)
    bench.post(.read, from: 0, to: 0, size: 64)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[0].messages.map(\.length) == [20, 200_000])
    #expect(bench.recorders[0].messages.first?.tag == 9)
    #expect(bench.recorders[0].completions.map(\.status) == [.ok, .ok, .ok, .ok])
    #expect(bench.isQuiet)
  }

  /// A CONFIRM whose cookie was not made by the responder gets nowhere, whatever it says.
  @Test func forgedCookiesAreTurnedDown() {
    let bench = Bench()
    bench.network.filter = { source, destination, datagram in
      guard datagram.first == firstByte(.confirm) else { return true }
      for position in 24..<40 {
        var forged = Array(datagram)
        forged[position] ^= 0x10
        bench.network.inject(forged, from: source, to: destination)
      }
      var stolen = Array(datagram)
      stolen[8] ^= 1
      bench.network.inject(stolen, from: source, to: destination)
      return false
    }
    let id = bench.post(size: 10)
    bench.network.run(for: milliseconds(500))
    #expect(bench.recorders[1].events.isEmpty)
    #expect(bench.host(1).isQuiet)
    bench.network.filter = nil
    bench.network.run(until: milliseconds(60_000), maximumSteps: 10_000)
    #expect(bench.recorders[0].completions.count == 1)
    #expect(bench.status(id) == .ok || bench.status(id) == .reset)
  }

  /// The responder does not poll for so long that the cookie has expired when it does.
  @Test func anExpiredCookieIsReplaced() {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 300_000 }
    var challenges = 0
    bench.network.filter = { _, _, datagram in
      guard datagram.first == firstByte(.challenge) else { return true }
      challenges += 1
      if challenges == 1 { bench.host(1).pausedUntil = bench.network.now + milliseconds(40_000) }
      return true
    }
    let id = bench.post(size: 10, flags: .deliveryComplete)
    bench.network.run(until: milliseconds(200_000), maximumSteps: 10_000)
    #expect(bench.status(id) == .ok)
    #expect(bench.recorders[1].messages.count == 1)
    #expect(bench.recorders[0].failures.isEmpty)
    #expect(challenges == 2)
  }

  @Test func otherVersionsAreToldWhichOneIsSpoken() {
    let bench = Bench(hosts: 1)
    bench.network.attach(TransportConfiguration(), program: Recorder())
    var answer: [UInt8] = []
    bench.network.filter = { source, _, datagram in
      if source == 0 { answer = Array(datagram) }
      return true
    }
    var initial = [UInt8](repeating: 0, count: InitialPacket.size)
    initial[0] = PacketKind.initial.rawValue << 4 | 2
    initial.replaceSubrange(4..<16, with: [7, 0, 0, 0, 0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01])
    bench.network.inject(initial, from: 1, to: 0)
    bench.network.run(maximumSteps: 100)
    #expect(answer == [0x61, 1, 0, 0, 7, 0, 0, 0, 0xEF, 0xCD, 0xAB, 0x89, 0x67, 0x45, 0x23, 0x01])
  }
}
