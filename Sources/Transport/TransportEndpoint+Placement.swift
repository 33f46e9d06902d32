import Containers
import Packet

/// Where the payload of the next datagram probably belongs: the socket may put it there at once.
package struct Placement: BitwiseCopyable {
  /// Bytes of the datagram before its payload.
  package let headerLength: Int
  /// Memory of the transfer that nothing has arrived for yet.
  package let target: UnsafeMutableRawPointer
  package let length: Int
  let transfer: PlacedTransfer
  let offset: UInt64
}

/// A pulled transfer towards this side, or a read of its own.
struct PlacedTransfer: BitwiseCopyable, Equatable {
  var slot: UInt32
  var sequence: UInt32
  var isRead: Bool
}

// Predicted placement: a large transfer usually goes on where its last datagram ended.
extension TransportEndpoint {
  /// The prediction for the next datagram; nil when there is none, or nothing to gain.
  ///
  /// It only ever names memory beyond all that has arrived of a transfer in flight, so that a wrong guess spoils nothing:
  /// whatever lands there will be overwritten before the transfer ends.
  package func nextPlacement() -> Placement? {
    guard let transfer = predicted else { return nil }
    let memory: LocalMemory
    let start: UInt64
    let end: UInt64
    if transfer.isRead {
      let entry = operations[transfer.slot]
      guard entry.pointee.isLive, entry.pointee.kind == .read, entry.pointee.sequence == transfer.sequence,
        entry.pointee.received.isContiguous
      else { return nil }
      memory = entry.pointee.memory
      start = entry.pointee.received.completePrefix
      end = min(entry.pointee.limit, entry.pointee.length)
    } else {
      let entry = inbound[transfer.slot]
      guard entry.pointee.state == .accepted, entry.pointee.isPulled, entry.pointee.sequence == transfer.sequence,
        !entry.pointee.isDetached, entry.pointee.staging == nil, entry.pointee.received.isContiguous
      else { return nil }
      memory = entry.pointee.memory
      start = entry.pointee.received.completePrefix
      end = min(entry.pointee.granted, entry.pointee.wanted)
    }
    guard memory.count == 1, let base = memory.first.base, start < end else { return nil }
    let length = min(Int(clamping: end), memory.first.count) - Int(clamping: start)
    guard length >= Self.smallestPlacement else { return nil }
    let overhead = transfer.isRead ? ReadResponseFrame.overhead : DataChunkFrame.overhead
    return Placement(
      headerLength: DataHeader.size + overhead, target: base + Int(start), length: length, transfer: transfer,
      offset: start)
  }

  /// Whether a datagram is what was predicted, `placed` bytes after its header being one piece of payload. Only the header
  /// is looked at; the rest may lie elsewhere.
  package func fits(_ placement: Placement, _ datagram: UnsafeRawBufferPointer, placed: Int) -> Bool {
    var reader = ByteReader(datagram)
    guard datagram.count >= placement.headerLength, reader.peek(0, as: UInt8.self) == firstByte(.data),
      DataHeader(&reader) != nil
    else { return false }
    let type = reader.peek(0, as: UInt8.self)
    if placement.transfer.isRead {
      guard type == FrameType.readResponse.rawValue, let frame = ReadResponseFrame(&reader) else { return false }
      return frame.token == placement.transfer.slot && frame.operation == placement.transfer.sequence
        && frame.offset == placement.offset && frame.payloadLength >= placed
    }
    guard type == FrameType.dataChunk.rawValue, let frame = DataChunkFrame(&reader) else { return false }
    return frame.transfer == placement.transfer.slot && frame.operation == placement.transfer.sequence
      && frame.offset == placement.offset && frame.payloadLength >= placed
  }

  /// A transfer has received something: it, or the one after it, is likely to go on.
  @inline(__always)
  mutating func predict(_ slot: UInt32, _ sequence: UInt32, isRead: Bool) {
    predicted = PlacedTransfer(slot: slot, sequence: sequence, isRead: isRead)
  }

  /// A transfer is over: whoever was granted bytes next comes next.
  mutating func predictNext(_ connection: UnsafeMutablePointer<Connection>, isRead: Bool) {
    predicted = nil
    var patience = 4
    var slot = isRead ? connection.pointee.operations.first : connection.pointee.inbound.first
    while slot != .max && patience > 0 {
      if isRead {
        let entry = operations[slot]
        if entry.pointee.kind == .read && entry.pointee.isStarted && entry.pointee.limit > 0 {
          return predict(slot, entry.pointee.sequence, isRead: true)
        }
        slot = entry.pointee.next
      } else {
        let entry = inbound[slot]
        if entry.pointee.state == .accepted && entry.pointee.isPulled && entry.pointee.granted > 0 {
          return predict(slot, entry.pointee.sequence, isRead: false)
        }
        slot = entry.pointee.next
      }
      patience -= 1
    }
  }

  /// Less is copied as quickly.
  private static var smallestPlacement: Int { 16 * 1024 }
}
