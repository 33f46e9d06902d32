import Containers
import Transport

/// Hosts, the network between them and the clock they share: a function of a seed.
///
/// Not thread-safe; one run belongs to one thread.
package final class SimulatedNetwork {
  package var clock: VirtualClock
  package var random: SeededGenerator
  package var conditions: NetworkConditions
  package private(set) var hosts: [SimulatedHost] = []
  package private(set) var statistics = NetworkStatistics()
  /// Called with a line for everything that happens, when set.
  package var trace: ((String) -> Void)?
  /// Sees every datagram that leaves a host; false makes the network lose it.
  package var filter: ((_ source: Int, _ destination: Int, _ datagram: UnsafeRawBufferPointer) -> Bool)?
  /// The first thing that went wrong. Set by checkers; it ends `run`.
  package private(set) var failure: String?
  package private(set) var steps = 0

  private struct Datagram {
    var source: Int
    var destination: Int
    var bytes: UnsafeMutableRawPointer
    var count: Int
  }

  private struct Path {
    var limit = 0
    var isCut = false
    var lostLast = false
    var lastSent: Instant = 0
    var lastArrival: Instant = 0
  }

  private var datagrams: [Datagram] = []
  private var freeDatagrams: [Int] = []
  private var memory = BufferPool()
  private var paths: [Path] = []
  private var portFree: [Instant] = []
  /// When all that a host has sent will have left over its own link.
  private var linkFree: [Instant] = []
  private var disturbances: [() -> Void] = []

  package init(seed: UInt64, conditions: NetworkConditions, start: Instant = milliseconds(1)) {
    random = SeededGenerator(seed: seed)
    clock = VirtualClock(start: start)
    self.conditions = conditions
  }

  deinit {
    for host in hosts { host.dropQueue(self) }
    while let occasion = clock.advance() {
      switch occasion {
      case .arrival(let index), .port(let index): release(index)
      case .wake, .disturbance: break
      }
    }
  }

  package var now: Instant { clock.now }

  /// Addresses are made from a host's index.
  package static func address(_ host: Int) -> PeerAddress { PeerAddress(words: (UInt64(host) + 1, 0, 0)) }
  package static func host(_ address: PeerAddress) -> Int { Int(truncatingIfNeeded: address.words.0) - 1 }

  /// Adds a host; its index is the number of hosts before it.
  @discardableResult
  package func attach(_ configuration: TransportConfiguration, program: any HostProgram) -> SimulatedHost {
    let host = SimulatedHost(index: hosts.count, configuration: configuration, program: program)
    let count = hosts.count + 1
    let old = paths
    paths = [Path](repeating: Path(), count: count * count)
    for source in 0..<hosts.count {
      for destination in 0..<hosts.count {
        paths[source * count + destination] = old[source * hosts.count + destination]
      }
    }
    hosts.append(host)
    portFree.append(0)
    linkFree.append(0)
    return host
  }

  /// Calls `action` at a time.
  package func schedule(at time: Instant, _ action: @escaping () -> Void) {
    disturbances.append(action)
    clock.schedule(.disturbance(disturbances.count - 1), at: max(time, now))
  }

  package func fail(_ text: @autoclosure () -> String) {
    guard failure == nil else { return }
    failure = text()
    note("FAILURE: \(failure!)")
  }

  package func note(_ text: @autoclosure () -> String) {
    if let trace { trace("\(time) \(text())") }
  }

  private var time: String {
    let micros = String(now / 1_000)
    let nanos = String(now % 1_000)
    return micros + "." + String(repeating: "0", count: 3 - nanos.count) + nanos
  }

  // MARK: Paths

  /// Cuts or heals the path between two hosts, in both directions.
  package func cut(_ isCut: Bool, between left: Int, and right: Int) {
    paths[left * hosts.count + right].isCut = isCut
    paths[right * hosts.count + left].isCut = isCut
  }

  /// Sets the largest UDP payload that fits between two hosts; 0 means the conditions' limit.
  package func limit(_ bytes: Int, between left: Int, and right: Int) {
    paths[left * hosts.count + right].limit = bytes
    paths[right * hosts.count + left].limit = bytes
  }

  private func datagramLimit(_ path: Int) -> Int {
    paths[path].limit > 0 ? paths[path].limit : conditions.datagramLimit
  }

  // MARK: Running

  /// Runs until nothing is scheduled any more, a failure, or `condition` holds. Running past a limit is a failure.
  package func run(
    until deadline: Instant = never, maximumSteps: Int = 10_000_000, while condition: () -> Bool = { true }
  ) {
    while failure == nil && condition() {
      guard clock.next <= deadline, let occasion = clock.advance() else { break }
      steps += 1
      guard steps <= maximumSteps else { return fail("more than \(maximumSteps) steps: a livelock?") }
      switch occasion {
      case .wake(let host): hosts[host].wake(self)
      case .arrival(let index): arrive(index)
      case .port(let index): reachPort(index)
      case .disturbance(let index): disturbances[index]()
      }
    }
  }

  /// Runs for a span of time.
  package func run(for span: UInt64) {
    let end = now + span
    schedule(at: end) {}
    run(until: end)
  }

  /// Whether any datagram is under way or in a socket.
  package var isEmpty: Bool { datagrams.count == freeDatagrams.count }

  // MARK: Datagrams

  /// When the socket of a host takes datagrams again; not later than now when it does.
  package func whenWritable(_ host: Int) -> Instant {
    guard conditions.hostBandwidth > 0 else { return 0 }
    let time = UInt64(conditions.sendBuffer) * 1_000_000_000 / UInt64(conditions.hostBandwidth)
    return linkFree[host] > time ? linkFree[host] - time : 0
  }

  /// A datagram leaves a host. The network copies it.
  package func send(from source: Int, to address: PeerAddress, _ gather: (UnsafeMutableRawPointer) -> Void, count: Int)
  {
    let destination = Self.host(address)
    guard hosts.indices.contains(destination) else { return fail("host \(source) sends to nobody: \(address)") }
    statistics.sent += 1
    let index = allocate(source, destination, count)
    gather(datagrams[index].bytes)
    if conditions.hostBandwidth > 0 {
      linkFree[source] =
        max(linkFree[source], now) + UInt64(count) * 1_000_000_000 / UInt64(conditions.hostBandwidth)
    }
    forge(index)
    let passes =
      filter?(source, destination, UnsafeRawBufferPointer(start: datagrams[index].bytes, count: count)) ?? true
    let fate = passes ? transfer(index) : "FILTERED"
    if trace != nil { note("\(source) -> \(destination) \(fate): \(text(index))") }
    release(index)
  }

  private func text(_ index: Int) -> String {
    describe(UnsafeRawBufferPointer(start: datagrams[index].bytes, count: datagrams[index].count))
  }

  /// Lets copies of a datagram arrive, or none. Returns what happened in a word.
  private func transfer(_ index: Int) -> String {
    let datagram = datagrams[index]
    let path = datagram.source * hosts.count + datagram.destination
    let limit = datagramLimit(path)
    if datagram.count > limit {
      statistics.tooBig += 1
      if conditions.reportsTooBig { reportTooBig(datagram, limit) }
      return "TOO BIG"
    }
    if paths[path].isCut {
      statistics.partitioned += 1
      return "CUT OFF"
    }
    if loses(path) {
      statistics.lost += 1
      return "LOST"
    }
    if random.chance(conditions.corruption) { return corrupt(datagram) }
    var copies = 1
    while copies < 4 && random.chance(conditions.duplication) { copies += 1 }
    statistics.duplicated += copies - 1
    var dropped = 0
    for _ in 0..<copies where !deliver(index, path) { dropped += 1 }
    return dropped == copies ? "QUEUE FULL" : copies > 1 ? "sent \(copies) times" : "sent"
  }

  /// Losses come in bursts: what is sent soon after a lost datagram is more likely to be lost.
  private func loses(_ path: Int) -> Bool {
    let isBurst = paths[path].lostLast && now - paths[path].lastSent < milliseconds(5)
    paths[path].lastSent = now
    paths[path].lostLast = random.chance(isBurst ? max(conditions.lossBurst, conditions.loss) : conditions.loss)
    return paths[path].lostLast
  }

  private func deliver(_ index: Int, _ path: Int) -> Bool {
    let datagram = datagrams[index]
    var time = max(now, linkFree[datagram.source]) + conditions.delay
    if conditions.jitter > 0 { time += UInt64(random.below(Int(conditions.jitter) + 1)) }
    if random.chance(conditions.reordering) {
      time += UInt64(random.below(Int(conditions.reorderingDelay) + 1))
    } else if conditions.keepsOrder {
      time = max(time, paths[path].lastArrival)
      paths[path].lastArrival = time
    }
    // What waits for its host's own link comes to the port only later, in its turn.
    let isLate = conditions.portBandwidth > 0 && conditions.hostBandwidth > 0
    if conditions.portBandwidth > 0 && !isLate {
      guard let departure = pass(datagram, arriving: time) else { return false }
      time = departure
    }
    let copy = allocate(datagram.source, datagram.destination, datagram.count)
    datagrams[copy].bytes.copyMemory(from: datagram.bytes, byteCount: datagram.count)
    clock.schedule(isLate ? .port(datagram: copy) : .arrival(datagram: copy), at: time)
    return true
  }

  /// When a datagram that comes to its destination's port at a time has left it; nil when the queue is full.
  private func pass(_ datagram: Datagram, arriving time: Instant) -> Instant? {
    let destination = datagram.destination
    let start = max(time, portFree[destination])
    let waiting = Int(start - time) * conditions.portBandwidth / 1_000_000_000
    guard waiting + datagram.count <= conditions.portQueue else {
      statistics.queueDrops += 1
      return nil
    }
    portFree[destination] = start + UInt64(datagram.count * 1_000_000_000 / conditions.portBandwidth)
    return portFree[destination]
  }

  private func reachPort(_ index: Int) {
    guard let departure = pass(datagrams[index], arriving: now) else {
      note("\(datagrams[index].source) -> \(datagrams[index].destination) QUEUE FULL: \(text(index))")
      return release(index)
    }
    clock.schedule(.arrival(datagram: index), at: departure)
  }

  private func arrive(_ index: Int) {
    let datagram = datagrams[index]
    let host = hosts[datagram.destination]
    if host.isDown {
      statistics.unreachable += 1
      if conditions.reportsUnreachable && datagram.source >= 0 { reportUnreachable(datagram) }
      note("\(datagram.destination) is down, lost: \(text(index))")
      release(index)
    } else if host.queuedBytes + datagram.count > conditions.socketBuffer {
      statistics.socketDrops += 1
      note("\(datagram.destination) socket full, lost: \(text(index))")
      release(index)
    } else {
      host.enqueue(index, bytes: datagram.count, network: self)
    }
  }

  /// The bytes of a datagram that arrived, and who sent it. The host releases it when it is done.
  package func datagram(_ index: Int) -> (source: PeerAddress, bytes: UnsafeRawBufferPointer) {
    statistics.delivered += 1
    let datagram = datagrams[index]
    return (Self.address(datagram.source), UnsafeRawBufferPointer(start: datagram.bytes, count: datagram.count))
  }

  package func byteCount(_ index: Int) -> Int { datagrams[index].count }

  private func allocate(_ source: Int, _ destination: Int, _ count: Int) -> Int {
    let datagram = Datagram(source: source, destination: destination, bytes: memory.allocate(count), count: count)
    if let index = freeDatagrams.popLast() {
      datagrams[index] = datagram
      return index
    }
    datagrams.append(datagram)
    return datagrams.count - 1
  }

  package func release(_ index: Int) {
    memory.deallocate(datagrams[index].bytes, count: datagrams[index].count)
    freeDatagrams.append(index)
  }

  /// Lets a datagram arrive that no host sent.
  package func inject(_ bytes: [UInt8], from source: Int, to destination: Int) {
    let index = allocate(source, destination, bytes.count)
    bytes.withUnsafeBytes { datagrams[index].bytes.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
    note("injected \(source) -> \(destination): \(text(index))")
    clock.schedule(.arrival(datagram: index), at: now)
  }

  // MARK: Reports

  private func reportTooBig(_ datagram: Datagram, _ limit: Int) {
    let maximum = conditions.reportsLimit ? limit : 0
    schedule(at: now + conditions.delay) { [unowned self] in
      let host = hosts[datagram.source]
      guard !host.isDown else { return }
      note("\(datagram.source) learns that \(datagram.count) bytes are too big, limit \(maximum)")
      host.endpoint.datagramTooBig(Self.address(datagram.destination), maximumDatagram: maximum, now: now)
      host.schedule(at: now, self)
    }
  }

  private func reportUnreachable(_ datagram: Datagram) {
    schedule(at: now + conditions.delay) { [unowned self] in
      let host = hosts[datagram.source]
      guard !host.isDown else { return }
      note("\(datagram.source) learns that nobody listens at \(datagram.destination)")
      host.endpoint.peerUnreachable(Self.address(datagram.destination), now: now)
      host.schedule(at: now, self)
    }
  }

  // MARK: Corruption and forgery

  /// Flips a burst of up to 15 bits, which the checksum always detects, and drops the datagram as a kernel does.
  private func corrupt(_ datagram: Datagram) -> String {
    guard datagram.count > 0 else { return "LOST" }
    let bytes = UnsafeMutableRawBufferPointer(start: datagram.bytes, count: datagram.count)
    let before = internetChecksum(UnsafeRawBufferPointer(bytes))
    let first = random.below(datagram.count * 8)
    let flips = (random.next() & 0x7FFF) | 1
    for bit in 0..<15 where flips >> UInt64(bit) & 1 != 0 && first + bit < datagram.count * 8 {
      bytes[(first + bit) / 8] ^= 1 << UInt8((first + bit) % 8)
    }
    if internetChecksum(UnsafeRawBufferPointer(bytes)) == before { fail("a corrupted datagram passed the checksum") }
    statistics.corrupted += 1
    return "CORRUPTED"
  }

  /// Somebody who saw a datagram, but cannot know what he did not see, sends something from anywhere to anybody.
  ///
  /// Session ids are what protects a connection, so forged datagrams carry others, or are garbage altogether.
  private func forge(_ original: Int) {
    guard random.chance(conditions.forgery) else { return }
    statistics.forged += 1
    let source = random.below(hosts.count)
    let destination = random.below(hosts.count)
    let seen = datagrams[original]
    let isCopy = random.chance(0.7) && seen.count >= 16
    let count = isCopy ? (random.chance(0.5) ? seen.count : random.below(seen.count + 1)) : random.below(1_500)
    let index = allocate(source, destination, count)
    let bytes = UnsafeMutableRawBufferPointer(start: datagrams[index].bytes, count: count)
    if isCopy {
      bytes.copyMemory(from: UnsafeRawBufferPointer(start: seen.bytes, count: count))
      for _ in 0..<random.below(8) where count > 0 { bytes[random.below(count)] ^= 1 << UInt8(random.below(8)) }
      for position in 8..<16 where position < count {
        bytes[position] = seen.bytes.load(fromByteOffset: position, as: UInt8.self) ^ UInt8(random.within(1...255))
      }
    } else {
      for position in bytes.indices { bytes[position] = UInt8(truncatingIfNeeded: random.next()) }
      if count > 0 && random.chance(0.8) { bytes[0] = UInt8(random.within(1...6)) << 4 | 1 }
    }
    note("forged \(source) -> \(destination): \(text(index))")
    clock.schedule(.arrival(datagram: index), at: now + conditions.delay)
  }
}
