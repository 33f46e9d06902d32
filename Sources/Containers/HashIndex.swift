/// An open-addressing table from 64-bit hashes to 32-bit indices.
///
/// It stores no keys, and of a hash only the lower half: the caller compares the element behind each candidate index.
/// Grows by doubling when two thirds full, so insertion is amortized O(1); lookups never allocate. An entry takes 8
/// bytes, which makes 12 to 24 for each index stored.
///
/// Not thread-safe; the owner serializes.
public struct HashIndex: ~Copyable {
  private struct Entry: BitwiseCopyable {
    /// The lower half of the hash, whose lower bits are the home position.
    var tag: UInt32
    /// `.max` where there is no entry.
    var index: UInt32

    static var none: Entry { Entry(tag: 0, index: .max) }

    @inline(__always)
    var isUsed: Bool { index != .max }
  }

  package private(set) var count = 0
  private var capacity: Int
  private var entries: UnsafeMutablePointer<Entry>

  package init(minimumCapacity: Int = 16) {
    capacity = 16
    while capacity < minimumCapacity * 3 / 2 { capacity *= 2 }
    entries = Self.makeEntries(capacity)
  }

  deinit { entries.deallocate() }

  private static func makeEntries(_ capacity: Int) -> UnsafeMutablePointer<Entry> {
    let entries = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    entries.initialize(repeating: .none, count: capacity)
    return entries
  }

  /// The first index stored under `hash`, or another one with the same lower half, for which `matches` holds.
  package func find(_ hash: UInt64, where matches: (UInt32) -> Bool) -> UInt32? {
    let tag = UInt32(truncatingIfNeeded: hash)
    var position = Int(tag) & (capacity - 1)
    while entries[position].isUsed {
      if entries[position].tag == tag && matches(entries[position].index) { return entries[position].index }
      position = (position + 1) & (capacity - 1)
    }
    return nil
  }

  /// Stores an index, which is less than `UInt32.max`; equal hashes may be stored several times.
  package mutating func insert(_ hash: UInt64, index: UInt32) {
    precondition(index != .max)
    if (count + 1) * 3 > capacity * 2 { grow() }
    place(Entry(tag: UInt32(truncatingIfNeeded: hash), index: index))
    count += 1
  }

  /// Removes one entry; returns whether it was there.
  @discardableResult
  package mutating func remove(_ hash: UInt64, index: UInt32) -> Bool {
    let tag = UInt32(truncatingIfNeeded: hash)
    var position = Int(tag) & (capacity - 1)
    while entries[position].isUsed {
      if entries[position].tag == tag && entries[position].index == index {
        closeGap(at: position)
        count -= 1
        return true
      }
      position = (position + 1) & (capacity - 1)
    }
    return false
  }

  private func place(_ entry: Entry) {
    var position = Int(entry.tag) & (capacity - 1)
    while entries[position].isUsed { position = (position + 1) & (capacity - 1) }
    entries[position] = entry
  }

  /// Moves later entries of the same probe sequence forward, so that no tombstones are needed.
  private func closeGap(at hole: Int) {
    var hole = hole
    var position = (hole + 1) & (capacity - 1)
    while entries[position].isUsed {
      let home = Int(entries[position].tag) & (capacity - 1)
      if (position &- home) & (capacity - 1) >= (position &- hole) & (capacity - 1) {
        entries[hole] = entries[position]
        hole = position
      }
      position = (position + 1) & (capacity - 1)
    }
    entries[hole] = .none
  }

  private mutating func grow() {
    let old = entries
    let oldCapacity = capacity
    capacity *= 2
    entries = Self.makeEntries(capacity)
    for position in 0..<oldCapacity where old[position].isUsed { place(old[position]) }
    old.deallocate()
  }
}
