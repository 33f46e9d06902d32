import Containers
import Transport

/// A message that came before its receive, or that FI_PEEK with FI_CLAIM set aside.
package struct UnexpectedMessage: ListLinked {
  package var next: UInt32 = .max
  package var previous: UInt32 = .max
  /// What the transport calls it.
  package var handle: MessageHandle = 0
  package var connection: ConnectionIndex
  package var flags: OperationFlags
  package var isClaimed = false
  package var tag: UInt64
  package var data: UInt64
  package var length: UInt64
  /// Who claimed it.
  package var context: UInt = 0

  package init(connection: ConnectionIndex, flags: OperationFlags, tag: UInt64, data: UInt64, length: UInt64) {
    self.connection = connection
    self.flags = flags
    self.tag = tag
    self.data = data
    self.length = length
  }
}

/// Messages that nobody waits for yet, in the order of arrival. The transport keeps their bytes and bounds them.
///
/// Not thread-safe; the owner serializes.
package struct UnexpectedQueue: ~Copyable {
  private var slab: Slab<UnexpectedMessage>
  private var tagged = IndexList()
  private var untagged = IndexList()
  private var claimed = IndexList()

  package init(capacity: Int) { slab = Slab(capacity: capacity) }

  @inline(__always)
  package func isEmpty(tagged isTagged: Bool) -> Bool { isTagged ? tagged.isEmpty : untagged.isEmpty }

  /// All messages, claimed ones included.
  package var count: Int { Int(slab.count) }

  @inline(__always)
  package subscript(index: UInt32) -> UnsafeMutablePointer<UnexpectedMessage> { slab[index] }

  /// Room for one message, in no list yet; nil when full.
  package mutating func allocate() -> UInt32? { slab.allocate() }

  /// Gives back an element that is in no list.
  package mutating func free(_ index: UInt32) { slab.free(index) }

  /// Puts a message behind all others.
  package mutating func append(_ index: UInt32) {
    slab[index].pointee.isClaimed = false
    if slab[index].pointee.flags.contains(.tagged) {
      tagged.append(index, in: slab)
    } else {
      untagged.append(index, in: slab)
    }
  }

  /// The first message that fits a receive, left in its place; nil if none does.
  package func find(tagged isTagged: Bool, tag: UInt64, ignore: UInt64, from connection: ConnectionIndex) -> UInt32? {
    var index = isTagged ? tagged.first : untagged.first
    while index != .max {
      let message = slab[index]
      if (message.pointee.tag ^ tag) & ~ignore == 0
        && (connection == PostedReceive.anyConnection || connection == message.pointee.connection)
      {
        return index
      }
      index = message.pointee.next
    }
    return nil
  }

  /// Sets a message aside: only `find(claimedBy:)` with the same context finds it from now on.
  package mutating func claim(_ index: UInt32, context: UInt) {
    unlink(index)
    slab[index].pointee.isClaimed = true
    slab[index].pointee.context = context
    claimed.append(index, in: slab)
  }

  /// The oldest message that was set aside for `context`.
  package func find(claimedBy context: UInt) -> UInt32? {
    var index = claimed.first
    while index != .max && slab[index].pointee.context != context { index = slab[index].pointee.next }
    return index == .max ? nil : index
  }

  /// Takes a message out of its list; its element stays in use until `free`.
  package mutating func unlink(_ index: UInt32) {
    if slab[index].pointee.isClaimed {
      claimed.remove(index, in: slab)
    } else if slab[index].pointee.flags.contains(.tagged) {
      tagged.remove(index, in: slab)
    } else {
      untagged.remove(index, in: slab)
    }
  }
}
