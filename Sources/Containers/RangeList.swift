/// One run of a `RangeList`, an element of the slab that all lists of an owner share.
package struct RangeNode: BitwiseCopyable {
  package var next: UInt32
  package var start: UInt64
  package var end: UInt64
}

/// A sorted set of half-open byte ranges, which knows how far it is complete from 0.
///
/// Everything below `completePrefix` is in the set; runs beyond it take one node each from the slab. Data that arrives
/// in order therefore needs no node at all.
package struct RangeList: BitwiseCopyable {
  /// All bytes below this are in the set.
  package private(set) var completePrefix: UInt64 = 0
  private var head: UInt32 = .max

  package init() {}

  /// Whether nothing is missing below `length`.
  @inline(__always)
  package func isComplete(_ length: UInt64) -> Bool { completePrefix >= length }

  /// Whether there is nothing beyond the first gap.
  @inline(__always)
  package var isContiguous: Bool { head == .max }

  /// Adds `start ..< end`. Returns false, with the set unchanged, when no node was left for it.
  package mutating func insert(_ start: UInt64, _ end: UInt64, in slab: inout Slab<RangeNode>) -> Bool {
    if start <= completePrefix {
      if end > completePrefix {
        completePrefix = end
        if head != .max { absorbPrefix(in: &slab) }
      }
      return true
    }
    guard start < end else { return true }
    return insertBeyondPrefix(start, end, in: &slab)
  }

  /// Gives all nodes back; the set is empty afterwards.
  package mutating func removeAll(in slab: inout Slab<RangeNode>) {
    while head != .max {
      let next = slab[head].pointee.next
      slab.free(head)
      head = next
    }
    completePrefix = 0
  }

  private mutating func absorbPrefix(in slab: inout Slab<RangeNode>) {
    while head != .max && slab[head].pointee.start <= completePrefix {
      completePrefix = max(completePrefix, slab[head].pointee.end)
      let next = slab[head].pointee.next
      slab.free(head)
      head = next
    }
  }

  private mutating func insertBeyondPrefix(
    _ start: UInt64, _ end: UInt64, in slab: inout Slab<RangeNode>
  ) -> Bool {
    var previous: UInt32 = .max
    var current = head
    while current != .max && slab[current].pointee.end < start {
      previous = current
      current = slab[current].pointee.next
    }
    if current != .max && slab[current].pointee.start <= end {
      slab[current].pointee.start = min(slab[current].pointee.start, start)
      slab[current].pointee.end = max(slab[current].pointee.end, end)
      mergeFollowing(current, in: &slab)
      return true
    }
    guard let node = slab.allocate() else { return false }
    slab[node].pointee = RangeNode(next: current, start: start, end: end)
    if previous == .max { head = node } else { slab[previous].pointee.next = node }
    return true
  }

  private func mergeFollowing(_ node: UInt32, in slab: inout Slab<RangeNode>) {
    var next = slab[node].pointee.next
    while next != .max && slab[next].pointee.start <= slab[node].pointee.end {
      slab[node].pointee.end = max(slab[node].pointee.end, slab[next].pointee.end)
      slab[node].pointee.next = slab[next].pointee.next
      slab.free(next)
      next = slab[node].pointee.next
    }
  }
}
