// The frames inside DATA and CONFIRM packets. docs/PROTOCOL.md section 4 is the twin of this file.
//
// Each frame begins with its type. Frames that belong to an operation carry the low 32 bits of its sequence number.
// Fields marked 0 are reserved: sent as zero, ignored when received.

/// First byte of a frame.
package enum FrameType: UInt8, BitwiseCopyable {
  case padding = 0x00
  case probe = 0x01
  case rangeAck = 0x02
  case accept = 0x03
  case close = 0x04
  case credit = 0x05
  case pullRequest = 0x06
  case operationDone = 0x07
  case dataChunk = 0x08
  case readResponse = 0x09
  // Ordered frames: each starts an operation at the target, in sequence.
  case message = 0x10
  case messageFragment = 0x11
  case writeData = 0x12
  case transferNotify = 0x13
  case readRequest = 0x14
  case atomic = 0x15

  /// Whether operations start with this frame, so that it is processed in sequence order.
  @inline(__always)
  package var isOrdered: Bool { rawValue >= 0x10 }
}

/// Second byte of the ordered frames.
package struct FrameFlags: OptionSet, BitwiseCopyable {
  package let rawValue: UInt8
  @inline(__always)
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// A tag follows the fixed part.
  package static var tagged: FrameFlags { FrameFlags(rawValue: 1) }
  /// Remote completion data follows the fixed part and the tag.
  package static var remoteData: FrameFlags { FrameFlags(rawValue: 2) }
  /// The initiator waits for OPERATION_DONE.
  package static var wantsDone: FrameFlags { FrameFlags(rawValue: 4) }
  /// TRANSFER_NOTIFY of an RMA write, not of a message.
  package static var write: FrameFlags { FrameFlags(rawValue: 8) }

  /// ATOMIC: the initiator wants what the memory held before, in READ_RESPONSEs. The bit is `write`'s.
  package static var fetch: FrameFlags { FrameFlags(rawValue: 8) }

  /// Of a message: the number of the receive context it is for stands behind tag and data. In other frames this bit
  /// belongs to the number of segments, of which messages have none.
  package static var context: FrameFlags { FrameFlags(rawValue: 0x10) }

  /// OPERATION_DONE is wanted once the program has asked for the message, not when it is merely there.
  package static var wantsMatch: FrameFlags { FrameFlags(rawValue: 0x80) }

  /// Of a write: its data is to be persistent before OPERATION_DONE; with `wantsDone`, that of all writes of the session
  /// before it too. The bit is `wantsMatch`'s.
  package static var persistent: FrameFlags { FrameFlags(rawValue: 0x80) }

  /// Number of remote segments that follow, 0 to 7, in bits 4 to 6; of frames that are no messages.
  @inline(__always)
  package var segmentCount: Int { Int(rawValue >> 4 & 7) }

  @inline(__always)
  package static func segments(_ count: Int) -> FrameFlags {
    FrameFlags(rawValue: UInt8(truncatingIfNeeded: count) << 4)
  }
}

/// Part of remote memory that an RMA operation accesses; 24 bytes on the wire in this order.
package struct RemoteSegment: BitwiseCopyable {
  package static var encodedSize: Int { 24 }
  /// As many as `rma_iov_limit` promises.
  package static var maximumCount: Int { 4 }

  /// Virtual address or offset, as the region's addressing mode says.
  package var address: UInt64
  package var length: UInt64
  package var key: UInt64

  package init(address: UInt64, length: UInt64, key: UInt64) {
    self.address = address
    self.length = length
    self.key = key
  }

  /// Reads the segment at `index` of an encoded list.
  package init(encoded: UnsafeRawPointer, at index: Int) {
    let base = encoded + index * Self.encodedSize
    address = UInt64(littleEndian: base.loadUnaligned(as: UInt64.self))
    length = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    key = UInt64(littleEndian: base.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(address)
    writer.write(length)
    writer.write(key)
  }
}

/// What an atomic operation does, in the numbers of fi_op and fi_datatype, which the layers above give a meaning.
package struct AtomicCode: BitwiseCopyable {
  /// Most bytes of memory that one operation changes, and so of its operands; comparands are as many again.
  package static var maximumSize: Int { 4096 }

  package var operation: UInt8
  package var datatype: UInt8

  package init(operation: UInt8 = 0, datatype: UInt8 = 0) {
    self.operation = operation
    self.datatype = datatype
  }
}

/// A frame that starts an operation, or a fragment of one: MESSAGE, MESSAGE_FRAGMENT, WRITE_DATA, TRANSFER_NOTIFY,
/// READ_REQUEST and ATOMIC in one shape.
///
/// | type | after type and flags |
/// |---|---|
/// | MESSAGE | length u16, operation u32, tag?, data?, context?, payload |
/// | MESSAGE_FRAGMENT | length u16, operation u32, total u32, offset u32, tag?, data?, context?, payload |
/// | WRITE_DATA | length u16, operation u32, total u32, offset u32, data?, segments, payload |
/// | TRANSFER_NOTIFY | 0 u16, operation u32, token u32, 0 u32, total u64, tag?, data?, context? or segments |
/// | READ_REQUEST | 0 u16, operation u32, token u32, 0 u32, total u64, limit u64, segments |
/// | ATOMIC | length u16, operation u32, total u32, offset u32, token u32, op u8, datatype u8, 0 u16, as above |
package struct OrderedFrame: BitwiseCopyable {
  package var type: FrameType
  package var flags: FrameFlags
  package var operation: UInt32
  /// Where the initiator keeps the operation; echoed in what answers it.
  package var token: UInt32 = 0
  /// Bytes of the whole operation.
  package var total: UInt64 = 0
  package var tag: UInt64 = 0
  /// Where `payload` belongs in it.
  package var offset: UInt64 = 0
  package var data: UInt64 = 0
  /// READ_REQUEST: bytes the target may send before a PULL_REQUEST.
  package var limit: UInt64 = 0
  package var atomic = AtomicCode()
  /// Encoded `RemoteSegment`s, `segmentCount` of them.
  package var segments: UnsafeRawPointer
  package var payload: UnsafeRawPointer
  package var payloadLength: Int = 0
  /// First byte of the frame and its length, for who keeps it.
  package var start: UnsafeRawPointer
  package var encodedSize: Int = 0

  /// Whether frames of this type, with these flags, are of a message.
  @inline(__always)
  private static func isMessage(_ type: FrameType, _ flags: FrameFlags) -> Bool {
    switch type {
    case .message, .messageFragment: true
    case .transferNotify: !flags.contains(.write)
    default: false
    }
  }

  /// Whether it belongs to a write.
  @inline(__always)
  package var isWrite: Bool { type == .writeData || type == .transferNotify && flags.contains(.write) }

  /// Remote segments that the frame has.
  @inline(__always)
  package var segmentCount: Int { Self.isMessage(type, flags) ? 0 : flags.segmentCount }

  /// The receive context that a message is for; 0 in frames of other operations.
  @inline(__always)
  package var context: UInt16 {
    guard flags.contains(.context), Self.isMessage(type, flags) else { return 0 }
    return UInt16(littleEndian: (payload - 2).loadUnaligned(as: UInt16.self))
  }

  /// Bytes of a frame of this type before its payload.
  @inline(__always)
  package static func overhead(_ type: FrameType, _ flags: FrameFlags) -> Int {
    var size: Int
    switch type {
    case .message: size = 8
    case .messageFragment, .writeData: size = 16
    case .transferNotify, .atomic: size = 24
    default: size = 32
    }
    if flags.contains(.tagged) { size += 8 }
    if flags.contains(.remoteData) { size += 8 }
    return flags.rawValue & Self.tailBits == 0 ? size : size + tail(type, flags)
  }

  /// Bytes of segments or of the context's number.
  @inline(__always)
  private static func tail(_ type: FrameType, _ flags: FrameFlags) -> Int {
    if isMessage(type, flags) { return flags.contains(.context) ? 2 : 0 }
    return flags.segmentCount * RemoteSegment.encodedSize
  }

  /// Whether no more is said to follow than may.
  @inline(__always)
  private static func isTailValid(_ type: FrameType, _ flags: FrameFlags) -> Bool {
    if flags.rawValue & tailBits & ~FrameFlags.context.rawValue == 0 { return true }
    return !isMessage(type, flags) && flags.segmentCount <= RemoteSegment.maximumCount
  }

  @inline(__always)
  private static var tailBits: UInt8 { 0x70 }

  /// Reads a frame whose type byte, an ordered one, is next; nil when it is malformed.
  @inline(__always)
  package init?(_ type: FrameType, _ reader: inout ByteReader) {
    guard reader.has(8) else { return nil }
    self.type = type
    start = reader.position
    flags = FrameFlags(rawValue: reader.peek(1, as: UInt8.self))
    operation = reader.peek(4, as: UInt32.self)
    let overhead = Self.overhead(type, flags)
    guard reader.has(overhead), Self.isTailValid(type, flags) else { return nil }
    var extras = 8
    switch type {
    case .message:
      payloadLength = Int(reader.peek(2, as: UInt16.self))
      total = UInt64(payloadLength)
    case .messageFragment, .writeData:
      payloadLength = Int(reader.peek(2, as: UInt16.self))
      total = UInt64(reader.peek(8, as: UInt32.self))
      offset = UInt64(reader.peek(12, as: UInt32.self))
      extras = 16
    case .transferNotify:
      token = reader.peek(8, as: UInt32.self)
      total = reader.peek(16, as: UInt64.self)
      extras = 24
    case .atomic:
      payloadLength = Int(reader.peek(2, as: UInt16.self))
      total = UInt64(reader.peek(8, as: UInt32.self))
      offset = UInt64(reader.peek(12, as: UInt32.self))
      token = reader.peek(16, as: UInt32.self)
      atomic = AtomicCode(operation: reader.peek(20, as: UInt8.self), datatype: reader.peek(21, as: UInt8.self))
      extras = 24
    default:
      token = reader.peek(8, as: UInt32.self)
      total = reader.peek(16, as: UInt64.self)
      limit = reader.peek(24, as: UInt64.self)
      extras = 32
    }
    if flags.contains(.tagged) {
      tag = reader.peek(extras, as: UInt64.self)
      extras += 8
    }
    if flags.contains(.remoteData) {
      data = reader.peek(extras, as: UInt64.self)
      extras += 8
    }
    segments = reader.position + extras
    payload = reader.position + overhead
    encodedSize = overhead + payloadLength
    guard reader.has(encodedSize), offset + UInt64(payloadLength) <= total else { return nil }
    reader.skip(encodedSize)
  }
}

/// OPERATION_DONE's status byte: how an operation ended at its target.
package enum OperationStatus: UInt8, BitwiseCopyable {
  case ok = 0
  /// No region with that key, or the region does not permit the access.
  case accessDenied = 1
  /// The access leaves its region.
  case outOfBounds = 2
  /// The target gave up the buffer before the transfer was complete.
  case aborted = 3
  /// The target knows no such atomic operation on such data.
  case unsupported = 4
  /// The target could not make the data persistent.
  case notPersistent = 5
}

/// PULL_REQUEST, 24 bytes: flags, 0 u16, operation u32, token u32, transfer u32, limit u64.
package struct PullRequestFrame: BitwiseCopyable {
  package static var size: Int { 24 }

  /// Of a READ_RESPONSE stream (flag 1), not of a message or write.
  package var isRead: Bool
  package var operation: UInt32
  /// Where the sender of the bytes keeps the operation.
  package var token: UInt32
  /// Where the receiver of the bytes keeps the transfer; travels back in each DATA_CHUNK.
  package var transfer: UInt32
  /// Bytes below this offset may be sent.
  package var limit: UInt64

  package init(isRead: Bool, operation: UInt32, token: UInt32, transfer: UInt32, limit: UInt64) {
    self.isRead = isRead
    self.operation = operation
    self.token = token
    self.transfer = transfer
    self.limit = limit
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    isRead = reader.peek(1, as: UInt8.self) & 1 != 0
    operation = reader.peek(4, as: UInt32.self)
    token = reader.peek(8, as: UInt32.self)
    transfer = reader.peek(12, as: UInt32.self)
    limit = reader.peek(16, as: UInt64.self)
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(FrameType.pullRequest.rawValue)
    writer.write(UInt8(isRead ? 1 : 0))
    writer.write(UInt16(0))
    writer.write(operation)
    writer.write(token)
    writer.write(transfer)
    writer.write(limit)
  }
}

/// OPERATION_DONE, 8 bytes: status u8, count u16, operation u32. `count` operations from `operation` on ended so.
package struct OperationDoneFrame: BitwiseCopyable {
  package static var size: Int { 8 }

  /// An `OperationStatus`; unknown values are taken for `aborted`.
  package var status: UInt8
  package var count: UInt16
  package var operation: UInt32

  package init(status: UInt8, count: UInt16, operation: UInt32) {
    self.status = status
    self.count = count
    self.operation = operation
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    status = reader.peek(1, as: UInt8.self)
    count = reader.peek(2, as: UInt16.self)
    operation = reader.peek(4, as: UInt32.self)
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(FrameType.operationDone.rawValue)
    writer.write(status)
    writer.write(count)
    writer.write(operation)
  }
}

/// CREDIT, 16 bytes: 3 reserved, operations u32, bytes u64; both are limits since the connection began, so a late or
/// repeated frame does no harm.
package struct CreditFrame: BitwiseCopyable {
  package static var size: Int { 16 }

  /// Operations below this sequence number may be started.
  package var operations: UInt32
  /// Eager payload bytes that may have been sent in all.
  package var bytes: UInt64

  package init(operations: UInt32, bytes: UInt64) {
    self.operations = operations
    self.bytes = bytes
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    operations = reader.peek(4, as: UInt32.self)
    bytes = reader.peek(8, as: UInt64.self)
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(FrameType.credit.rawValue)
    writer.write(UInt8(0))
    writer.write(UInt16(0))
    writer.write(operations)
    writer.write(bytes)
  }
}

/// DATA_CHUNK, 20 bytes and payload: 0 u8, length u16, transfer u32, operation u32, offset u64.
package struct DataChunkFrame: BitwiseCopyable {
  package static var overhead: Int { 20 }

  package var transfer: UInt32
  package var operation: UInt32
  package var offset: UInt64
  package var payload: UnsafeRawPointer
  package var payloadLength: Int

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.overhead) else { return nil }
    payloadLength = Int(reader.peek(2, as: UInt16.self))
    transfer = reader.peek(4, as: UInt32.self)
    operation = reader.peek(8, as: UInt32.self)
    offset = reader.peek(12, as: UInt64.self)
    payload = reader.position + Self.overhead
    guard reader.has(Self.overhead + payloadLength) else { return nil }
    reader.skip(Self.overhead + payloadLength)
  }

  /// Writes the part before the payload.
  @inline(__always)
  package static func encode(
    transfer: UInt32, operation: UInt32, offset: UInt64, length: Int, _ writer: inout ByteWriter
  ) {
    writer.write(FrameType.dataChunk.rawValue)
    writer.write(UInt8(0))
    writer.write(UInt16(truncatingIfNeeded: length))
    writer.write(transfer)
    writer.write(operation)
    writer.write(offset)
  }
}

/// READ_RESPONSE, 24 bytes and payload: 0 u8, length u16, token u32, operation u32, responder u32, offset u64.
package struct ReadResponseFrame: BitwiseCopyable {
  package static var overhead: Int { 24 }

  /// Where the initiator keeps the read, from its READ_REQUEST.
  package var token: UInt32
  package var operation: UInt32
  /// Where the target keeps the response, for PULL_REQUEST.
  package var responder: UInt32
  package var offset: UInt64
  package var payload: UnsafeRawPointer
  package var payloadLength: Int

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.overhead) else { return nil }
    payloadLength = Int(reader.peek(2, as: UInt16.self))
    token = reader.peek(4, as: UInt32.self)
    operation = reader.peek(8, as: UInt32.self)
    responder = reader.peek(12, as: UInt32.self)
    offset = reader.peek(16, as: UInt64.self)
    payload = reader.position + Self.overhead
    guard reader.has(Self.overhead + payloadLength) else { return nil }
    reader.skip(Self.overhead + payloadLength)
  }

  /// Writes the part before the payload.
  package static func encode(
    token: UInt32, operation: UInt32, responder: UInt32, offset: UInt64, length: Int, _ writer: inout ByteWriter
  ) {
    writer.write(FrameType.readResponse.rawValue)
    writer.write(UInt8(0))
    writer.write(UInt16(truncatingIfNeeded: length))
    writer.write(token)
    writer.write(operation)
    writer.write(responder)
    writer.write(offset)
  }
}

/// ACCEPT, 48 bytes: 3 reserved, the responder's index u32 and session u64 of the connection, its parameters.
package struct AcceptFrame: BitwiseCopyable {
  package static var size: Int { 16 + TransportParameters.size }

  package var connection: UInt32
  package var session: UInt64
  package var parameters: TransportParameters

  package init(connection: UInt32, session: UInt64, parameters: TransportParameters) {
    self.connection = connection
    self.session = session
    self.parameters = parameters
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    reader.skip(16)
    guard let parameters = TransportParameters(&reader) else { return nil }
    self.parameters = parameters
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(FrameType.accept.rawValue)
    writer.write(UInt8(0))
    writer.write(UInt16(0))
    writer.write(connection)
    writer.write(session)
    parameters.encode(&writer)
  }
}

/// PROBE and CLOSE, 4 bytes: three reserved.
package enum ShortFrame {
  package static var size: Int { 4 }

  package static func encode(_ type: FrameType, _ writer: inout ByteWriter) {
    writer.write(type.rawValue)
    writer.write(UInt8(0))
    writer.write(UInt16(0))
  }

  /// Steps over one; false when it is cut off.
  package static func decode(_ reader: inout ByteReader) -> Bool {
    guard reader.has(size) else { return false }
    reader.skip(size)
    return true
  }
}
