import CPlatform
import Testing

@testable import Datagram

/// A bad network under a clock of its own, on which every datagram is its number.
private final class BadNetwork {
  private var injector: FaultInjector
  private var next: UInt64 = 0
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 * 8, alignment: 8)
  private let source = SocketAddress.loopback(.ipv4, port: 4711)

  init(socket: UInt64 = 0, _ change: (inout FaultPlan) -> Void) {
    var plan = FaultPlan()
    change(&plan)
    injector = FaultInjector(plan, socket: socket)
  }

  deinit { buffer.deallocate() }

  var nextDelivery: UInt64 { injector.nextDelivery }

  /// Sends the next `count` datagrams in one buffer, and returns those that arrive at once.
  func send(_ count: Int, now: UInt64 = 0) -> [UInt64] {
    for index in 0..<count { buffer.storeBytes(of: next + UInt64(index), toByteOffset: index * 8, as: UInt64.self) }
    next += UInt64(count)
    let length = injector.judge(
      ReceivedDatagrams(base: buffer.baseAddress!, length: count * 8, segmentSize: 8, source: source), now: now)
    return Self.numbers(buffer.baseAddress!, length) + arrivals(now)
  }

  /// What arrives by `now` and has not before.
  func arrivals(_ now: UInt64) -> [UInt64] {
    var numbers: [UInt64] = []
    while let entry = injector.nextLate(now: now) {
      numbers += Self.numbers(entry.bytes, entry.length)
      entry.free()
    }
    return numbers
  }

  private static func numbers(_ base: UnsafeRawPointer, _ length: Int) -> [UInt64] {
    stride(from: 0, to: length, by: 8).map { base.load(fromByteOffset: $0, as: UInt64.self) }
  }
}

@Suite struct FaultTests {
  static let microsecond: UInt64 = 1_000
  static let millisecond: UInt64 = 1_000_000
  static let count = 20_000
  /// Datagrams in one buffer: alone, as the portable path has them, and merged by the kernel.
  static let sizes = [1, 7, 64]

  /// All numbers that arrive, `size` sent at a time and a microsecond apart, and then all waited for.
  private func run(_ size: Int, socket: UInt64 = 0, _ change: (inout FaultPlan) -> Void) -> [UInt64] {
    let network = BadNetwork(socket: socket, change)
    var arrived: [UInt64] = []
    var sent = 0
    var now: UInt64 = 0
    while sent < Self.count {
      let part = min(size, Self.count - sent)
      arrived += network.send(part, now: now)
      sent += part
      now += Self.microsecond
    }
    // What is held back sets out only when its time is over.
    while network.nextDelivery != .max { arrived += network.arrivals(network.nextDelivery) }
    return arrived
  }

  /// Whether `found` of `count` is what a probability gives, within five standard deviations.
  private func isLikely(_ found: Int, _ probability: Double) -> Bool {
    let mean = Double(Self.count) * probability
    let variance = mean * (1 - probability)
    let distance = Double(found) - mean
    return distance * distance <= 25 * variance
  }

  private var all: [UInt64] { (0..<UInt64(Self.count)).map { $0 } }

  @Test(arguments: sizes) func aPlanWithoutFaultsChangesNothing(size: Int) {
    let arrived = run(size) { $0.seed = 3 }
    let isAll = arrived == all
    #expect(isAll)
  }

  @Test(arguments: sizes, [0, 20 * millisecond] as [UInt64]) func losesAsManyAsAsked(size: Int, delay: UInt64) {
    let arrived = run(size) {
      $0.loss = 50_000_000
      $0.delay = delay
    }
    #expect(isLikely(Self.count - arrived.count, 0.05))
    let isInOrder = arrived == arrived.sorted() && Set(arrived).count == arrived.count
    #expect(isInOrder)
    #expect(run(size) { $0.loss = FaultPlan.always }.isEmpty)
  }

  @Test(arguments: sizes, [0, 20 * millisecond] as [UInt64]) func doublesAsManyAsAsked(size: Int, delay: UInt64) {
    let arrived = run(size) {
      $0.duplication = 100_000_000
      $0.delay = delay
    }
    #expect(isLikely(arrived.count - Self.count, 0.1))
    let areTwoAtMost = Dictionary(grouping: arrived) { $0 }.values.allSatisfy { $0.count <= 2 }
    #expect(Set(arrived).count == Self.count && areTwoAtMost)
    #expect(run(size) { $0.duplication = FaultPlan.always }.count == 2 * Self.count)
  }

  static let detours: [(delay: UInt64, probability: UInt32)] = [
    (0, 50_000_000), (20 * millisecond, 50_000_000), (0, FaultPlan.always), (20 * millisecond, FaultPlan.always),
  ]

  @Test(arguments: sizes, detours)
  func reordersAndLosesNothing(size: Int, plan: (delay: UInt64, probability: UInt32)) {
    let arrived = run(size) {
      $0.reordering = plan.probability
      $0.delay = plan.delay
    }
    // Not the arrays themselves: a failure would print them.
    let isComplete = arrived.sorted() == all
    #expect(isComplete)
    // What later ones have overtaken: how many are behind a larger number.
    var largest: UInt64 = 0
    var overtaken = 0
    for number in arrived {
      if number < largest { overtaken += 1 }
      largest = max(largest, number)
    }
    // Of those held back next to each other, some keep their order.
    if plan.probability == FaultPlan.always { return #expect(overtaken > Self.count / 4) }
    #expect(overtaken > Self.count / 30 && overtaken < Self.count / 18)
  }

  @Test func isOvertakenByOneToEight() {
    let arrived = run(1) { $0.reordering = 20_000_000 }
    let distances = arrived.enumerated().map { Int($0.offset) - Int($0.element) }
    #expect(distances.max() == 8)
    #expect(Set(distances).isSuperset(of: 1...8))
  }

  @Test func holdsTheLastNoLongerThanAMillisecond() {
    let network = BadNetwork { $0.reordering = FaultPlan.always }
    #expect(network.send(1, now: 500).isEmpty)
    #expect(network.nextDelivery == 500 + Self.millisecond)
    #expect(network.arrivals(499 + Self.millisecond).isEmpty)
    #expect(network.arrivals(500 + Self.millisecond) == [0])
    #expect(network.nextDelivery == .max)
  }

  @Test func delaysExactlyAndInOrder() {
    let network = BadNetwork { $0.delay = 200 * Self.microsecond }
    #expect(network.send(10, now: 0).isEmpty)
    #expect(network.send(5, now: 100_000).isEmpty)
    #expect(network.nextDelivery == 200_000)
    #expect(network.arrivals(199_999).isEmpty)
    #expect(network.arrivals(200_000) == Array(0..<10))
    #expect(network.nextDelivery == 300_000)
    #expect(network.arrivals(1_000_000) == Array(10..<15))
  }

  @Test func jitterStaysWithinItsBounds() {
    let network = BadNetwork {
      $0.delay = 100 * Self.microsecond
      $0.jitter = 50 * Self.microsecond
    }
    for _ in 0..<100 { #expect(network.send(64).isEmpty) }
    #expect(network.arrivals(99_999).isEmpty)
    let early = network.arrivals(125_000)
    let late = network.arrivals(150_000)
    #expect((early + late).sorted() == Array(0..<6400))
    #expect(early != early.sorted())
    #expect(early.count > 2900 && early.count < 3500)
  }

  @Test func aSeedDecidesWhateverElseIsAsked() {
    func lost(_ size: Int, socket: UInt64 = 0, _ change: (inout FaultPlan) -> Void) -> Set<UInt64> {
      Set(all).subtracting(
        run(size, socket: socket) {
          $0.loss = 20_000_000
          change(&$0)
        })
    }
    let plain = lost(1) { $0.seed = 7 }
    for size in Self.sizes {
      let isSame = lost(size) { $0.seed = 7 } == plain
      #expect(isSame)
      let isSameBesides =
        lost(size) {
          $0.seed = 7
          $0.duplication = 10_000_000
          $0.reordering = 50_000_000
          $0.delay = 200 * Self.microsecond
          $0.jitter = 30 * Self.microsecond
        } == plain
      #expect(isSameBesides)
    }
    let isOther = (lost(1) { $0.seed = 8 } != plain, lost(1, socket: 1) { $0.seed = 7 } != plain)
    #expect(isOther == (true, true))
  }

  @Test func theQueueIsOrderedAndStable() {
    var queue = DelayQueue()
    var generator = SystemRandomNumberGenerator()
    let dues = (0..<1000).map { _ in UInt64.random(in: 0..<100, using: &generator) }
    for (index, due) in dues.enumerated() { queue.push(entry(UInt64(index), due: due)) }
    var popped: [Int] = []
    for now in 0..<100 as Range<UInt64> {
      while let entry = queue.pop(now: now) {
        #expect(entry.due == now)
        popped.append(Int(entry.bytes.load(as: UInt64.self)))
        entry.free()
      }
    }
    let expected = dues.indices.sorted { (dues[$0], $0) < (dues[$1], $1) }
    #expect(popped == expected)
  }

  @Test func theQueueIsBounded() {
    var queue = DelayQueue(byteLimit: 10_000)
    for number in 0..<1000 as Range<UInt64> { queue.push(entry(number, due: number)) }
    var count = 0
    while let entry = queue.pop(now: .max - 1) {
      #expect(entry.due == UInt64(count))
      entry.free()
      count += 1
    }
    #expect(count > 50 && count < 1000)
    queue.push(entry(7, due: 7))
    #expect(queue.nextDue == 7)
  }

  private func entry(_ number: UInt64, due: UInt64) -> DelayQueue.Entry {
    withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 1) { memory in
      memory[0] = number
      let buffer = ReceivedDatagrams(
        base: UnsafeMutableRawPointer(memory.baseAddress!), length: 8, segmentSize: 8,
        source: .loopback(.ipv4, port: 1))
      return DelayQueue.Entry(copying: buffer, from: 0, to: 8, due: due)!
    }
  }

  // MARK: Sockets

  /// Sends segments of a hundred bytes from one socket to another that has faults, and collects what arrives.
  private func exchange(
    _ path: Path, rounds: Int, _ change: (inout FaultPlan) -> Void
  ) throws -> (sent: [Payload], received: [Payload], isFromSender: Bool) {
    let a = try Endpoint(path)
    let b = try Endpoint(path) { change(&$0.faults) }
    var sent: [Payload] = []
    var received: [(bytes: Payload, source: SocketAddress)] = []
    for round in 0..<rounds {
      let bytes = pattern(6450, seed: UInt64(round))
      #expect(a.send(bytes, to: b.address, segmentSize: 100).stop == .finished)
      sent += split(bytes, every: 100)
      received += b.collect(65, patience: 1)
    }
    received += b.collect(.max, patience: 1)
    return (sent, received.map(\.bytes), received.allSatisfy { $0.source == a.address })
  }

  @Test(arguments: Path.all) func aSocketLosesSegmentsOfABatch(path: Path) throws {
    let (sent, received, isFromSender) = try exchange(path, rounds: 40) { $0.loss = 100_000_000 }
    #expect(received.count > 2100 && received.count < 2600)
    // In order, every one of them whole.
    var rest = sent[...]
    for bytes in received {
      guard let position = rest.firstIndex(of: bytes) else {
        Issue.record("something arrived that was not sent, or not in order")
        return
      }
      rest = rest[(position + 1)...]
    }
    #expect(isFromSender)
  }

  @Test(arguments: Path.all) func aSocketDelaysAndLosesNothing(path: Path) throws {
    let start = Clock.now()
    let (sent, received, isFromSender) = try exchange(path, rounds: 5) { $0.delay = 3 * Self.millisecond }
    #expect(received == sent)
    #expect(isFromSender)
    #expect(Clock.now() - start >= 15 * Self.millisecond)
  }

  @Test(arguments: Path.all) func aSocketDoesEverythingAtOnce(path: Path) throws {
    let (sent, received, isFromSender) = try exchange(path, rounds: 20) {
      $0.duplication = 100_000_000
      $0.reordering = 200_000_000
      $0.delay = 200 * Self.microsecond
      $0.jitter = 300 * Self.microsecond
    }
    #expect(received.count > sent.count + 50 && received != sent)
    #expect(Set(received.map(\.content)) == Set(sent.map(\.content)))
    #expect(isFromSender)
  }

  /// More is due than the buffers of one call hold, while the kernel has more, too: neither waits for ever.
  @Test(arguments: Path.all) func theKernelAndTheQueueTakeTurns(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path) { $0.faults.duplication = FaultPlan.always }
    for number in 0..<40 as Range<UInt64> {
      #expect(a.send(pattern(50, seed: number), to: b.address).stop == .finished)
    }
    #expect(b.collect(80, patience: 100).count == 80)
    #expect(b.nextDelivery == .max)
  }
}
