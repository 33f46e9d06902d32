/// A fixed number of equally sized elements addressed by small indices.
///
/// Elements are handed out and taken back in O(1); the last one freed is the next one handed out, so that a lightly
/// loaded slab stays in cache. Memory is reserved at initialization and only touched when an element is first used.
/// Elements must be trivial: nothing is initialized or destroyed when they change hands.
///
/// Not thread-safe; the owner serializes.
public struct Slab<Element: BitwiseCopyable>: ~Copyable {
  /// Stands for "no element" wherever an index is stored.
  package static var none: UInt32 { .max }

  /// Elements that can be in use at once.
  package let capacity: UInt32
  /// Elements in use now.
  package private(set) var count: UInt32 = 0

  private let base: UnsafeMutablePointer<Element>
  private var firstFree: UInt32 = .max
  private var untouched: UInt32 = 0

  package init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(UInt32.max))
    // A free element holds the index of the next free one.
    precondition(MemoryLayout<Element>.stride >= MemoryLayout<UInt32>.size)
    precondition(MemoryLayout<Element>.alignment >= MemoryLayout<UInt32>.alignment)
    self.capacity = UInt32(capacity)
    // From a cache line on, so that elements of one line's size lie in one.
    base = UnsafeMutableRawPointer.allocate(
      byteCount: capacity * MemoryLayout<Element>.stride, alignment: max(MemoryLayout<Element>.alignment, 64)
    ).bindMemory(to: Element.self, capacity: capacity)
  }

  deinit { UnsafeMutableRawPointer(base).deallocate() }

  /// Takes an element out of the slab, its memory undefined; nil when all are in use. O(1).
  @inline(__always)
  package mutating func allocate() -> UInt32? {
    if firstFree != Self.none {
      let index = firstFree
      firstFree = UnsafeRawPointer(base + Int(index)).load(as: UInt32.self)
      count &+= 1
      return index
    }
    guard untouched < capacity else { return nil }
    let index = untouched
    untouched &+= 1
    count &+= 1
    return index
  }

  /// Gives an element back. O(1).
  @inline(__always)
  package mutating func free(_ index: UInt32) {
    assert(index < untouched && count > 0)
    UnsafeMutableRawPointer(base + Int(index)).storeBytes(of: firstFree, as: UInt32.self)
    firstFree = index
    count &-= 1
  }

  /// Where an element lives. The pointer stays valid as long as the slab.
  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<Element> {
    assert(index < untouched)
    return base + Int(index)
  }

  /// Whether an index that came from elsewhere, say from a peer, ever named an element.
  @inline(__always)
  package func contains(_ index: UInt32) -> Bool { index < untouched }

  /// Elements still available.
  @inline(__always)
  package var available: UInt32 { capacity &- count }
}
