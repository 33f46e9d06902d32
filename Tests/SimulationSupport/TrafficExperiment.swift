import Transport

/// Messages over a network whose hosts and ports have links of one rate, in virtual time: what a seed gives is exact.
package struct TrafficExperiment {
  /// Bits a second of every link.
  package var linkRate = 10_000_000_000
  /// Nanoseconds there and back, without what links and hosts take.
  package var roundTrip: UInt64 = microseconds(20)
  package var loss = 0.0
  /// By how much the way of a datagram may be longer, in nanoseconds.
  package var jitter = microseconds(2)
  /// Bytes that wait at the port of a switch before it drops.
  package var portQueue = 256 * 1024
  package var datagram = 1_472
  /// Bytes that a host's socket holds.
  package var receiveBuffer = 4 << 20
  package var seed: UInt64 = 1

  package init() {}

  /// A network with `hosts` hosts, nothing posted.
  package func network(_ programs: [TrafficProgram]) -> SimulatedNetwork {
    var conditions = NetworkConditions()
    conditions.delay = roundTrip / 2
    conditions.loss = loss
    // Without it a full queue always has room for one host's datagrams and never for another's (phase effects).
    conditions.jitter = jitter
    conditions.hostBandwidth = linkRate / 8
    conditions.sendBuffer = receiveBuffer
    conditions.portBandwidth = linkRate / 8
    conditions.portQueue = portQueue
    conditions.socketBuffer = receiveBuffer
    conditions.datagramLimit = datagram
    let network = SimulatedNetwork(seed: seed, conditions: conditions)
    for (index, program) in programs.enumerated() {
      var configuration = TransportConfiguration()
      configuration.seed = seed &* 1_000 &+ UInt64(index)
      configuration.interfaceDatagram = datagram
      configuration.receiveBuffer = receiveBuffer
      // A window's worth, since there may be many hosts.
      configuration.packetsInFlight = 4_096
      configuration.inboundTransfers = 512
      network.attach(configuration, program: program).habits.reaction = 200
    }
    return network
  }

  /// Runs until all programs are done. Returns when they were, nil if they were not within a minute.
  package func run(_ network: SimulatedNetwork, _ programs: [TrafficProgram]) -> Instant? {
    for host in network.hosts { host.schedule(at: network.now, network) }
    network.run(until: network.now + 60_000_000_000, maximumSteps: .max) { !programs.allSatisfy(\.isDone) }
    return programs.allSatisfy(\.isDone) ? network.now : nil
  }

  /// Bytes a second of a stream of messages from one host to another.
  package func goodput(messages: Int, size: Int = 1 << 20, window: Int = 8) -> TrafficResult {
    let programs = [TrafficProgram(window: window, largest: size), TrafficProgram(largest: size)]
    let network = network(programs)
    programs[0].add(TrafficMessage(target: 1, size: 1))
    _ = run(network, programs)
    let start = network.now
    for _ in 0..<messages { programs[0].add(TrafficMessage(target: 1, size: size)) }
    let end = run(network, programs)
    return TrafficResult(network, programs[0].messages.dropFirst(), from: start, to: end)
  }

  /// Round trips of a message and its answer, one after the other.
  package func pingPong(count: Int, size: Int = 64, gap: UInt64 = 0) -> TrafficResult {
    let programs = [
      TrafficProgram(largest: size, awaitsEcho: true), TrafficProgram(largest: size, echoes: true),
    ]
    let network = network(programs)
    for _ in 0..<100 { programs[0].add(TrafficMessage(target: 1, size: size)) }
    _ = run(network, programs)
    let start = network.now
    for index in 0..<count {
      programs[0].add(TrafficMessage(target: 1, size: size, notBefore: start + UInt64(index) * gap))
    }
    let end = run(network, programs)
    return TrafficResult(network, programs[0].messages.dropFirst(100), from: start, to: end)
  }

  /// `senders` hosts send `messages` messages each to one receiver, `window` at a time. All begin within `spread`.
  package func incast(
    senders: Int = 64, messages: Int, size: Int, window: Int = 1, spread: UInt64 = microseconds(20)
  ) -> IncastResult {
    var programs = [TrafficProgram(largest: size)]
    for _ in 0..<senders { programs.append(TrafficProgram(window: window, largest: size)) }
    let network = network(programs)
    for sender in 1...senders { programs[sender].add(TrafficMessage(target: 0, size: 1)) }
    _ = run(network, programs)
    network.run(for: milliseconds(5))
    let before = TrafficResult(network, [], from: 0, to: 0)
    let start = network.now
    var random = SeededGenerator(seed: seed)
    for sender in 1...senders {
      let first = start + UInt64(random.below(Int(spread)))
      for _ in 0..<messages { programs[sender].add(TrafficMessage(target: 0, size: size, notBefore: first)) }
    }
    let end = run(network, programs)
    let sent = programs.dropFirst().map { $0.messages.dropFirst() }
    let ideal = ProcessorSharing(bytesPerSecond: Double(linkRate) / 8)
    let finished = ideal.finishes(sent.map { $0.map { (Double($0.notBefore), Double($0.size)) } })
    var result = IncastResult(TrafficResult(network, ArraySlice(sent.joined()), from: start, to: end))
    result.actual.subtract(before)
    result.idealDuration = (finished.joined().max() ?? 0) - Double(start) + Double(roundTrip)
    for (messages, times) in zip(sent, finished) {
      for (message, time) in zip(messages, times) {
        result.idealTimes.append(UInt64(time) + roundTrip - message.notBefore)
        result.times.append(message.completed == never ? never : message.completed - message.notBefore)
      }
    }
    result.times.sort()
    result.idealTimes.sort()
    return result
  }
}

extension TrafficExperiment {
  /// Streams of several hosts to one, each begun `stagger` after the one before. Returns how many bytes each got through
  /// in the last `measured` nanoseconds, and what happened on the way.
  package func share(
    streams: Int, size: Int, window: Int, stagger: UInt64, settling: UInt64, measured: UInt64
  ) -> (bytes: [Int], utilization: Double, result: TrafficResult) {
    var programs = [TrafficProgram(largest: size)]
    for _ in 0..<streams { programs.append(TrafficProgram(window: window, largest: size)) }
    let network = network(programs)
    let total = UInt64(linkRate / 8) * (settling + measured + stagger * UInt64(streams)) / 1_000_000_000
    for stream in 1...streams {
      let start = network.now + UInt64(stream - 1) * stagger
      for _ in 0..<(Int(total) / size + window) {
        programs[stream].add(TrafficMessage(target: 0, size: size, notBefore: start))
      }
      network.hosts[stream].schedule(at: network.now, network)
    }
    network.run(until: network.now + stagger * UInt64(streams) + settling, maximumSteps: .max)
    let start = network.now
    let before = TrafficResult(network, [], from: 0, to: 0)
    network.run(until: start + measured, maximumSteps: .max)
    var result = TrafficResult(network, [], from: start, to: network.now)
    result.subtract(before)
    let bytes = programs.dropFirst().map { program in
      program.messages.reduce(0) { $0 + ($1.completed != never && $1.completed > start ? $1.size : 0) }
    }
    let capacity = Double(linkRate) / 8 * Double(measured) / 1e9
    return (bytes, Double(bytes.reduce(0, +)) / capacity, result)
  }
}

/// Jain's index of fairness: 1 when all got the same, 1 / n when one got all.
package func fairness(_ shares: [Int]) -> Double {
  let sum = shares.reduce(0.0) { $0 + Double($1) }
  let squares = shares.reduce(0.0) { $0 + Double($1) * Double($1) }
  return squares == 0 ? 0 : sum * sum / (Double(shares.count) * squares)
}

/// What an experiment came to.
package struct TrafficResult {
  /// Payload bytes a second; 0 when it did not end.
  package var goodput = 0.0
  package var bytes = 0
  package var duration: UInt64 = 0
  /// From `post` to completion, ascending.
  package var times: [UInt64] = []
  /// Datagrams that the network lost or dropped.
  package var drops = 0
  package var packetsSent: UInt64 = 0
  package var packetsLost: UInt64 = 0
  package var retransmittedFrames: UInt64 = 0
  package var spuriousLosses: UInt64 = 0
  package var probeTimeouts: UInt64 = 0

  init(_ network: SimulatedNetwork, _ messages: ArraySlice<TrafficMessage>, from start: Instant, to end: Instant?) {
    bytes = messages.reduce(0) { $0 + $1.size }
    times = messages.map { $0.completed == never ? never : $0.completed - $0.posted }.sorted()
    if let end, end > start {
      duration = end - start
      goodput = Double(bytes) * 1e9 / Double(duration)
    }
    drops = network.statistics.lost + network.statistics.queueDrops + network.statistics.socketDrops
    for host in network.hosts {
      packetsSent += host.statistics.packetsSent
      packetsLost += host.statistics.packetsLost
      retransmittedFrames += host.statistics.retransmittedFrames
      spuriousLosses += host.statistics.spuriousLosses
      probeTimeouts += host.statistics.probeTimeouts
    }
  }

  mutating func subtract(_ other: TrafficResult) {
    drops -= other.drops
    packetsSent -= other.packetsSent
    packetsLost -= other.packetsLost
    retransmittedFrames -= other.retransmittedFrames
    spuriousLosses -= other.spuriousLosses
    probeTimeouts -= other.probeTimeouts
  }

  /// The time that a share of all messages did not exceed.
  package func quantile(_ share: Double) -> UInt64 { SimulationSupport.quantile(times, share) }
}

/// What an incast came to, beside what an ideal receiver would have made of it.
package struct IncastResult {
  package var actual: TrafficResult
  /// Nanoseconds that the link takes for all bytes.
  package var idealDuration = 0.0
  /// From when a message might be posted to its completion, ascending; and the same for the ideal receiver.
  package var times: [UInt64] = []
  package var idealTimes: [UInt64] = []

  init(_ actual: TrafficResult) { self.actual = actual }

  /// Share of what the link carries.
  package var goodputRatio: Double { actual.duration == 0 ? 0 : idealDuration / Double(actual.duration) }
  package func quantile(_ share: Double) -> UInt64 { SimulationSupport.quantile(times, share) }
  package func idealQuantile(_ share: Double) -> UInt64 { SimulationSupport.quantile(idealTimes, share) }
}

/// The element of a sorted list that a share of all does not exceed; 0 of none.
func quantile(_ sorted: [UInt64], _ share: Double) -> UInt64 {
  guard !sorted.isEmpty else { return 0 }
  return sorted[min(Int(share * Double(sorted.count)), sorted.count - 1)]
}
