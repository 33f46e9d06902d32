import Packet
import Testing

/// The golden bytes of every packet, as docs/PROTOCOL.md prints them.
enum GoldenPacket {
  static let data = bytes("11 01 0000 78563412 8877665544332211 efbeadde")
  static let initial =
    bytes("21 00 0000 07000000 efcdab8967452301") + [UInt8](repeating: 0, count: 112)
  static let challenge =
    bytes("31 00 0000 07000000 efcdab8967452301 80b2b66600000000 7766554433221100")
  static let parameters =
    bytes("e3ff0000 00400300 00001000 00400000 30750000 19000000 00010000 00000000")
  static let confirm =
    bytes("41 01 0000 07000000 efcdab8967452301 01000000 00000000 80b2b66600000000 7766554433221100")
    + parameters
  static let reset = bytes("51 00 0000 07000000 efcdab8967452301")
  static let resetTryAgain = bytes("51 01 0000 07000000 efcdab8967452301")
  static let version = bytes("61 01 0000 07000000 efcdab8967452301")
}

private let session: UInt64 = 0x0123_4567_89AB_CDEF
private let cookie = Cookie(time: 0x66B6_B280, code: 0x0011_2233_4455_6677)
private let parameters = TransportParameters(
  maximumDatagram: 65_507, receiveBuffer: 212_992, initialCredit: 1 << 20, initialOperations: 16_384,
  maximumSilence: 30_000, maximumAckDelay: 25, maximumReads: 256)

@Suite struct PacketHeaderTests {
  @Test func firstByteIsKindAndVersion() {
    #expect(protocolVersion == 1)
    #expect(firstByte(.data) == 0x11)
    #expect(firstByte(.version) == 0x61)
    for raw in 0...255 as ClosedRange<UInt8> { #expect((PacketKind(rawValue: raw) != nil) == (1...6).contains(raw)) }
  }

  @Test func data() throws {
    let header = DataHeader(
      flags: .acknowledgeSoon, connection: 0x1234_5678, session: 0x1122_3344_5566_7788, packetNumber: 0xDEAD_BEEF)
    #expect(encoded(DataHeader.size) { header.encode(&$0) } == GoldenPacket.data)
    let decoded = try #require(whole(GoldenPacket.data) { DataHeader(&$0) })
    #expect(decoded.flags == .acknowledgeSoon)
    #expect(decoded.connection == 0x1234_5678)
    #expect(decoded.session == 0x1122_3344_5566_7788)
    #expect(decoded.packetNumber == 0xDEAD_BEEF)
  }

  @Test func initial() throws {
    let packet = InitialPacket(connection: 7, session: session)
    #expect(encoded(InitialPacket.size) { packet.encode(&$0) } == GoldenPacket.initial)
    let decoded = try #require(whole(GoldenPacket.initial) { InitialPacket(&$0) })
    #expect(decoded.connection == 7)
    #expect(decoded.session == session)
    #expect(InitialPacket.size >= 3 * ChallengePacket.size, "an answer is much smaller than its question")
  }

  @Test func challenge() throws {
    let packet = ChallengePacket(connection: 7, session: session, cookie: cookie)
    #expect(encoded(ChallengePacket.size) { packet.encode(&$0) } == GoldenPacket.challenge)
    let decoded = try #require(whole(GoldenPacket.challenge) { ChallengePacket(&$0) })
    #expect(decoded.connection == 7)
    #expect(decoded.session == session)
    #expect(decoded.cookie.time == cookie.time)
    #expect(decoded.cookie.code == cookie.code)
  }

  @Test func confirm() throws {
    let header = ConfirmHeader(
      flags: .acknowledgeSoon, connection: 7, session: session, packetNumber: 1, cookie: cookie,
      parameters: parameters)
    #expect(encoded(ConfirmHeader.size) { header.encode(&$0) } == GoldenPacket.confirm)
    let decoded = try #require(whole(GoldenPacket.confirm) { ConfirmHeader(&$0) })
    #expect(decoded.flags == .acknowledgeSoon)
    #expect(decoded.connection == 7)
    #expect(decoded.session == session)
    #expect(decoded.packetNumber == 1)
    #expect(decoded.cookie.time == cookie.time)
    #expect(decoded.cookie.code == cookie.code)
    expectEqual(decoded.parameters, parameters)
  }

  @Test func confirmWithAKey() throws {
    let header = ConfirmHeader(
      flags: .acknowledgeSoon, connection: 7, session: session, packetNumber: 1, cookie: cookie,
      parameters: parameters, authorization: 0x8877_6655_4433_2211)
    let golden = GoldenPacket.confirm.dropLast(4) + bytes("01000000 1122334455667788")
    #expect(encoded(ConfirmHeader.size + 8) { header.encode(&$0) } == Array(golden))
    let decoded = try #require(whole(Array(golden)) { ConfirmHeader(&$0) })
    #expect(decoded.authorization == 0x8877_6655_4433_2211 && decoded.cookie.code == cookie.code)
    refusesTruncation(Array(golden)) { ConfirmHeader(&$0) != nil }
  }

  @Test func transportParameters() throws {
    var distinct = parameters
    distinct.features = 0x8000_0001
    let golden = GoldenPacket.parameters.dropLast(4) + bytes("01000080")
    #expect(encoded(TransportParameters.size) { distinct.encode(&$0) } == Array(golden))
    expectEqual(try #require(whole(Array(golden)) { TransportParameters(&$0) }), distinct)
  }

  @Test func resetAndVersion() throws {
    let packet = ResetPacket(connection: 7, session: session)
    #expect(encoded(ResetPacket.size) { packet.encode(.reset, &$0) } == GoldenPacket.reset)
    #expect(encoded(ResetPacket.size) { packet.encode(.version, &$0) } == GoldenPacket.version)
    let retry = ResetPacket(connection: 7, session: session, mayRetry: true)
    #expect(encoded(ResetPacket.size) { retry.encode(.reset, &$0) } == GoldenPacket.resetTryAgain)
    let stranger = ResetPacket(connection: 7, session: session, isUnauthorized: true)
    let unauthorized = bytes("51 02 0000 07000000 efcdab8967452301")
    #expect(encoded(ResetPacket.size) { stranger.encode(.reset, &$0) } == unauthorized)
    #expect(try #require(whole(unauthorized) { ResetPacket(&$0) }).isUnauthorized)
    for golden in [GoldenPacket.reset, GoldenPacket.resetTryAgain] {
      let decoded = try #require(whole(golden) { ResetPacket(&$0) })
      #expect(decoded.connection == 7)
      #expect(decoded.session == session)
      #expect(decoded.mayRetry == (golden == GoldenPacket.resetTryAgain))
    }
  }

  /// What every kind of header does with a datagram that is cut off anywhere: nothing, the cursor stays.
  @Test func truncatedPacketsAreRefused() {
    refusesTruncation(GoldenPacket.data) { DataHeader(&$0) != nil }
    refusesTruncation(GoldenPacket.initial) { InitialPacket(&$0) != nil }
    refusesTruncation(GoldenPacket.challenge) { ChallengePacket(&$0) != nil }
    refusesTruncation(GoldenPacket.confirm) { ConfirmHeader(&$0) != nil }
    refusesTruncation(GoldenPacket.parameters) { TransportParameters(&$0) != nil }
    refusesTruncation(GoldenPacket.reset) { ResetPacket(&$0) != nil }
  }

  /// Trailing bytes belong to whatever follows.
  @Test func headersEndWhereTheySay() {
    for (golden, read) in [
      (GoldenPacket.data, { (reader: inout ByteReader) in DataHeader(&reader) != nil }),
      (GoldenPacket.confirm, { (reader: inout ByteReader) in ConfirmHeader(&reader) != nil }),
    ] {
      withReader(golden + [1, 2, 3]) { reader in
        let accepted = read(&reader)
        #expect(accepted)
        #expect(reader.remaining == 3)
      }
    }
  }

  private func whole<Value>(_ bytes: [UInt8], _ read: (inout ByteReader) -> Value?) -> Value? {
    withReader(bytes) { reader in
      let value = read(&reader)
      #expect(reader.remaining == 0)
      return value
    }
  }

  private func expectEqual(_ left: TransportParameters, _ right: TransportParameters) {
    #expect(left.maximumDatagram == right.maximumDatagram)
    #expect(left.receiveBuffer == right.receiveBuffer)
    #expect(left.initialCredit == right.initialCredit)
    #expect(left.initialOperations == right.initialOperations)
    #expect(left.maximumSilence == right.maximumSilence)
    #expect(left.maximumAckDelay == right.maximumAckDelay)
    #expect(left.maximumReads == right.maximumReads)
    #expect(left.features == right.features)
  }
}

/// Every proper prefix makes `read` fail and leaves the reader where it was.
func refusesTruncation(_ bytes: [UInt8], _ read: (inout ByteReader) -> Bool) {
  for length in 0..<bytes.count {
    withReader(bytes[..<length]) { reader in
      if read(&reader) { Issue.record("accepted \(length) of \(bytes.count) bytes") }
      if reader.remaining != length { Issue.record("moved on although \(length) bytes are too few") }
    }
  }
  let wholeIsValid = withReader(bytes, read)
  #expect(wholeIsValid)
}
