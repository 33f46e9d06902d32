import Containers
import Transport

/// A message on its way into a part of a buffer that takes many (FI_MULTI_RECV).
struct PackedMessage: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  /// The buffer's index among the posted receives.
  var buffer: UInt32
  /// Where it came to.
  var port: Unmanaged<Port>
  var connection: ConnectionIndex
  var flags: OperationFlags
  /// Its part of the buffer.
  var place = Slice(base: nil, count: 0)
  var tag: UInt64
  var data: UInt64
}

/// Messages that are arriving in buffers for many. Made when the first such buffer is posted: who has none pays nothing.
///
/// A buffer's own element of `ReceiveQueue` says what is free of it and counts its messages; those that are whole in one
/// packet are over at once and never get here. Not thread-safe; the owner serializes.
final class MultiReceives {
  private var messages: Slab<PackedMessage>
  private var list = IndexList()
  /// Messages that belong into a buffer wait among the unexpected ones for room in the completion queue.
  var isBacklogged = false

  /// `capacity`: messages that the transport can hold at once.
  init(capacity: Int) { messages = Slab(capacity: capacity) }

  /// Messages; for each, room is set aside in the completion queue.
  var count: Int { Int(messages.count) }

  func add(_ message: PackedMessage) -> UInt32 {
    // There is an element for every message that the transport can hold.
    let index = messages.allocate()!
    messages[index].initialize(to: message)
    list.append(index, in: messages)
    return index
  }

  func remove(_ index: UInt32) -> PackedMessage {
    let message = messages[index].pointee
    list.remove(index, in: messages)
    messages.free(index)
    return message
  }

  /// Takes out the oldest message that came to a port, which is compared by its address; nil if there is none.
  func removeFirst(at port: UnsafeMutableRawPointer) -> PackedMessage? {
    var index = list.first
    while index != .max && messages[index].pointee.port.toOpaque() != port { index = messages[index].pointee.next }
    return index == .max ? nil : remove(index)
  }
}
