import Containers
import Transport

/// A receive from fi_recv to its completion.
package struct PostedReceive: ListLinked {
  package var next: UInt32
  package var previous: UInt32
  /// The only peer it matches, or `anyConnection`; once matched, the sender.
  package var connection: ConnectionIndex
  package var sliceCount: UInt32
  /// What its completion says: FI_RECV with FI_MSG or FI_TAGGED, and FI_COMPLETION if a success is reported at all.
  package var flags: UInt64
  /// The tag asked for; once matched, the sender's.
  package var tag: UInt64
  package var ignore: UInt64
  package var context: UInt
  /// Remote completion data of the matched message.
  package var data: UInt64
  /// Bytes of all slices.
  package var capacity: Int
  package var slice: Slice

  /// Stands for every peer (FI_ADDR_UNSPEC).
  package static var anyConnection: ConnectionIndex { .max }
}

/// Posted receives that wait for a message, in the order of posting: tagged and untagged ones apart.
///
/// A message takes the first receive that fits (fi_msg(3), fi_tagged(3)). Receives of one slice, which are nearly all,
/// live in one element; the slices of others stand in memory beside the slab that is first touched when needed.
///
/// Not thread-safe; the owner serializes.
package struct ReceiveQueue: ~Copyable {
  private var slab: Slab<PostedReceive>
  private let vectors: UnsafeMutablePointer<Slice>
  private var tagged = IndexList()
  private var untagged = IndexList()

  package init(capacity: Int) {
    slab = Slab(capacity: capacity)
    vectors = .allocate(capacity: capacity * Capabilities.iovLimit)
  }

  deinit { vectors.deallocate() }

  /// Receives from post to completion.
  package var count: Int { Int(slab.count) }
  /// Receives that may still be posted.
  package var available: Int { Int(slab.available) }

  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<PostedReceive> { slab[index] }

  /// An element with its memory named, in no list yet; nil when all are in use. `slices` holds at most `iovLimit`.
  @inline(__always)
  package mutating func allocate(_ slices: UnsafePointer<Slice>, count: Int) -> UInt32? {
    guard let index = slab.allocate() else { return nil }
    let entry = slab[index]
    entry.pointee.sliceCount = UInt32(truncatingIfNeeded: count)
    if count == 1 {
      entry.pointee.slice = slices.pointee
      entry.pointee.capacity = slices.pointee.count
    } else {
      store(slices, count, entry, vectors + Int(index) * Capabilities.iovLimit)
    }
    return index
  }

  @inline(__always)
  package mutating func free(_ index: UInt32) { slab.free(index) }

  /// Where the message goes.
  @inline(__always)
  package func slices(_ index: UInt32) -> UnsafePointer<Slice> {
    let entry = slab[index]
    if entry.pointee.sliceCount <= 1 {
      return UnsafeRawPointer(entry).advanced(by: Self.sliceOffset).assumingMemoryBound(to: Slice.self)
    }
    return UnsafePointer(vectors + Int(index) * Capabilities.iovLimit)
  }

  /// Makes a receive wait, behind all others of its kind.
  @inline(__always)
  package mutating func append(_ index: UInt32, tagged isTagged: Bool) {
    if isTagged { tagged.append(index, in: slab) } else { untagged.append(index, in: slab) }
  }

  /// Takes out the first receive that fits a message; nil if none does.
  @inline(__always)
  package mutating func take(tagged isTagged: Bool, tag: UInt64, from connection: ConnectionIndex) -> UInt32? {
    if isTagged {
      let index = find(tagged, tag, connection)
      if index == .max { return nil }
      tagged.remove(index, in: slab)
      return index
    }
    let index = find(untagged, tag, connection)
    if index == .max { return nil }
    untagged.remove(index, in: slab)
    return index
  }

  /// Takes out the oldest waiting receive that was posted with `context`; nil if there is none.
  package mutating func take(context: UInt) -> UInt32? {
    var index = find(tagged, context)
    if index != .max {
      tagged.remove(index, in: slab)
      return index
    }
    index = find(untagged, context)
    if index == .max { return nil }
    untagged.remove(index, in: slab)
    return index
  }

  @inline(__always)
  private func find(_ list: IndexList, _ tag: UInt64, _ connection: ConnectionIndex) -> UInt32 {
    var index = list.first
    while index != .max {
      let entry = slab[index]
      let wanted = entry.pointee.connection
      if (entry.pointee.tag ^ tag) & ~entry.pointee.ignore == 0
        && (wanted == connection || wanted == PostedReceive.anyConnection)
      {
        return index
      }
      index = entry.pointee.next
    }
    return .max
  }

  private func find(_ list: IndexList, _ context: UInt) -> UInt32 {
    var index = list.first
    while index != .max && slab[index].pointee.context != context { index = slab[index].pointee.next }
    return index
  }

  @inline(never)
  private func store(
    _ slices: UnsafePointer<Slice>, _ count: Int, _ entry: UnsafeMutablePointer<PostedReceive>,
    _ vector: UnsafeMutablePointer<Slice>
  ) {
    entry.pointee.slice = Slice(base: nil, count: 0)
    entry.pointee.capacity = 0
    for position in 0..<count {
      vector[position] = slices[position]
      entry.pointee.capacity += slices[position].count
    }
  }

  /// Offset of `slice`: it is the last field, and as long as it is aligned.
  @inline(__always)
  private static var sliceOffset: Int { MemoryLayout<PostedReceive>.size - MemoryLayout<Slice>.size }
}
