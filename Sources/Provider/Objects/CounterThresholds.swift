import Containers

/// Who waits for a counter to reach a value: a word that means something to whoever added it.
package struct CounterThreshold: BitwiseCopyable {
  package var value: UInt64
  package var token: UInt64
}

/// A growing list in order, taken from its front. Memory is taken when the list is longer than ever before.
struct ThresholdList: ~Copyable {
  private var elements: UnsafeMutablePointer<CounterThreshold>?
  private var capacity = 0
  private var head = 0
  private(set) var count = 0

  init() {}

  deinit { elements?.deallocate() }

  var isEmpty: Bool { count == 0 }

  /// The lowest value, or `UInt64.max`.
  var first: CounterThreshold? { count == 0 ? nil : elements.unsafelyUnwrapped[head] }

  /// Behind all that are not above it.
  mutating func insert(_ threshold: CounterThreshold) {
    makeRoom()
    let base = elements.unsafelyUnwrapped
    var index = head + count
    while index > head && base[index - 1].value > threshold.value {
      base[index] = base[index - 1]
      index -= 1
    }
    base[index] = threshold
    count += 1
  }

  /// Behind all others.
  mutating func append(_ threshold: CounterThreshold) {
    makeRoom()
    elements.unsafelyUnwrapped[head + count] = threshold
    count += 1
  }

  mutating func removeFirst() -> CounterThreshold? {
    guard let first else { return nil }
    count -= 1
    head = count == 0 ? 0 : head + 1
    return first
  }

  /// Takes out the element with a token; false when there is none.
  mutating func remove(_ token: UInt64) -> Bool {
    guard let base = elements else { return false }
    for index in head..<head + count where base[index].token == token {
      for next in index..<head + count - 1 { base[next] = base[next + 1] }
      count -= 1
      return true
    }
    return false
  }

  private mutating func makeRoom() {
    guard head + count == capacity else { return }
    let larger = UnsafeMutablePointer<CounterThreshold>.allocate(capacity: max(count * 2, 8))
    if let elements {
      larger.initialize(from: elements + head, count: count)
      elements.deallocate()
    }
    elements = larger
    capacity = max(count * 2, 8)
    head = 0
  }
}

/// Thresholds that counters of a domain have reached, in the order in which they did. Whoever added them drains this after
/// progress was made, and after a program has changed a counter: nothing calls up.
package struct ReachedThresholds: ~Copyable {
  private var list = ThresholdList()

  init() {}

  @inline(__always)
  package var isEmpty: Bool { list.isEmpty }

  mutating func append(_ threshold: CounterThreshold) { list.append(threshold) }

  /// The token of the oldest one, which leaves the list.
  package mutating func take() -> UInt64? { list.removeFirst()?.token }
}
