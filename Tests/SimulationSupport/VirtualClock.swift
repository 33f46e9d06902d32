import Transport

/// Time that only moves when the simulation takes the next thing that was scheduled.
///
/// Things of the same time come in the order in which they were scheduled, so that a run is a function of its seed.
package struct VirtualClock {
  /// Something to be done at a time.
  package enum Occasion {
    /// A host looks at its socket and timers.
    case wake(host: Int)
    /// A datagram, by its index in the network, reaches its destination.
    case arrival(datagram: Int)
    /// A datagram, by its index in the network, reaches the port of the switch behind which its destination is.
    case port(datagram: Int)
    /// A disturbance, by its index in the network.
    case disturbance(Int)
  }

  private struct Entry {
    var time: Instant
    var order: UInt64
    var occasion: Occasion

    func precedes(_ other: Entry) -> Bool { time < other.time || time == other.time && order < other.order }
  }

  package private(set) var now: Instant
  private var heap: [Entry] = []
  private var scheduled: UInt64 = 0

  package init(start: Instant) { now = start }

  package var isEmpty: Bool { heap.isEmpty }

  /// When the next thing happens.
  package var next: Instant { heap.first?.time ?? never }

  package mutating func schedule(_ occasion: Occasion, at time: Instant) {
    precondition(time >= now, "the past cannot be changed")
    scheduled += 1
    heap.append(Entry(time: time, order: scheduled, occasion: occasion))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].precedes(heap[parent]) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  /// Takes the next thing and moves to its time.
  package mutating func advance() -> Occasion? {
    guard let first = heap.first else { return nil }
    let last = heap.removeLast()
    if !heap.isEmpty {
      heap[0] = last
      sink()
    }
    now = first.time
    return first.occasion
  }

  private mutating func sink() {
    var parent = 0
    while true {
      var least = parent
      for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least]) {
        least = child
      }
      guard least != parent else { return }
      heap.swapAt(parent, least)
      parent = least
    }
  }
}
