/// A queue that keeps the newest elements: when it is full, the oldest goes. No allocation.
package struct RecentQueue<let capacity: Int, Element: BitwiseCopyable>: BitwiseCopyable {
  private var elements: InlineArray<capacity, Element>
  private var head = 0
  package private(set) var count = 0

  /// An empty queue; `placeholder` stands where no element is.
  package init(placeholder: Element) { elements = InlineArray(repeating: placeholder) }

  package var isEmpty: Bool { count == 0 }

  /// Adds an element, at the cost of the oldest when the queue is full. O(1).
  package mutating func append(_ element: Element) {
    if count == capacity {
      head = (head + 1) % capacity
      count -= 1
    }
    elements[(head + count) % capacity] = element
    count += 1
  }

  /// Removes and returns the oldest element, nil when there is none. O(1).
  package mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    let element = elements[head]
    head = (head + 1) % capacity
    count -= 1
    return element
  }
}
