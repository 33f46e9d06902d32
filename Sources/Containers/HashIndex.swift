/// An open-addressing table from 64-bit hashes to 32-bit indices.
///
/// It stores no keys: the caller compares the element behind each candidate index. Grows by doubling when two thirds
/// full, so insertion is amortized O(1); lookups never allocate.
///
/// Not thread-safe; the owner serializes.
public struct HashIndex: ~Copyable {
  private struct Entry: BitwiseCopyable {
    var hash: UInt64
    var index: UInt32
    var used: Bool
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
    entries.initialize(repeating: Entry(hash: 0, index: 0, used: false), count: capacity)
    return entries
  }

  /// The first index stored under `hash` for which `matches` holds.
  package func find(_ hash: UInt64, where matches: (UInt32) -> Bool) -> UInt32? {
    var position = Int(truncatingIfNeeded: hash) & (capacity - 1)
    while entries[position].used {
      if entries[position].hash == hash && matches(entries[position].index) { return entries[position].index }
      position = (position + 1) & (capacity - 1)
    }
    return nil
  }

  /// Stores an index; equal hashes may be stored several times.
  package mutating func insert(_ hash: UInt64, index: UInt32) {
    if (count + 1) * 3 > capacity * 2 { grow() }
    place(Entry(hash: hash, index: index, used: true))
    count += 1
  }

  /// Removes one entry; returns whether it was there.
  @discardableResult
  package mutating func remove(_ hash: UInt64, index: UInt32) -> Bool {
    var position = Int(truncatingIfNeeded: hash) & (capacity - 1)
    while entries[position].used {
      if entries[position].hash == hash && entries[position].index == index {
        closeGap(at: position)
        count -= 1
        return true
      }
      position = (position + 1) & (capacity - 1)
    }
    return false
  }

  private func place(_ entry: Entry) {
    var position = Int(truncatingIfNeeded: entry.hash) & (capacity - 1)
    while entries[position].used { position = (position + 1) & (capacity - 1) }
    entries[position] = entry
  }

  /// Moves later entries of the same probe sequence forward, so that no tombstones are needed.
  private func closeGap(at hole: Int) {
    var hole = hole
    var position = (hole + 1) & (capacity - 1)
    while entries[position].used {
      let home = Int(truncatingIfNeeded: entries[position].hash) & (capacity - 1)
      if (position &- home) & (capacity - 1) >= (position &- hole) & (capacity - 1) {
        entries[hole] = entries[position]
        hole = position
      }
      position = (position + 1) & (capacity - 1)
    }
    entries[hole].used = false
  }

  private mutating func grow() {
    let old = entries
    let oldCapacity = capacity
    capacity *= 2
    entries = Self.makeEntries(capacity)
    for position in 0..<oldCapacity where old[position].used { place(old[position]) }
    old.deallocate()
  }
}
