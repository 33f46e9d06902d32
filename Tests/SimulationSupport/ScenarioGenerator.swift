import Packet
import Transport

/// Makes a scenario out of a seed.
///
/// Each feature is switched on or off for the whole run, so that some runs stress one thing alone and others mix
/// (swarm testing).
package struct ScenarioGenerator {
  private var random: SeededGenerator
  private var scenario: Scenario
  private var isHeavy = false

  package static func scenario(seed: UInt64) -> Scenario {
    var generator = ScenarioGenerator(seed: seed)
    return generator.generate()
  }

  private init(seed: UInt64) {
    random = SeededGenerator(seed: seed)
    scenario = Scenario(seed: seed)
  }

  private mutating func generate() -> Scenario {
    isHeavy = random.chance(0.02)
    let hosts = random.chance(0.6) ? 2 : random.within(2...6)
    makeConditions()
    let base = random.chance(0.8) ? 1_200 : random.one(of: [576, 1_000, 1_232])
    for _ in 0..<hosts {
      scenario.configurations.append(makeConfiguration(base))
      scenario.habits.append(makeHabits())
    }
    makeOperations()
    makeDisturbances()
    scenario.closes = random.chance(0.2)
    if random.chance(0.3) { makeContexts() }
    makeAtomics()
    shareMemory()
    return scenario
  }

  // MARK: Network

  private mutating func makeConditions() {
    var conditions = NetworkConditions()
    conditions.delay = UInt64(random.logarithmic(500...2_000_000))
    if random.chance(0.5) { conditions.jitter = UInt64(random.logarithmic(100...500_000)) }
    conditions.keepsOrder = random.chance(0.8)
    if random.chance(0.45) { conditions.loss = probability(0.2) }
    if conditions.loss > 0 && random.chance(0.2) { conditions.lossBurst = random.one(of: [0.3, 0.5, 0.8]) }
    if random.chance(0.25) { conditions.duplication = probability(0.2) }
    if random.chance(0.3) {
      conditions.reordering = probability(0.3)
      conditions.reorderingDelay = UInt64(random.logarithmic(1_000...5_000_000))
    }
    if random.chance(0.15) { conditions.corruption = probability(0.05) }
    if random.chance(0.15) { conditions.forgery = probability(0.2) }
    if random.chance(0.2) {
      conditions.portBandwidth = random.logarithmic(10_000_000...10_000_000_000)
      conditions.portQueue = random.logarithmic(70_000...1_000_000)
    }
    if random.chance(0.2) { conditions.socketBuffer = random.logarithmic(70_000...1_000_000) }
    conditions.datagramLimit = random.one(of: [1_472, 1_472, 8_972, 65_507, 65_507])
    conditions.reportsTooBig = random.chance(0.3)
    conditions.reportsLimit = random.chance(0.7)
    conditions.reportsUnreachable = random.chance(0.5)
    scenario.conditions = conditions
  }

  private mutating func probability(_ limit: Double) -> Double {
    Double(random.logarithmic(1...1_000)) / 1_000 * limit
  }

  // MARK: Hosts

  private mutating func makeConfiguration(_ base: Int) -> TransportConfiguration {
    var configuration = TransportConfiguration()
    configuration.seed = random.next()
    configuration.baseDatagram = base
    configuration.transmitQueueSize = random.chance(0.3) ? random.within(1...8) : random.logarithmic(8...256)
    configuration.inboundTransfers = random.chance(0.2) ? random.within(2...16) : random.logarithmic(16...1_024)
    configuration.packetsInFlight = random.chance(0.2) ? random.within(32...64) : random.logarithmic(64...4_096)
    configuration.interfaceDatagram = random.one(of: [1_472, 8_972, 65_507, 65_507])
    configuration.maximumDatagram = random.chance(0.8) ? 65_507 : random.one(of: [1_472, 4_000, 9_000])
    configuration.maximumSegments = random.chance(0.5) ? 64 : random.one(of: [1, 1, 2, 8, 16])
    configuration.receiveBuffer = scenario.conditions.socketBuffer
    configuration.eagerLimit = random.chance(0.5) ? 65_536 : random.logarithmic(256...65_536)
    configuration.creditWindow = random.chance(0.5) ? 1 << 20 : random.logarithmic(65_536...1 << 20)
    configuration.operationWindow = random.chance(0.6) ? 16_384 : random.logarithmic(64...512)
    configuration.maximumReads = random.chance(0.6) ? 256 : random.within(1...16)
    if random.chance(0.3) { configuration.acknowledgeDelay = UInt64(random.logarithmic(1_000...1_000_000)) }
    return configuration
  }

  private mutating func makeHabits() -> HostHabits {
    var habits = HostHabits()
    habits.reaction = UInt64(random.logarithmic(200...20_000))
    habits.pollGap = UInt64(random.logarithmic(200...10_000))
    if random.chance(0.15) { habits.cadence = UInt64(random.logarithmic(10_000...20_000_000)) }
    if random.chance(0.3) { habits.receiveBatch = random.within(1...16) }
    if random.chance(0.2) {
      habits.blocking = probability(0.5)
      if random.chance(0.5) { habits.dropping = 0.3 }
    }
    return habits
  }

  // MARK: Operations

  private mutating func makeOperations() {
    let hosts = scenario.configurations.count
    let count = isHeavy ? random.within(100...600) : random.logarithmic(4...160)
    var budget = isHeavy ? 16 << 20 : 1 << 20
    let kinds = random.one(of: [[1, 0, 0], [0, 1, 0], [0, 0, 1], [3, 1, 1], [8, 1, 1], [3, 1, 1]])
    let isIncast = random.chance(0.1)
    let allowsSelf = random.chance(0.15)
    let holds = random.chance(0.4) ? random.one(of: [0.05, 0.3, 1.0]) : 0
    let refuses = random.chance(0.3) ? 0.1 : 0
    let deliveries = random.one(of: [0, 0, 0.2, 1])
    var times = [UInt64](repeating: 0, count: hosts)
    for _ in 0..<count {
      let target = isIncast ? 0 : random.below(hosts)
      var source = random.below(hosts)
      if source == target && !allowsSelf { source = (source + 1) % hosts }
      let size = min(makeSize(source, target), max(budget, 64))
      budget -= size
      var plan = OperationPlan(kind: pick(kinds), source: source, target: target, size: size)
      times[source] += makeGap()
      plan.time = times[source]
      makeFlags(&plan, deliveries)
      if isBuffered(scenario.operations.count) && plan.kind == .message && !plan.flags.waitsForTarget {
        plan.flags.insert(.buffered)
      }
      if isFenced(scenario.operations.count) { plan.flags.insert(.fence) }
      if plan.kind == .write && mix(scenario.seed &+ UInt64(scenario.operations.count)) & 7 == 0 {
        plan.flags.insert(.persistent)
      }
      makeMemory(&plan)
      if plan.kind == .message && random.chance(holds) {
        plan.holdFor = UInt64(random.logarithmic(100...3_000_000))
        plan.isDiscarded = random.chance(0.1)
      }
      if plan.kind != .message && random.chance(refuses) {
        plan.refusal = random.chance(0.5) ? .accessDenied : .outOfBounds
      }
      scenario.operations.append(plan)
    }
  }

  /// Some messages are for other receive contexts than the first, and some for one that their target does not have.
  private mutating func makeContexts() {
    let lacks = random.chance(0.4) ? 0.1 : 0
    for index in scenario.operations.indices where scenario.operations[index].kind == .message {
      if random.chance(lacks) {
        scenario.operations[index].context = 0x0BAD
        scenario.operations[index].refusal = .aborted
        scenario.operations[index].holdFor = nil
        scenario.operations[index].isDiscarded = false
      } else {
        scenario.operations[index].context = random.one(of: [0, 1, 2, 255, 0xFFFE])
      }
    }
  }

  /// In a quarter of all runs atomic operations take the place of some others, or of all. Drawn apart from the rest, which
  /// registered seeds depend on.
  private mutating func makeAtomics() {
    var random = SeededGenerator(seed: mix(scenario.seed ^ 0x6174_6F6D))
    guard random.chance(0.25) else { return }
    let share = random.one(of: [0.1, 0.5, 1.0])
    for index in scenario.operations.indices where random.chance(share) {
      let replaced = scenario.operations[index]
      let count = random.chance(0.6) ? random.within(1...64) : random.within(65...AtomicCode.maximumSize)
      let operands = random.within(0...2)
      var plan = OperationPlan(
        kind: .atomic, source: replaced.source, target: replaced.target, size: operands * count)
      plan.time = replaced.time
      plan.gap = replaced.gap
      plan.localParts = Self.parts(plan.size, maximum: maximumSlices, &random)
      plan.remoteParts = Self.parts(count, maximum: RemoteSegment.maximumCount, &random)
      if operands != 1 || random.chance(0.5) {
        plan.flags.insert(.fetch)
        plan.resultParts = Self.parts(count, maximum: maximumSlices, &random)
      }
      if random.chance(0.3) { plan.flags.insert(.remoteData) }
      if replaced.kind != .message { plan.refusal = replaced.refusal }
      scenario.operations[index] = plan
    }
  }

  /// Whether a message need not be acknowledged to be over: none, most or all of a run's. Drawn apart from the rest, which
  /// registered seeds depend on.
  private func isBuffered(_ index: Int) -> Bool {
    let habit = mix(scenario.seed ^ 0x6275_6666)
    return habit & 3 == 1 ? mix(habit &+ UInt64(index)) & 7 != 0 : habit & 3 > 1
  }

  /// Whether an operation waits for those before it: none, a few or half of a run's.
  private func isFenced(_ index: Int) -> Bool {
    let habit = mix(scenario.seed ^ 0x6665_6E63)
    return habit & 7 < 2 && mix(habit &+ UInt64(index)) & (habit & 7 == 0 ? 15 : 1) == 0
  }

  /// Has writes and reads meet in the same memory, where none of them goes wrong.
  private mutating func shareMemory() {
    var habit = SeededGenerator(seed: scenario.seed ^ 0x7368_6172)
    guard habit.chance(0.2), scenario.unstablePairs.isEmpty,
      scenario.operations.allSatisfy({ $0.abortAfter == nil && ($0.kind == .message || $0.refusal == nil) })
    else { return }
    let size = habit.logarithmic(64...100_000)
    scenario.sharedMemory = size
    for index in scenario.operations.indices where scenario.operations[index].kind != .message {
      scenario.operations[index].gap = habit.chance(0.5) ? 0 : min(habit.within(1...40), size / 8)
      let room = size - (RemoteSegment.maximumCount - 1) * scenario.operations[index].gap
      let wanted = scenario.operations[index].remoteParts.reduce(0, +)
      let count = min(wanted, room)
      // An atomic operation brings nothing, or for each byte one or two.
      let size = wanted == 0 ? 0 : scenario.operations[index].size / wanted * count
      scenario.operations[index].size = size
      scenario.operations[index].localParts = [size]
      if scenario.operations[index].flags.contains(.fetch) { scenario.operations[index].resultParts = [count] }
      let cut = habit.below(count + 1)
      scenario.operations[index].remoteParts = habit.chance(0.7) ? [count] : [cut, count - cut]
      scenario.operations[index].place = habit.below(room - count + 1)
    }
  }

  private mutating func pick(_ weights: [Int]) -> OperationKind {
    var choice = random.below(weights.reduce(0, +))
    for (index, weight) in weights.enumerated() {
      if choice < weight { return [.message, .write, .read][index] }
      choice -= weight
    }
    return .message
  }

  /// Small ones mostly, and those around every limit that matters.
  private mutating func makeSize(_ source: Int, _ target: Int) -> Int {
    let configuration = scenario.configurations[source]
    switch random.below(100) {
    case 0..<8: return 0
    case 8..<48: return random.within(1...64)
    case 48..<68: return random.within(65...2_000)
    case 68..<78:
      let datagram = random.one(of: [
        configuration.baseDatagram, configuration.interfaceDatagram, scenario.conditions.datagramLimit,
      ])
      return max(0, datagram - random.within(-8...150))
    case 78..<86: return max(0, configuration.eagerLimit + random.within(-2...2))
    case 86..<96: return random.logarithmic(2_000...65_536)
    default: return random.logarithmic(65_536...(isHeavy ? 4 << 20 : 1 << 20))
    }
  }

  private mutating func makeGap() -> UInt64 {
    switch random.below(1_000) {
    case 0..<700: return 0
    case 700..<900: return UInt64(random.logarithmic(1...100_000))
    case 900..<990: return UInt64(random.logarithmic(1...5_000_000))
    case 990..<999: return UInt64(random.logarithmic(1_000_000...2_000_000_000))
    default: return UInt64(random.logarithmic(1_000_000_000...100_000_000_000))
    }
  }

  private mutating func makeFlags(_ plan: inout OperationPlan, _ deliveries: Double) {
    if plan.kind == .message && random.chance(0.5) { plan.flags.insert(.tagged) }
    if plan.kind != .read {
      if random.chance(0.3) { plan.flags.insert(.remoteData) }
      if random.chance(deliveries) {
        plan.flags.insert(plan.kind == .message && random.chance(0.3) ? .matchComplete : .deliveryComplete)
      }
      if plan.size <= min(4_096, scenario.configurations[plan.source].eagerLimit) && random.chance(0.3) {
        plan.flags.insert(.inject)
      }
    }
  }

  private mutating func makeMemory(_ plan: inout OperationPlan) {
    plan.localParts = Self.parts(plan.size, maximum: maximumSlices, &random)
    plan.gap = random.chance(0.3) ? 0 : random.within(1...40)
    guard plan.kind == .message else {
      plan.remoteParts = Self.parts(plan.size, maximum: RemoteSegment.maximumCount, &random)
      return
    }
    var capacity = plan.size
    if random.chance(0.1) { capacity = random.below(plan.size + 1) }
    if random.chance(0.2) { capacity += random.within(1...100) }
    plan.remoteParts = Self.parts(capacity, maximum: maximumSlices, &random)
  }

  /// Splits a size, mostly not at all; parts of nothing are possible.
  private static func parts(_ size: Int, maximum: Int, _ random: inout SeededGenerator) -> [Int] {
    guard random.chance(0.3) else { return [size] }
    let count = random.within(1...maximum)
    var cuts = (1..<count).map { _ in random.below(size + 1) }.sorted()
    cuts.append(size)
    var previous = 0
    return cuts.map { cut in
      defer { previous = cut }
      return cut - previous
    }
  }

  // MARK: Disturbances

  private mutating func makeDisturbances() {
    let hosts = scenario.configurations.count
    let span = Int(min(scenario.operations.map(\.time).max()! + 3_000_000, 10_000_000_000))
    if random.chance(0.15) {
      for _ in 0..<random.within(1...3) {
        let (left, right) = (random.below(hosts), random.below(hosts))
        let bytes =
          random.chance(0.3) ? scenario.configurations[0].baseDatagram : random.one(of: [1_300, 1_472, 4_000, 9_000])
        scenario.disturbances.append(.pathLimit(left, right, bytes: bytes, at: UInt64(random.below(span))))
      }
    }
    if random.chance(0.1) {
      let duration = UInt64(random.logarithmic(1_000...500_000_000))
      scenario.disturbances.append(
        .pause(host: random.below(hosts), at: UInt64(random.below(span)), duration: duration))
    }
    if random.chance(0.1) {
      // Shorter than any give-up time: nothing may fail.
      scenario.disturbances.append(
        .partition(
          hosts: [random.below(hosts)], at: UInt64(random.below(span)),
          duration: UInt64(random.logarithmic(100_000...1_000_000_000))))
    }
    if random.chance(0.08) { makeFatalPartition(span) }
    if random.chance(0.1) { makeRestarts(span) }
    if random.chance(0.06) { makeAborts() }
  }

  private mutating func makeFatalPartition(_ span: Int) {
    shortenSilence()
    let hosts = scenario.configurations.count
    let alone = random.below(hosts)
    let duration = random.chance(0.3) ? 100_000 : random.within(500...20_000)
    scenario.disturbances.append(
      .partition(hosts: [alone], at: UInt64(random.below(span)), duration: milliseconds(UInt64(duration))))
    identifyAll()
  }

  private mutating func makeRestarts(_ span: Int) {
    shortenSilence()
    let hosts = scenario.configurations.count
    for _ in 0..<random.within(1...3) {
      let host = random.below(hosts)
      scenario.disturbances.append(
        .restart(
          host: host, at: UInt64(random.below(span)), downFor: UInt64(random.logarithmic(1_000...5_000_000_000))))
    }
    identifyAll()
  }

  private mutating func makeAborts() {
    for index in scenario.operations.indices where scenario.operations[index].refusal == nil && random.chance(0.1) {
      scenario.operations[index].abortAfter = UInt64(random.logarithmic(100...1_000_000))
    }
  }

  /// Where connections fail, peers should not have to wait half a minute each time. With so little patience heavy
  /// loss alone may end a connection.
  private mutating func shortenSilence() {
    for index in scenario.configurations.indices {
      scenario.configurations[index].maximumSilence = UInt32(random.logarithmic(500...4_000))
      for peer in scenario.configurations.indices { scenario.destabilize(index, peer) }
    }
  }

  /// Where messages may be missing, each must say which one it is.
  private mutating func identifyAll() {
    for index in scenario.operations.indices where scenario.operations[index].kind == .message {
      if !scenario.operations[index].flags.contains(.tagged) { scenario.operations[index].flags.insert(.remoteData) }
    }
  }
}
