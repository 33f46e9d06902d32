/// What the messages for context FFFF, the management of connections, are about.
package enum ConnectionMessageKind: UInt8, BitwiseCopyable {
  /// To a listener: please connect.
  case request = 1
  /// From the endpoint that the listener's program has made for the connection.
  case accept = 2
  /// From the listener.
  case reject = 3
}

/// The body of a message that begins a connection, or refuses to: kind u8, version u8, length u16, reserved u32,
/// identifier u64, then `length` bytes of the program's. docs/PROTOCOL.md section 9.
package struct ConnectionMessage: BitwiseCopyable {
  /// Without the program's bytes.
  package static var headerSize: Int { 16 }
  /// Most bytes of the program's: with them the body fits one packet on every path.
  package static var maximumData: Int { 256 }
  package static var maximumSize: Int { headerSize + maximumData }
  package static var version: UInt8 { 1 }

  package var kind: ConnectionMessageKind
  /// Chosen by the initiator at random; never 0.
  package var identifier: UInt64
  /// The program's bytes, in the message that was parsed or for the one to be encoded.
  package var data: UnsafeRawBufferPointer

  package init(kind: ConnectionMessageKind, identifier: UInt64, data: UnsafeRawBufferPointer) {
    self.kind = kind
    self.identifier = identifier
    self.data = data
  }

  /// Reads a whole body; nil if it is malformed, of another version, or longer than any may be.
  package init?(_ bytes: UnsafeRawBufferPointer) {
    var reader = ByteReader(bytes)
    guard reader.has(Self.headerSize), bytes.count <= Self.maximumSize,
      let kind = ConnectionMessageKind(rawValue: reader.peek(0, as: UInt8.self)),
      reader.peek(1, as: UInt8.self) == Self.version
    else { return nil }
    let length = Int(reader.peek(2, as: UInt16.self))
    let identifier = reader.peek(8, as: UInt64.self)
    reader.skip(Self.headerSize)
    guard reader.remaining == length, identifier != 0 else { return nil }
    self.init(
      kind: kind, identifier: identifier, data: UnsafeRawBufferPointer(start: reader.position, count: length))
  }

  /// Writes the body; there is room for `headerSize` and the data, which is at most `maximumData`.
  package func encode(_ writer: inout ByteWriter) {
    writer.write(kind.rawValue)
    writer.write(Self.version)
    writer.write(UInt16(data.count))
    writer.write(UInt32(0))
    writer.write(identifier)
    if let base = data.baseAddress { writer.write(base, count: data.count) }
  }
}
