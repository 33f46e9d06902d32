/// Elements by hash, in the order in which they were added: one chain for each of so many remainders, and one more for
/// elements that have no hash. All operations are O(1).
///
/// Elements are small indices, each in one chain at most; the links are kept here. Memory is allocated when the first
/// element is added, for all that there may ever be, and first touched when used: 16 bytes an element and 8 a chain.
///
/// Not thread-safe; the owner serializes.
public struct HashChains: ~Copyable {
  private struct Link: BitwiseCopyable {
    var next: UInt32
    var previous: UInt32
    /// Counts up with each element that is added.
    var order: UInt64
  }

  private struct Ends: BitwiseCopyable {
    var first: UInt32
    var last: UInt32
  }

  /// Stands for "no element".
  package static var none: UInt32 { .max }

  /// Elements in chains.
  package private(set) var count = 0
  private let capacity: Int
  private let chainCount: Int
  private var order: UInt64 = 0
  private var links: UnsafeMutablePointer<Link>?
  private var chains: UnsafeMutablePointer<Ends>?

  /// For elements below `capacity`, over about `chains` chains.
  package init(capacity: Int, chains: Int) {
    precondition(capacity > 0 && capacity < Int(UInt32.max) && chains > 0)
    self.capacity = capacity
    var count = 1
    while count < chains { count *= 2 }
    chainCount = count
  }

  deinit {
    links?.deallocate()
    chains?.deallocate()
  }

  /// The chain of a hash, of which the lower bits count.
  @inline(__always)
  package func chain(_ hash: UInt64) -> Int { Int(truncatingIfNeeded: hash) & (chainCount - 1) }

  /// The chain of elements without a hash.
  @inline(__always)
  package var unhashed: Int { chainCount }

  /// The oldest element of a chain; `none` when it is empty.
  @inline(__always)
  package func first(_ chain: Int) -> UInt32 { chains == nil ? Self.none : chains![chain].first }

  /// The element after another of its chain.
  @inline(__always)
  package func next(_ index: UInt32) -> UInt32 { links![Int(index)].next }

  /// Whether an element was added before another, of any chain.
  @inline(__always)
  package func isOlder(_ index: UInt32, than other: UInt32) -> Bool {
    links![Int(index)].order < links![Int(other)].order
  }

  /// Adds an element, which is in no chain, behind all others of one.
  package mutating func append(_ index: UInt32, to chain: Int) {
    precondition(Int(index) < capacity)
    if links == nil { reserve() }
    let ends = chains! + chain
    order &+= 1
    links![Int(index)] = Link(next: Self.none, previous: ends.pointee.last, order: order)
    if ends.pointee.last == Self.none {
      ends.pointee.first = index
    } else {
      links![Int(ends.pointee.last)].next = index
    }
    ends.pointee.last = index
    count += 1
  }

  /// Takes an element out of its chain.
  package mutating func remove(_ index: UInt32, from chain: Int) {
    let link = links![Int(index)]
    if link.previous == Self.none {
      chains![chain].first = link.next
    } else {
      links![Int(link.previous)].next = link.next
    }
    if link.next == Self.none {
      chains![chain].last = link.previous
    } else {
      links![Int(link.next)].previous = link.previous
    }
    count -= 1
  }

  @inline(never)
  private mutating func reserve() {
    links = .allocate(capacity: capacity)
    chains = .allocate(capacity: chainCount + 1)
    chains!.initialize(repeating: Ends(first: Self.none, last: Self.none), count: chainCount + 1)
  }
}
