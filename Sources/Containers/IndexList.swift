/// An element of a slab that carries its own links, so that lists over it never allocate.
package protocol ListLinked: BitwiseCopyable {
  var next: UInt32 { get set }
  var previous: UInt32 { get set }
}

/// A doubly linked list over elements of a slab. All operations are O(1).
///
/// The list does not own the elements; one element is in at most one list through the same links.
package struct IndexList: BitwiseCopyable {
  package private(set) var first: UInt32 = .max
  package private(set) var last: UInt32 = .max
  package private(set) var count: UInt32 = 0

  package init() {}

  @inline(__always)
  package var isEmpty: Bool { first == .max }

  @inline(__always)
  package mutating func append<Element: ListLinked>(_ index: UInt32, in slab: borrowing Slab<Element>) {
    append(index, in: slab.elements)
  }

  @inline(__always)
  package mutating func append<Element: ListLinked>(_ index: UInt32, in elements: UnsafeMutablePointer<Element>) {
    elements[Int(index)].next = .max
    elements[Int(index)].previous = last
    if last == .max { first = index } else { elements[Int(last)].next = index }
    last = index
    count &+= 1
  }

  /// Inserts before `successor`, or at the end when `successor` is `Slab.none`.
  package mutating func insert<Element: ListLinked>(
    _ index: UInt32, before successor: UInt32, in slab: borrowing Slab<Element>
  ) {
    guard successor != .max else { return append(index, in: slab) }
    let predecessor = slab[successor].pointee.previous
    slab[index].pointee.next = successor
    slab[index].pointee.previous = predecessor
    slab[successor].pointee.previous = index
    if predecessor == .max { first = index } else { slab[predecessor].pointee.next = index }
    count &+= 1
  }

  @inline(__always)
  package mutating func remove<Element: ListLinked>(_ index: UInt32, in slab: borrowing Slab<Element>) {
    remove(index, in: slab.elements)
  }

  @inline(__always)
  package mutating func remove<Element: ListLinked>(_ index: UInt32, in elements: UnsafeMutablePointer<Element>) {
    let next = elements[Int(index)].next
    let previous = elements[Int(index)].previous
    if previous == .max { first = next } else { elements[Int(previous)].next = next }
    if next == .max { last = previous } else { elements[Int(next)].previous = previous }
    count &-= 1
  }

  /// Removes and returns the first element, or `Slab.none`.
  @inline(__always)
  package mutating func popFirst<Element: ListLinked>(in slab: borrowing Slab<Element>) -> UInt32 {
    let index = first
    if index != .max { remove(index, in: slab) }
    return index
  }
}
