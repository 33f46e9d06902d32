import Packet
import Testing

/// The fields of an `OrderedFrame` without its pointers.
private struct Fields: Equatable {
  var type: FrameType
  var flags: UInt8
  var token: UInt32 = 0
  var total: UInt64 = 0
  var offset: UInt64 = 0
  var limit: UInt64 = 0
  var tag: UInt64 = 0
  var data: UInt64 = 0
  var context: UInt16 = 0
  /// Operation and datatype.
  var atomic: [UInt8] = [0, 0]
  var segments: [[UInt64]] = []
  var payload: [UInt8] = []
}

@Suite struct OrderedFrameTests {
  private func decode(_ frame: some Collection<UInt8>, operation: UInt32 = 42) -> Fields? {
    withReader(frame) { reader in
      let start = reader.position
      let type = FrameType(rawValue: frame.first!)!
      guard let frame = OrderedFrame(type, &reader) else { return nil }
      #expect(frame.type == type)
      #expect(frame.operation == operation)
      #expect(frame.start == start)
      #expect(frame.encodedSize == reader.position - start)
      #expect(frame.encodedSize == OrderedFrame.overhead(type, frame.flags) + frame.payloadLength)
      return Fields(
        type: type, flags: frame.flags.rawValue, token: frame.token, total: frame.total, offset: frame.offset,
        limit: frame.limit, tag: frame.tag, data: frame.data, context: frame.context,
        atomic: [frame.atomic.operation, frame.atomic.datatype],
        segments: (0..<frame.segmentCount).map {
          let segment = RemoteSegment(encoded: frame.segments, at: $0)
          return [segment.address, segment.length, segment.key]
        },
        payload: pattern(frame.payload, frame.payloadLength))
    }
  }

  @Test func message() {
    #expect(
      decode(GoldenFrame.message) == Fields(type: .message, flags: 0, total: 5, payload: Array("hello".utf8)))
    #expect(decode(GoldenFrame.messageEmpty, operation: 43) == Fields(type: .message, flags: 0))
    #expect(
      decode(GoldenFrame.messageTaggedWithData)
        == Fields(
          type: .message, flags: 3, total: 5, tag: 0x1122_3344_5566_7788, data: 16, payload: Array("hello".utf8)))
  }

  @Test func messageFragment() {
    #expect(
      decode(GoldenFrame.messageFragment)
        == Fields(type: .messageFragment, flags: 4, total: 0x2000, offset: 0x1FFD, payload: [1, 2, 3]))
    #expect(
      decode(GoldenFrame.messageFragmentTagged)
        == Fields(
          type: .messageFragment, flags: 1, total: 0x2000, offset: 0x1FFD, tag: 0x1122_3344_5566_7788,
          payload: [1, 2, 3]))
  }

  @Test func context() {
    #expect(
      decode(GoldenFrame.messageToContext)
        == Fields(type: .message, flags: 0x10, total: 5, context: 0x0102, payload: Array("hello".utf8)))
    #expect(
      decode(GoldenFrame.messageTaggedWithDataToContext)
        == Fields(
          type: .message, flags: 0x13, total: 5, tag: 0x1122_3344_5566_7788, data: 16, context: 0xFFFE,
          payload: Array("hello".utf8)))
    #expect(
      decode(GoldenFrame.messageFragmentToContext)
        == Fields(
          type: .messageFragment, flags: 0x11, total: 0x2000, offset: 0x1FFD, tag: 0x1122_3344_5566_7788, context: 3,
          payload: [1, 2, 3]))
    #expect(
      decode(GoldenFrame.transferNotifyToContext)
        == Fields(type: .transferNotify, flags: 0x14, token: 5, total: 1 << 32, context: 3))
    // A segment is none.
    #expect(decode(GoldenFrame.readRequest)?.context == 0 && decode(GoldenFrame.transferNotifyWrite)?.context == 0)
  }

  @Test func writeData() {
    #expect(
      decode(GoldenFrame.writeData)
        == Fields(
          type: .writeData, flags: 0x16, total: 4, data: 16, segments: [[0xFFA0_1000, 4, 7]],
          payload: [0xC0, 0xFF, 0xEE, 0x11]))
  }

  @Test func transferNotify() {
    #expect(
      decode(GoldenFrame.transferNotify)
        == Fields(type: .transferNotify, flags: 5, token: 5, total: 1 << 32, tag: 0x1122_3344_5566_7788))
    #expect(
      decode(GoldenFrame.transferNotifyWrite)
        == Fields(
          type: .transferNotify, flags: 0x28, token: 5, total: 1 << 32,
          segments: [[0xFFA0_1000, 0xFFFF_F000, 7], [0xFFA0_2000, 0x1000, 8]]))
  }

  @Test func readRequest() {
    #expect(
      decode(GoldenFrame.readRequest)
        == Fields(
          type: .readRequest, flags: 0x10, token: 5, total: 1 << 20, limit: 1 << 16,
          segments: [[0xFFA0_1000, 1 << 20, 7]]))
  }

  @Test func atomic() {
    #expect(
      decode(GoldenFrame.atomic)
        == Fields(
          type: .atomic, flags: 0x12, token: 5, total: 4, data: 16, atomic: [2, 4], segments: [[0xFFA0_1000, 4, 7]],
          payload: [0xC0, 0xFF, 0xEE, 0x11]))
    #expect(
      decode(GoldenFrame.atomicFragmentOfCompare)
        == Fields(
          type: .atomic, flags: 0x28, token: 5, total: 0x2000, offset: 0x1FFD, atomic: [12, 7],
          segments: [[0xFFA0_1000, 0xFF0, 7], [0xFFA0_2000, 0x10, 8]], payload: [1, 2, 3]))
    #expect(
      decode(GoldenFrame.atomicRead)
        == Fields(type: .atomic, flags: 0x18, token: 5, atomic: [10, 9], segments: [[0xFFA0_1000, 8, 7]]))
  }

  @Test func flags() {
    for count in 0...7 { #expect(FrameFlags.segments(count).segmentCount == count) }
    #expect(FrameFlags.segments(3).rawValue == 0x30)
    #expect(FrameFlags([.tagged, .remoteData, .wantsDone, .write]).rawValue == 0x0F)
    #expect(FrameFlags([.tagged, .write, .segments(4)]).segmentCount == 4)
  }

  @Test func truncatedFramesAreRefused() {
    for golden in GoldenFrame.ordered {
      refusesTruncation(golden) { OrderedFrame(FrameType(rawValue: golden[0])!, &$0) != nil }
    }
  }

  @Test func impossibleFramesAreRefused() {
    // A payload that leaves the whole, in either direction.
    var fragment = GoldenFrame.messageFragment
    fragment[12] = 0xFE
    #expect(decode(fragment) == nil)
    fragment.replaceSubrange(12..<16, with: [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(decode(fragment) == nil)
    // More segments than the protocol allows, though the bytes are there.
    for type in 0x10...0x15 as ClosedRange<UInt8> {
      for count in 0...7 as ClosedRange<UInt8> {
        var frame = [UInt8](repeating: 0, count: 300)
        frame[0] = type
        frame[1] = count << 4 | (type == 0x13 ? FrameFlags.write.rawValue : 0)
        // Of a message the lowest of the bits says that it names a context, and no other may be there.
        #expect((decode(frame, operation: 0) != nil) == (count <= (type < 0x12 ? 1 : 4)), "type \(type) count \(count)")
      }
    }
  }

  /// Every type with every flags byte and every length around what it needs.
  @Test func everyFlagByteIsSafe() {
    for type in 0x10...0x15 as ClosedRange<UInt8> {
      for flags in 0...255 as ClosedRange<UInt8> {
        let overhead = OrderedFrame.overhead(FrameType(rawValue: type)!, FrameFlags(rawValue: flags))
        for length in [0, 7, 8, overhead - 1, overhead, overhead + 1] {
          var frame = [UInt8](repeating: 0, count: length)
          if length > 0 { frame[0] = type }
          if length > 1 { frame[1] = flags }
          let accepted = withReader(frame) { OrderedFrame(FrameType(rawValue: type)!, &$0) != nil }
          let isMessage = type <= 0x11 || type == 0x13 && flags & FrameFlags.write.rawValue == 0
          if accepted != (length >= overhead && flags >> 4 & 7 <= (isMessage ? 1 : 4)) {
            Issue.record("type \(type) flags \(flags) length \(length): \(accepted)")
          }
        }
      }
    }
  }

  /// Random bytes through every decoder: none traps, none leaves the datagram, an accepted one moves on.
  @Test func randomBytesNeverTrap() {
    var random = Splitmix(state: 3)
    for round in 0..<300_000 {
      var datagram = (0..<Int(random.next() % 96)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      // Half of the rounds with small lengths, so that frames fit.
      if round % 2 == 0 { for index in datagram.indices where index % 2 == 1 && index > 1 { datagram[index] = 0 } }
      withReader(datagram) { reader in
        for kind in 0..<19 {
          var copy = reader
          let accepted = readAny(kind, &copy)
          if accepted != (copy.position > reader.position) { Issue.record("decoder \(kind) on \(datagram)") }
          if copy.remaining < 0 { Issue.record("decoder \(kind) left \(datagram)") }
        }
      }
    }
  }

  private func readAny(_ kind: Int, _ reader: inout ByteReader) -> Bool {
    switch kind {
    case 0: return DataHeader(&reader) != nil
    case 1: return InitialPacket(&reader) != nil
    case 2: return ChallengePacket(&reader) != nil
    case 3: return ConfirmHeader(&reader) != nil
    case 4: return ResetPacket(&reader) != nil
    case 5: return ShortFrame.decode(&reader)
    case 6: return RangeAckFrame(&reader) != nil
    case 7: return AcceptFrame(&reader) != nil
    case 8: return CreditFrame(&reader) != nil
    case 9: return PullRequestFrame(&reader) != nil
    case 10: return OperationDoneFrame(&reader) != nil
    case 11: return readPayload(DataChunkFrame(&reader).map { ($0.payload, $0.payloadLength) }, reader)
    case 12: return readPayload(ReadResponseFrame(&reader).map { ($0.payload, $0.payloadLength) }, reader)
    default:
      let frame = OrderedFrame(FrameType(rawValue: UInt8(0x10 + kind - 13))!, &reader)
      return readPayload(frame.map { ($0.payload, $0.payloadLength) }, reader)
    }
  }

  /// Touches the payload, so that a sanitizer sees one that leaves the datagram.
  private func readPayload(_ payload: (UnsafeRawPointer, Int)?, _ reader: ByteReader) -> Bool {
    guard let (start, count) = payload else { return false }
    if start + count != reader.position { Issue.record("payload does not end its frame") }
    var sum: UInt8 = 0
    for byte in UnsafeRawBufferPointer(start: start, count: count) { sum &+= byte }
    return sum == sum
  }
}
