import CPlatform

/// Decides what becomes of each received datagram under a ``FaultPlan``, and keeps those that are late.
///
/// For tests on a bad network; it copies and allocates for every datagram that something happens to.
struct FaultInjector: ~Copyable {
  /// What becomes of one datagram.
  private struct Fate {
    var isLost: Bool
    var isDoubled: Bool
    /// How many later datagrams go first; 0 for none.
    var overtakers: UInt32
    /// How long it takes, in nanoseconds.
    var delay: UInt64
  }

  /// A datagram that others are to overtake.
  private struct Held {
    var entry: DelayQueue.Entry
    var overtakers: UInt32
  }

  private let plan: FaultPlan
  /// Datagrams that were lost.
  private(set) var lost: UInt64 = 0
  /// More was due than the socket's buffers took.
  var isOverdue = false
  private var late = DelayQueue()
  private var state: UInt64
  private let held: UnsafeMutablePointer<Held>
  private var heldCount = 0

  /// `socket` is the number of the socket in its process.
  init(_ plan: FaultPlan, socket: UInt64) {
    self.plan = plan
    state = plan.seed &+ socket &* 0xd6e8_feb8_6659_fd93
    held = .allocate(capacity: Self.heldLimit)
  }

  deinit {
    for index in 0..<heldCount { held[index].entry.free() }
    held.deallocate()
  }

  /// When something that is kept back is due; `UInt64.max` when nothing is.
  var nextDelivery: UInt64 {
    var next = late.nextDue
    for index in 0..<heldCount { next = min(next, held[index].entry.due) }
    return next
  }

  // MARK: Coming and going

  /// Takes from a received buffer what does not pass now, and moves the rest to its start. Returns the bytes of that.
  mutating func judge(_ buffer: ReceivedDatagrams, now: UInt64) -> Int {
    plan.delay | plan.jitter == 0 ? filter(buffer, now) : postpone(buffer, now)
  }

  /// Gives away a copy that is due.
  mutating func nextLate(now: UInt64) -> DelayQueue.Entry? {
    while let entry = release(now) { depart(entry, now) }
    return late.pop(now: now)
  }

  /// Judges the datagrams of a buffer where what nothing happens to goes its way at once.
  private mutating func filter(_ buffer: ReceivedDatagrams, _ now: UInt64) -> Int {
    var start = 0
    var kept = 0
    while start < buffer.length {
      let end = min(start + buffer.segmentSize, buffer.length)
      let fate = decide()
      let isHeld = fate.overtakers > 0 && hold(buffer, start, end, fate.overtakers, now)
      if fate.isDoubled { push(buffer, start, end, due: now) }
      if !fate.isLost && !isHeld {
        if kept != start { memmove(buffer.base + kept, buffer.base + start, end - start) }
        kept += end - start
      }
      start = end
      overtake(exceptNewest: isHeld)
      while let entry = release(now) {
        // Back into the buffer, behind the last that overtook it, where there is room.
        if entry.length == buffer.segmentSize && kept + entry.length <= start && entry.source == buffer.source {
          memcpy(buffer.base + kept, entry.bytes, entry.length)
          kept += entry.length
          entry.free()
        } else {
          depart(entry, now)
        }
      }
    }
    return kept
  }

  /// Judges the datagrams of a buffer where all are late: neighbours that share their fate are kept together.
  private mutating func postpone(_ buffer: ReceivedDatagrams, _ now: UInt64) -> Int {
    var start = 0
    // Those from here to `start` have not been put anywhere.
    var first = 0
    while start < buffer.length {
      let end = min(start + buffer.segmentSize, buffer.length)
      let fate = decide()
      let isHeld = fate.overtakers > 0 && hold(buffer, start, end, fate.overtakers, now)
      if fate.isLost || isHeld {
        push(buffer, first, start, due: now &+ plan.delay)
        first = end
      } else if fate.isDoubled || plan.jitter > 0 {
        push(buffer, first, end, due: now &+ fate.delay)
        first = end
      }
      if fate.isDoubled { push(buffer, start, end, due: now &+ fate.delay) }
      start = end
      overtake(exceptNewest: isHeld)
      while let entry = release(now) {
        push(buffer, first, start, due: now &+ plan.delay)
        first = start
        depart(entry, now)
      }
    }
    push(buffer, first, start, due: now &+ plan.delay)
    return 0
  }

  /// Puts a copy of a part of a buffer, which may be empty, into the queue.
  private mutating func push(_ buffer: ReceivedDatagrams, _ start: Int, _ end: Int, due: UInt64) {
    guard start < end, let entry = DelayQueue.Entry(copying: buffer, from: start, to: end, due: due) else { return }
    late.push(entry)
  }

  /// Sends off a datagram that was held back.
  private mutating func depart(_ entry: DelayQueue.Entry, _ now: UInt64) {
    var entry = entry
    entry.due = now &+ plan.delay
    late.push(entry)
  }

  // MARK: Reordering

  /// Keeps a datagram back until `overtakers` more have come, or until its time is over; false where it cannot.
  private mutating func hold(
    _ buffer: ReceivedDatagrams, _ start: Int, _ end: Int, _ overtakers: UInt32, _ now: UInt64
  ) -> Bool {
    let due = now &+ Self.longestHold
    guard heldCount < Self.heldLimit, let entry = DelayQueue.Entry(copying: buffer, from: start, to: end, due: due)
    else { return false }
    (held + heldCount).initialize(to: Held(entry: entry, overtakers: overtakers))
    heldCount += 1
    return true
  }

  /// Notes that a datagram goes by those that are held, or that the newest of them does.
  private mutating func overtake(exceptNewest: Bool) {
    for index in 0..<heldCount - (exceptNewest ? 1 : 0) where held[index].overtakers > 0 {
      held[index].overtakers -= 1
    }
  }

  /// Gives away a datagram that has been overtaken by all that should, or whose time is over.
  private mutating func release(_ now: UInt64) -> DelayQueue.Entry? {
    for index in 0..<heldCount where held[index].overtakers == 0 || held[index].entry.due <= now {
      let entry = held[index].entry
      heldCount -= 1
      for later in index..<heldCount { held[later] = held[later + 1] }
      return entry
    }
    return nil
  }

  // MARK: Chance

  /// The fate of the next datagram. Always as many random numbers, so that changing one probability leaves the rest.
  private mutating func decide() -> Fate {
    let isLost = chance(plan.loss)
    if isLost { lost += 1 }
    let isDoubled = chance(plan.duplication)
    let isOvertaken = chance(plan.reordering)
    let overtakers = 1 + UInt32(truncatingIfNeeded: random() >> 61)
    let detour = random().multipliedFullWidth(by: plan.jitter &+ 1).high
    return Fate(
      isLost: isLost, isDoubled: isDoubled && !isLost, overtakers: isOvertaken && !isLost ? overtakers : 0,
      delay: plan.delay &+ detour)
  }

  private mutating func chance(_ partsPerBillion: UInt32) -> Bool {
    random().multipliedFullWidth(by: UInt64(FaultPlan.always)).high < UInt64(partsPerBillion)
  }

  /// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014.
  private mutating func random() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }

  /// 0 for the first socket of this process that has faults, 1 for the second, …
  static func nextSocket() -> UInt64 {
    sockets.lock.withLock {
      defer { sockets.count &+= 1 }
      return sockets.count
    }
  }

  private final class Sockets: @unchecked Sendable {
    let lock = Lock()
    var count: UInt64 = 0
  }

  private static let sockets = Sockets()
  /// One for each datagram that the first of them waits for, and one.
  private static var heldLimit: Int { 9 }
  /// Nanoseconds.
  private static var longestHold: UInt64 { 1_000_000 }
}
