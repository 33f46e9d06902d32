import Containers
import CPlatform

/// Copies of datagrams that wait for their time: a binary heap, ordered by when they are due, then by when they came.
///
/// For tests on a bad network; it allocates for every entry.
struct DelayQueue: ~Copyable {
  /// One datagram, or several of one sender as in ``ReceivedDatagrams``.
  struct Entry {
    var due: UInt64
    /// Owned by whoever has the entry; from malloc.
    let bytes: UnsafeMutableRawPointer
    let length: Int
    let segmentSize: Int
    let source: SocketAddress
    fileprivate var number: UInt64 = 0

    /// A copy of the bytes of a buffer from `start` to `end`, which are its borders or lie between datagrams; nil
    /// without memory.
    init?(copying buffer: ReceivedDatagrams, from start: Int, to end: Int, due: UInt64) {
      guard let bytes = malloc(max(end - start, 1)) else { return nil }
      memcpy(bytes, buffer.base + start, end - start)
      self.bytes = bytes
      length = end - start
      segmentSize = min(buffer.segmentSize, length)
      source = buffer.source
      self.due = due
    }

    func free() { CPlatform.free(bytes) }

    @inline(__always)
    fileprivate func precedes(_ other: Entry) -> Bool { due != other.due ? due < other.due : number < other.number }
  }

  private var entries: UnsafeMutablePointer<Entry>
  private var capacity = 64
  private var count = 0
  private var bytes = 0
  private var nextNumber: UInt64 = 0
  private let byteLimit: Int

  /// `byteLimit`: bytes of payload and bookkeeping beyond which entries are refused.
  init(byteLimit: Int = 64 << 20) {
    self.byteLimit = byteLimit
    entries = .allocate(capacity: capacity)
  }

  deinit {
    for index in 0..<count { entries[index].free() }
    entries.deallocate()
  }

  /// When the first entry is due; `UInt64.max` when there is none.
  var nextDue: UInt64 { count == 0 ? .max : entries.pointee.due }

  /// Takes an entry over. One too many is lost, as in a router whose queue is full.
  mutating func push(_ entry: Entry) {
    guard bytes + cost(entry) <= byteLimit else { return entry.free() }
    if count == capacity { doubleCapacity(of: &entries, count: count, &capacity) }
    var entry = entry
    entry.number = nextNumber
    nextNumber &+= 1
    bytes += cost(entry)
    var index = count
    count += 1
    while index > 0 {
      let parent = (index - 1) / 2
      if !entry.precedes(entries[parent]) { break }
      (entries + index).initialize(to: entries[parent])
      index = parent
    }
    (entries + index).initialize(to: entry)
  }

  /// Gives the first entry away if it is due.
  mutating func pop(now: UInt64) -> Entry? {
    guard nextDue <= now else { return nil }
    let first = entries.pointee
    count -= 1
    bytes -= cost(first)
    let last = entries[count]
    var index = 0
    while true {
      var child = 2 * index + 1
      if child >= count { break }
      if child + 1 < count && entries[child + 1].precedes(entries[child]) { child += 1 }
      if !entries[child].precedes(last) { break }
      entries[index] = entries[child]
      index = child
    }
    if count > 0 { entries[index] = last }
    return first
  }

  private func cost(_ entry: Entry) -> Int { entry.length + MemoryLayout<Entry>.stride }
}
