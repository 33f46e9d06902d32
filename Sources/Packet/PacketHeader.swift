// The first bytes of every datagram. docs/PROTOCOL.md section 3 is the twin of this file.
//
// All numbers are little-endian. The first byte holds the packet's kind in its high and the protocol's version in its
// low four bits.

/// What a datagram is, the high half of its first byte.
package enum PacketKind: UInt8, BitwiseCopyable {
  /// Frames of an established connection.
  case data = 0x1
  /// Asks for a cookie; creates no state at the receiver.
  case initial = 0x2
  /// Answers an INITIAL with a cookie.
  case challenge = 0x3
  /// Frames of a connection that the receiver may not know yet, with the cookie that proves the sender's address.
  case confirm = 0x4
  /// Answers a DATA packet that names no connection.
  case reset = 0x5
  /// Answers a packet of a version that the receiver does not speak.
  case version = 0x6
}

/// The protocol's version, on the wire in every packet.
package let protocolVersion: UInt8 = 1

@inline(__always)
package func firstByte(_ kind: PacketKind) -> UInt8 { kind.rawValue << 4 | protocolVersion }

/// Header of a DATA packet, 20 bytes: kind, flags, reserved u16, connection index u32, session u64, packet number u32.
package struct DataHeader: BitwiseCopyable {
  package static var size: Int { 20 }

  package var flags: PacketFlags
  /// The receiver's own index of the connection.
  package var connection: UInt32
  /// The receiver's session id of the connection.
  package var session: UInt64
  package var packetNumber: UInt32

  package init(flags: PacketFlags, connection: UInt32, session: UInt64, packetNumber: UInt32) {
    self.flags = flags
    self.connection = connection
    self.session = session
    self.packetNumber = packetNumber
  }

  /// Reads the header whose first byte is known to be DATA's; nil when it is cut off.
  @inline(__always)
  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    flags = PacketFlags(rawValue: reader.peek(1, as: UInt8.self))
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    packetNumber = reader.peek(16, as: UInt32.self)
    reader.skip(Self.size)
  }

  @inline(__always)
  package func encode(_ writer: inout ByteWriter) {
    writer.write(firstByte(.data))
    writer.write(flags.rawValue)
    writer.write(UInt16(0))
    writer.write(connection)
    writer.write(session)
    writer.write(packetNumber)
  }
}

/// Flags of DATA and CONFIRM packets.
package struct PacketFlags: OptionSet, BitwiseCopyable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  /// The sender has nothing more to send for now and would like an acknowledgement without delay.
  package static var acknowledgeSoon: PacketFlags { PacketFlags(rawValue: 1) }
}

/// What each side of a connection tells the other once, 32 bytes.
package struct TransportParameters: BitwiseCopyable {
  package static var size: Int { 32 }

  /// Largest UDP payload that this side can receive, in bytes.
  package var maximumDatagram: UInt32
  /// Bytes in flight that this side's socket can buffer.
  package var receiveBuffer: UInt32
  /// Eager payload bytes that may be sent before the first CREDIT.
  package var initialCredit: UInt32
  /// Operations that may be started before the first CREDIT.
  package var initialOperations: UInt32
  /// How long this side may stay silent while it lives, in milliseconds.
  package var maximumSilence: UInt32
  /// Longest time this side delays an acknowledgement while its program polls, in microseconds.
  package var maximumAckDelay: UInt32
  /// READ_REQUESTs that may be unanswered at once.
  package var maximumReads: UInt32
  /// Features; a receiver ignores bits it does not know.
  package var features: UInt32

  /// In a CONFIRM: the digest of the initiator's authorization key follows the parameters.
  package static var carriesAuthorization: UInt32 { 1 }

  package init(
    maximumDatagram: UInt32, receiveBuffer: UInt32, initialCredit: UInt32, initialOperations: UInt32,
    maximumSilence: UInt32, maximumAckDelay: UInt32, maximumReads: UInt32, features: UInt32 = 0
  ) {
    self.maximumDatagram = maximumDatagram
    self.receiveBuffer = receiveBuffer
    self.initialCredit = initialCredit
    self.initialOperations = initialOperations
    self.maximumSilence = maximumSilence
    self.maximumAckDelay = maximumAckDelay
    self.maximumReads = maximumReads
    self.features = features
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    maximumDatagram = reader.peek(0, as: UInt32.self)
    receiveBuffer = reader.peek(4, as: UInt32.self)
    initialCredit = reader.peek(8, as: UInt32.self)
    initialOperations = reader.peek(12, as: UInt32.self)
    maximumSilence = reader.peek(16, as: UInt32.self)
    maximumAckDelay = reader.peek(20, as: UInt32.self)
    maximumReads = reader.peek(24, as: UInt32.self)
    features = reader.peek(28, as: UInt32.self)
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    writer.write(maximumDatagram)
    writer.write(receiveBuffer)
    writer.write(initialCredit)
    writer.write(initialOperations)
    writer.write(maximumSilence)
    writer.write(maximumAckDelay)
    writer.write(maximumReads)
    writer.write(features)
  }
}

/// Proof that a CONFIRM's sender receives at its address: made and checked by the responder, opaque to the initiator.
package struct Cookie: BitwiseCopyable {
  package static var size: Int { 16 }

  /// When it was made, by the responder's clock in nanoseconds.
  package var time: UInt64
  /// Keyed hash of the time, the initiator's address and its session.
  package var code: UInt64

  package init(time: UInt64, code: UInt64) {
    self.time = time
    self.code = code
  }
}

/// INITIAL, 128 bytes: kind, 3 reserved, initiator's index u32, initiator's session u64, zero padding.
///
/// The padding keeps the answer smaller than the question, so that nobody is flooded through us.
package struct InitialPacket: BitwiseCopyable {
  package static var size: Int { 128 }

  package var connection: UInt32
  package var session: UInt64

  package init(connection: UInt32, session: UInt64) {
    self.connection = connection
    self.session = session
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    encodeLongHeader(.initial, flags: [], connection, session, &writer)
    writer.pad(Self.size - 16)
  }
}

/// CHALLENGE, 32 bytes: kind, 3 reserved, the initiator's index and session as in its INITIAL, cookie.
package struct ChallengePacket: BitwiseCopyable {
  package static var size: Int { 32 }

  package var connection: UInt32
  package var session: UInt64
  package var cookie: Cookie

  package init(connection: UInt32, session: UInt64, cookie: Cookie) {
    self.connection = connection
    self.session = session
    self.cookie = cookie
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    cookie = Cookie(time: reader.peek(16, as: UInt64.self), code: reader.peek(24, as: UInt64.self))
    reader.skip(Self.size)
  }

  package func encode(_ writer: inout ByteWriter) {
    encodeLongHeader(.challenge, flags: [], connection, session, &writer)
    writer.write(cookie.time)
    writer.write(cookie.code)
  }
}

/// Header of a CONFIRM packet, 72 bytes: kind, flags, 2 reserved, initiator's index u32, initiator's session u64,
/// packet number u32, 4 reserved, cookie, the initiator's transport parameters; 8 more where a key is named. Frames
/// follow.
package struct ConfirmHeader: BitwiseCopyable {
  package static var size: Int { 72 }

  package var flags: PacketFlags
  package var connection: UInt32
  package var session: UInt64
  package var packetNumber: UInt32
  /// Low half of the id that the receiver had in the session that ended last at the sender; 0 when none has.
  package var ended: UInt32
  package var cookie: Cookie
  package var parameters: TransportParameters
  /// Digest of the initiator's authorization key; 0 for none.
  package var authorization: UInt64

  package init(
    flags: PacketFlags, connection: UInt32, session: UInt64, packetNumber: UInt32, ended: UInt32 = 0, cookie: Cookie,
    parameters: TransportParameters, authorization: UInt64 = 0
  ) {
    self.authorization = authorization
    self.ended = ended
    self.flags = flags
    self.connection = connection
    self.session = session
    self.packetNumber = packetNumber
    self.cookie = cookie
    self.parameters = parameters
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    let namesKey = reader.peek(Self.size - 4, as: UInt32.self) & TransportParameters.carriesAuthorization != 0
    guard !namesKey || reader.has(Self.size + 8) else { return nil }
    flags = PacketFlags(rawValue: reader.peek(1, as: UInt8.self))
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    packetNumber = reader.peek(16, as: UInt32.self)
    ended = reader.peek(20, as: UInt32.self)
    cookie = Cookie(time: reader.peek(24, as: UInt64.self), code: reader.peek(32, as: UInt64.self))
    reader.skip(40)
    guard let parameters = TransportParameters(&reader) else { return nil }
    self.parameters = parameters
    authorization = 0
    guard namesKey else { return }
    authorization = reader.peek(0, as: UInt64.self)
    reader.skip(8)
  }

  package func encode(_ writer: inout ByteWriter) {
    encodeLongHeader(.confirm, flags: flags, connection, session, &writer)
    writer.write(packetNumber)
    writer.write(ended)
    writer.write(cookie.time)
    writer.write(cookie.code)
    guard authorization != 0 else { return parameters.encode(&writer) }
    var parameters = parameters
    parameters.features |= TransportParameters.carriesAuthorization
    parameters.encode(&writer)
    writer.write(authorization)
  }
}

/// RESET and VERSION, 16 bytes: kind, flags (VERSION: the spoken version), 2 reserved, index and session as they were in
/// the packet it answers.
package struct ResetPacket: BitwiseCopyable {
  package static var size: Int { 16 }

  package var connection: UInt32
  package var session: UInt64
  /// RESET, flag 1: the session was never known here, so its initiator may try again with another.
  package var mayRetry: Bool
  /// RESET, flag 2: the initiator's authorization key is none of the sender's.
  package var isUnauthorized: Bool

  package init(connection: UInt32, session: UInt64, mayRetry: Bool = false, isUnauthorized: Bool = false) {
    self.connection = connection
    self.session = session
    self.mayRetry = mayRetry
    self.isUnauthorized = isUnauthorized
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.size) else { return nil }
    mayRetry = reader.peek(1, as: UInt8.self) & 1 != 0
    isUnauthorized = reader.peek(1, as: UInt8.self) & 2 != 0
    connection = reader.peek(4, as: UInt32.self)
    session = reader.peek(8, as: UInt64.self)
    reader.skip(Self.size)
  }

  package func encode(_ kind: PacketKind, _ writer: inout ByteWriter) {
    let flags = kind == .version ? protocolVersion : (mayRetry ? 1 : 0) | (isUnauthorized ? 2 : 0)
    encodeLongHeader(kind, flags: PacketFlags(rawValue: flags), connection, session, &writer)
  }
}

/// The 16 bytes that all packets but DATA begin with.
private func encodeLongHeader(
  _ kind: PacketKind, flags: PacketFlags, _ connection: UInt32, _ session: UInt64, _ writer: inout ByteWriter
) {
  writer.write(firstByte(kind))
  writer.write(flags.rawValue)
  writer.write(UInt16(0))
  writer.write(connection)
  writer.write(session)
}
