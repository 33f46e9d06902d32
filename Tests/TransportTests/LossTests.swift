import SimulationSupport
import Testing
import Transport

/// What loss costs, in virtual time: each figure is a function of the code alone.
@Suite struct LossTests {
  private func experiment(_ change: (inout TrafficExperiment) -> Void) -> TrafficExperiment {
    var experiment = TrafficExperiment()
    change(&experiment)
    return experiment
  }

  private func goodput(_ rate: Int, _ roundTrip: UInt64, _ datagram: Int, loss: Double) -> Double {
    experiment {
      $0.linkRate = rate
      $0.roundTrip = roundTrip
      $0.datagram = datagram
      $0.loss = loss
    }.goodput(messages: 24).goodput
  }

  /// One datagram in a hundred lost at random, both ways.
  @Test(arguments: [
    (10_000_000_000, microseconds(20), 1_472), (25_000_000_000, microseconds(200), 8_972),
    (1_000_000_000, microseconds(200), 1_472), (1_000_000_000, milliseconds(10), 1_472),
  ])
  func randomLossCostsLittle(rate: Int, roundTrip: UInt64, datagram: Int) {
    let lossless = goodput(rate, roundTrip, datagram, loss: 0)
    let lossy = goodput(rate, roundTrip, datagram, loss: 0.01)
    #expect(lossless > 0)
    #expect(lossy >= 0.7 * lossless, "\(lossy / lossless) of \(lossless / 1e6) MB/s")
  }

  @Test(arguments: [64, 4_096])
  func aLostMessageIsMissedSoon(size: Int) {
    let lossless = experiment { $0.roundTrip = microseconds(10) }.pingPong(count: 1_000, size: size)
    let lossy = experiment {
      $0.roundTrip = microseconds(10)
      $0.loss = 0.01
    }.pingPong(count: 4_000, size: size)
    #expect(lossy.drops > 50)
    #expect(lossy.quantile(0.99) < microseconds(120))
    #expect(lossy.quantile(1) < 20 * lossless.quantile(0.999))
  }

  /// A peer that is not scheduled for a while is probed, more and more rarely, and nothing is concluded from it.
  @Test func aBusyPeerIsNotTakenForCongestion() {
    let programs = [TrafficProgram(window: 8, largest: 1 << 20), TrafficProgram(largest: 1 << 20)]
    let setup = experiment { _ in }
    let network = setup.network(programs)
    for _ in 0..<8 { programs[0].add(TrafficMessage(target: 1, size: 1 << 20)) }
    _ = setup.run(network, programs)
    for _ in 0..<24 { programs[0].add(TrafficMessage(target: 1, size: 1 << 20)) }
    let start = network.now
    let sent = network.hosts[0].statistics.packetsSent
    network.schedule(at: start + milliseconds(1)) {
      network.hosts[1].pausedUntil = start + milliseconds(9)
      network.hosts[1].schedule(at: network.now, network)
    }
    let end = setup.run(network, programs)
    let probes = network.hosts[0].statistics.probeTimeouts
    #expect((1...12).contains(probes))
    // As long as 24 MiB take, and the pause.
    #expect(end.map { $0 - start < milliseconds(24 * 9 / 10 + 8 + 5) } == true)
    let packets = network.hosts[0].statistics.packetsSent - sent
    #expect(packets < 24 * 1_048_576 / 1_400 * 105 / 100, "little was sent twice")
  }

  @Test(arguments: [32_768, 1 << 20])
  func twoStreamsShareALink(size: Int) {
    let (bytes, utilization, result) = experiment { $0.roundTrip = microseconds(50) }.share(
      streams: 2, size: size, window: max(4, (1 << 20) / size), stagger: milliseconds(2), settling: milliseconds(15),
      measured: milliseconds(20))
    #expect(fairness(bytes) > 0.8, "\(bytes)")
    #expect(utilization > 0.9)
    #expect(result.drops < Int(result.packetsSent) / 30)
  }

  /// 64 senders at once, a switch with room for 256 KiB.
  @Test(arguments: [4_096, 65_536, 1 << 20])
  func incastUsesTheLink(size: Int) {
    let messages = max(1, 65_536 / size)
    let result = experiment { _ in }.incast(messages: messages, size: size)
    #expect(result.goodputRatio > (size == 65_536 ? 0.75 : 0.85), "\(result.goodputRatio)")
    #expect(Double(result.quantile(1)) < 1.35 * Double(result.idealQuantile(1)))
  }

  @Test func processorSharingSharesEvenly() {
    let ideal = ProcessorSharing(bytesPerSecond: 1e9)
    let finishes = ideal.finishes([[(0, 100), (0, 100)], [(0, 100)], [(50, 10)]])
    // Two share until 50, three until the small one is through at 80, two until the second is at 140.
    #expect(finishes[2] == [80])
    #expect(finishes[0][0] == finishes[1][0])
    #expect(abs(finishes[0][0] - 210) < 0.001)
    #expect(abs(finishes[0][1] - 310) < 0.001)
  }
}
