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
  @inline(__always)
  package var capacity: UInt32 { UInt32(truncatingIfNeeded: limit) }
  /// Elements in use now.
  @inline(__always)
  package var count: UInt32 { UInt32(truncatingIfNeeded: used) }

  // Whole words: the compiler loads the structure in words, and a load that spans two recent stores has to wait for both.
  private let limit: UInt
  private var used: UInt = 0
  private let base: UnsafeMutablePointer<Element>
  private var firstFree: UInt = UInt(UInt32.max)
  private var untouched: UInt = 0

  package init(capacity: Int) {
    precondition(capacity > 0 && capacity < Int(UInt32.max))
    // A free element holds the index of the next free one.
    precondition(MemoryLayout<Element>.stride >= MemoryLayout<UInt32>.size)
    precondition(MemoryLayout<Element>.alignment >= MemoryLayout<UInt32>.alignment)
    limit = UInt(capacity)
    // From a cache line on, so that elements of one line's size lie in one.
    base = UnsafeMutableRawPointer.allocate(
      byteCount: capacity * MemoryLayout<Element>.stride, alignment: max(MemoryLayout<Element>.alignment, 64)
    ).bindMemory(to: Element.self, capacity: capacity)
  }

  /// As many elements as there are in `other`, in use and free as there, and room for more; they move.
  package init(_ other: borrowing Slab<Element>, capacity: Int) {
    precondition(UInt(capacity) >= other.limit)
    self.init(capacity: capacity)
    used = other.used
    firstFree = other.firstFree
    untouched = other.untouched
    UnsafeMutableRawPointer(base).copyMemory(
      from: UnsafeRawPointer(other.base), byteCount: Int(other.untouched) * MemoryLayout<Element>.stride)
  }

  deinit { UnsafeMutableRawPointer(base).deallocate() }

  /// Takes an element out of the slab, its memory undefined; nil when all are in use. O(1).
  @inline(__always)
  package mutating func allocate() -> UInt32? {
    if firstFree != UInt(Self.none) {
      let index = firstFree
      firstFree = UInt(UnsafeRawPointer(base + Int(bitPattern: index)).load(as: UInt32.self))
      used &+= 1
      return UInt32(truncatingIfNeeded: index)
    }
    guard untouched < limit else { return nil }
    let index = untouched
    untouched &+= 1
    used &+= 1
    return UInt32(truncatingIfNeeded: index)
  }

  /// Gives an element back. O(1).
  @inline(__always)
  package mutating func free(_ index: UInt32) {
    assert(UInt(index) < untouched && used > 0)
    UnsafeMutableRawPointer(base + Int(index)).storeBytes(of: UInt32(truncatingIfNeeded: firstFree), as: UInt32.self)
    firstFree = UInt(index)
    used &-= 1
  }

  /// Where an element lives. The pointer stays valid as long as the slab.
  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<Element> {
    assert(UInt(index) < untouched)
    return base + Int(index)
  }

  /// Where the elements live, the one with index 0 first: for lists over them that a function is called with, since the
  /// compiler passes a copy of the slab itself.
  @inline(__always)
  package var elements: UnsafeMutablePointer<Element> { base }

  /// Whether an index that came from elsewhere, say from a peer, ever named an element.
  @inline(__always)
  package func contains(_ index: UInt32) -> Bool { UInt(index) < untouched }

  /// Elements still available.
  @inline(__always)
  package var available: UInt32 { UInt32(truncatingIfNeeded: limit &- used) }
}
