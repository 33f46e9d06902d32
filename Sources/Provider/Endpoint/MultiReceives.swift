import Containers
import Transport

/// A message on its way into a part of a buffer that takes many (FI_MULTI_RECV).
struct PackedMessage: BitwiseCopyable {
  /// The buffer's index among the posted receives.
  var buffer: UInt32
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
    return index
  }

  func remove(_ index: UInt32) -> PackedMessage {
    let message = messages[index].pointee
    messages.free(index)
    return message
  }
}
