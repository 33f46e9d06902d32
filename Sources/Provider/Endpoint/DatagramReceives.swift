import CFabric
import CPlatform
import Transport

/// Receives of a datagram endpoint that wait, in the order of posting, which is the order of completion too.
///
/// Each names its memory as an array of its own, as recvmsg(2) wants it. Not thread-safe; the owner serializes.
package struct DatagramReceives: ~Copyable {
  package struct Entry: BitwiseCopyable {
    package var context: UInt
    /// FI_RECV with FI_MSG, and FI_COMPLETION if a success is reported.
    package var flags: UInt64
    /// Bytes of all pieces.
    package var capacity: Int
    package var sliceCount: Int
  }

  private let entries: UnsafeMutablePointer<Entry>
  private let vectors: UnsafeMutablePointer<iovec>
  private let capacity: Int
  private let mask: Int
  private var head = 0
  /// Receives that wait.
  package private(set) var count = 0

  package init(capacity: Int) {
    var size = 1
    while size < capacity { size *= 2 }
    self.capacity = capacity
    mask = size - 1
    entries = .allocate(capacity: size)
    vectors = .allocate(capacity: size * Capabilities.iovLimit)
  }

  deinit {
    entries.deallocate()
    vectors.deallocate()
  }

  @inline(__always)
  package var isEmpty: Bool { count == 0 }
  /// Receives that may still be posted.
  @inline(__always)
  package var available: Int { capacity &- count }

  /// The receive that is `position` places behind the first.
  @inline(__always)
  package subscript(position: Int) -> UnsafeMutablePointer<Entry> { entries + slot(position) }

  /// Where its datagram goes.
  @inline(__always)
  package func slices(_ position: Int) -> UnsafeMutablePointer<iovec> {
    vectors + slot(position) &* Capabilities.iovLimit
  }

  /// Puts a receive behind all others; there is room. `pieces` holds at most `iovLimit`.
  @inline(__always)
  package mutating func append(_ pieces: Pieces, context: UInt, flags: UInt64) {
    assert(count < capacity)
    let vector = slices(count)
    for index in 0..<pieces.count {
      vector[index] = iovec(iov_base: pieces.first[index].base, iov_len: pieces.first[index].count)
    }
    self[count].initialize(
      to: Entry(context: context, flags: flags, capacity: pieces.length, sliceCount: pieces.count))
    count &+= 1
  }

  @inline(__always)
  package mutating func removeFirst() {
    assert(count > 0)
    head = (head &+ 1) & mask
    count &-= 1
  }

  /// Takes out the oldest receive with a context; nil when there is none.
  package mutating func take(context: UInt) -> Entry? {
    for position in 0..<count where self[position].pointee.context == context {
      let found = self[position].pointee
      for later in position + 1..<max(count, position + 1) {
        self[later - 1].pointee = self[later].pointee
        slices(later - 1).update(from: slices(later), count: self[later].pointee.sliceCount)
      }
      count -= 1
      return found
    }
    return nil
  }

  @inline(__always)
  private func slot(_ position: Int) -> Int { (head &+ position) & mask }
}
