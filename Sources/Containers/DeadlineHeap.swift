/// Which of many things is due first: a binary heap of deadlines, at most one for each small index.
///
/// Setting, moving and removing a deadline takes O(log n), looking at the first O(1). Memory is 20 bytes for each index
/// that was made room for; nothing is allocated but in `makeRoom(for:)`.
///
/// Not thread-safe; the owner serializes.
public struct DeadlineHeap: ~Copyable {
  private struct Entry: BitwiseCopyable {
    var deadline: UInt64
    var index: UInt32
  }

  /// Indices that have a deadline.
  package private(set) var count = 0
  private var entries: UnsafeMutablePointer<Entry>
  /// Where in `entries` an index is; `.max` where it has no deadline.
  private var positions: UnsafeMutablePointer<UInt32>
  private var capacity: Int

  /// A heap with room for indices below `capacity`.
  package init(capacity: Int = 16) {
    precondition(capacity > 0)
    self.capacity = capacity
    entries = .allocate(capacity: capacity)
    positions = .allocate(capacity: capacity)
    positions.initialize(repeating: .max, count: capacity)
  }

  deinit {
    entries.deallocate()
    positions.deallocate()
  }

  /// Makes room for an index, and for as many again when it is the next one. Amortized O(1).
  package mutating func makeRoom(for index: UInt32) {
    guard Int(index) >= capacity else { return }
    let old = capacity
    while capacity <= Int(index) { capacity *= 2 }
    let moved = UnsafeMutablePointer<Entry>.allocate(capacity: capacity)
    moved.update(from: entries, count: count)
    entries.deallocate()
    entries = moved
    let movedPositions = UnsafeMutablePointer<UInt32>.allocate(capacity: capacity)
    movedPositions.update(from: positions, count: old)
    (movedPositions + old).initialize(repeating: .max, count: capacity - old)
    positions.deallocate()
    positions = movedPositions
  }

  /// The earliest deadline; `UInt64.max` when there is none.
  @inline(__always)
  package var firstDeadline: UInt64 { count == 0 ? .max : entries[0].deadline }

  /// Whose deadline is the earliest. There must be one.
  @inline(__always)
  package var first: UInt32 {
    precondition(count > 0)
    return entries[0].index
  }

  /// The deadline of an index; `UInt64.max` when it has none.
  @inline(__always)
  package func deadline(of index: UInt32) -> UInt64 {
    let position = positions[Int(index)]
    return position == .max ? .max : entries[Int(position)].deadline
  }

  /// Gives an index its deadline, in place of the one it had.
  package mutating func set(_ index: UInt32, _ deadline: UInt64) {
    precondition(Int(index) < capacity)
    let entry = Entry(deadline: deadline, index: index)
    var position = Int(positions[Int(index)])
    if position == Int(UInt32.max) {
      position = count
      count += 1
      return rise(entry, from: position)
    }
    if deadline < entries[position].deadline { rise(entry, from: position) } else { sink(entry, from: position) }
  }

  /// Takes the deadline of an index away, if it has one.
  package mutating func remove(_ index: UInt32) {
    let position = Int(positions[Int(index)])
    guard position != Int(UInt32.max) else { return }
    positions[Int(index)] = .max
    count -= 1
    guard position < count else { return }
    let last = entries[count]
    if last.deadline < entries[position].deadline { rise(last, from: position) } else { sink(last, from: position) }
  }

  @inline(__always)
  private func put(_ entry: Entry, at position: Int) {
    entries[position] = entry
    positions[Int(entry.index)] = UInt32(truncatingIfNeeded: position)
  }

  private func rise(_ entry: Entry, from position: Int) {
    var position = position
    while position > 0 {
      let parent = (position - 1) / 2
      guard entry.deadline < entries[parent].deadline else { break }
      put(entries[parent], at: position)
      position = parent
    }
    put(entry, at: position)
  }

  private func sink(_ entry: Entry, from position: Int) {
    var position = position
    while true {
      var child = 2 * position + 1
      guard child < count else { break }
      if child + 1 < count && entries[child + 1].deadline < entries[child].deadline { child += 1 }
      guard entries[child].deadline < entry.deadline else { break }
      put(entries[child], at: position)
      position = child
    }
    put(entry, at: position)
  }
}
