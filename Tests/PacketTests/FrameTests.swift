import Packet
import Testing

/// The golden bytes of every frame, as docs/PROTOCOL.md prints them.
enum GoldenFrame {
  static let probe = bytes("01 00 0000")
  static let rangeAck = bytes("02 01 6400 0c000000 03000000 02000000 05000000")
  static let accept = bytes("03 00 0000 09000000 1032547698badcfe") + GoldenPacket.parameters
  static let close = bytes("04 00 0000")
  static let credit = bytes("05 00 0000 40420000 0000200000000000")
  static let pullRequest = bytes("06 00 0000 2a000000 05000000 08000000 0000040000000000")
  static let pullRequestOfRead = bytes("06 01 0000 2a000000 05000000 08000000 0000040000000000")
  static let operationDone = bytes("07 01 0300 2a000000")
  static let dataChunk = bytes("08 00 0400 08000000 2a000000 0010000001000000 c0ffee11")
  static let readResponse = bytes("09 00 0400 05000000 2a000000 08000000 0010000001000000 c0ffee11")

  static let message = bytes("10 00 0500 2a000000 68656c6c6f")
  static let messageEmpty = bytes("10 00 0000 2b000000")
  static let messageTaggedWithData =
    bytes("10 03 0500 2a000000 8877665544332211 1000000000000000 68656c6c6f")
  static let messageToContext = bytes("10 10 0500 2a000000 0201 68656c6c6f")
  static let messageTaggedWithDataToContext =
    bytes("10 13 0500 2a000000 8877665544332211 1000000000000000 feff 68656c6c6f")
  static let messageFragmentToContext = bytes("11 11 0300 2a000000 00200000 fd1f0000 8877665544332211 0300 010203")
  static let messageFragment = bytes("11 04 0300 2a000000 00200000 fd1f0000 010203")
  static let messageFragmentTagged = bytes("11 01 0300 2a000000 00200000 fd1f0000 8877665544332211 010203")
  static let writeData =
    bytes(
      """
      12 16 0400 2a000000 04000000 00000000
      1000000000000000
      0010a0ff00000000 0400000000000000 0700000000000000
      c0ffee11
      """)
  static let transferNotify = bytes("13 05 0000 2a000000 05000000 00000000 0000000001000000 8877665544332211")
  static let transferNotifyToContext =
    bytes("13 14 0000 2a000000 05000000 00000000 0000000001000000 0300")
  static let transferNotifyWrite =
    bytes(
      """
      13 28 0000 2a000000 05000000 00000000 0000000001000000
      0010a0ff00000000 00f0ffff00000000 0700000000000000
      0020a0ff00000000 0010000000000000 0800000000000000
      """)
  static let readRequest =
    bytes(
      """
      14 10 0000 2a000000 05000000 00000000 0000100000000000 0000010000000000
      0010a0ff00000000 0000100000000000 0700000000000000
      """)
  static let atomic =
    bytes(
      """
      15 12 0400 2a000000 04000000 00000000 05000000 0204 0000
      1000000000000000
      0010a0ff00000000 0400000000000000 0700000000000000
      c0ffee11
      """)
  static let atomicFragmentOfCompare =
    bytes(
      """
      15 28 0300 2a000000 00200000 fd1f0000 05000000 0c07 0000
      0010a0ff00000000 f00f000000000000 0700000000000000
      0020a0ff00000000 1000000000000000 0800000000000000
      010203
      """)
  static let atomicRead =
    bytes(
      """
      15 18 0000 2a000000 00000000 00000000 05000000 0a09 0000
      0010a0ff00000000 0800000000000000 0700000000000000
      """)

  static let ordered = [
    message, messageEmpty, messageTaggedWithData, messageFragment, messageFragmentTagged, writeData, transferNotify,
    transferNotifyWrite, readRequest, messageToContext, messageTaggedWithDataToContext, messageFragmentToContext,
    transferNotifyToContext, atomic, atomicFragmentOfCompare, atomicRead,
  ]
}

@Suite struct FrameTests {
  @Test func types() {
    let ordered: [FrameType] = [.message, .messageFragment, .writeData, .transferNotify, .readRequest, .atomic]
    var known = 0
    for raw in 0...255 as ClosedRange<UInt8> {
      guard let type = FrameType(rawValue: raw) else { continue }
      known += 1
      #expect(type.isOrdered == ordered.contains(type))
    }
    #expect(known == 16)
    for status in 0...255 as ClosedRange<UInt8> {
      #expect((OperationStatus(rawValue: status) != nil) == (status < 6))
    }
  }

  @Test func probeAndClose() {
    #expect(encoded(ShortFrame.size) { ShortFrame.encode(.probe, &$0) } == GoldenFrame.probe)
    #expect(encoded(ShortFrame.size) { ShortFrame.encode(.close, &$0) } == GoldenFrame.close)
    refusesTruncation(GoldenFrame.probe) { ShortFrame.decode(&$0) }
  }

  @Test func rangeAck() {
    var ranges = AckRanges()
    for number in [1, 2, 3, 4, 5] as [UInt64] { ranges.insert(number) }
    for number in [10, 11, 12] as [UInt64] { ranges.insert(number - 2) }
    #expect(encoded(20) { RangeAckFrame.encode(&ranges, delay: 100, &$0) } != GoldenFrame.rangeAck)
    ranges = AckRanges()
    for number in [3, 4, 5, 6, 7, 10, 11, 12] as [UInt64] { ranges.insert(number) }
    #expect(encoded(20) { RangeAckFrame.encode(&ranges, delay: 100, &$0) } == GoldenFrame.rangeAck)
    let delay = withReader(GoldenFrame.rangeAck) { RangeAckFrame(&$0)?.delay }
    #expect(delay == 100)
    refusesTruncation(GoldenFrame.rangeAck) { RangeAckFrame(&$0) != nil }
  }

  @Test func accept() throws {
    let parameters = try #require(withReader(GoldenPacket.parameters) { TransportParameters(&$0) })
    let frame = AcceptFrame(connection: 9, session: 0xFEDC_BA98_7654_3210, parameters: parameters)
    #expect(encoded(AcceptFrame.size) { frame.encode(&$0) } == GoldenFrame.accept)
    let decoded = try #require(withReader(GoldenFrame.accept) { AcceptFrame(&$0) })
    #expect(decoded.connection == 9)
    #expect(decoded.session == 0xFEDC_BA98_7654_3210)
    #expect(decoded.parameters.maximumReads == 256)
    refusesTruncation(GoldenFrame.accept) { AcceptFrame(&$0) != nil }
  }

  @Test func credit() throws {
    let frame = CreditFrame(operations: 0x4240, bytes: 0x20_0000)
    #expect(encoded(CreditFrame.size) { frame.encode(&$0) } == GoldenFrame.credit)
    let decoded = try #require(withReader(GoldenFrame.credit) { CreditFrame(&$0) })
    #expect(decoded.operations == 0x4240)
    #expect(decoded.bytes == 0x20_0000)
    refusesTruncation(GoldenFrame.credit) { CreditFrame(&$0) != nil }
  }

  @Test(arguments: [false, true])
  func pullRequest(isRead: Bool) throws {
    let golden = isRead ? GoldenFrame.pullRequestOfRead : GoldenFrame.pullRequest
    let frame = PullRequestFrame(isRead: isRead, operation: 42, token: 5, transfer: 8, limit: 0x4_0000)
    #expect(encoded(PullRequestFrame.size) { frame.encode(&$0) } == golden)
    let decoded = try #require(withReader(golden) { PullRequestFrame(&$0) })
    #expect(decoded.isRead == isRead)
    #expect(decoded.operation == 42)
    #expect(decoded.token == 5)
    #expect(decoded.transfer == 8)
    #expect(decoded.limit == 0x4_0000)
    refusesTruncation(golden) { PullRequestFrame(&$0) != nil }
  }

  @Test func operationDone() throws {
    let frame = OperationDoneFrame(status: OperationStatus.accessDenied.rawValue, count: 3, operation: 42)
    #expect(encoded(OperationDoneFrame.size) { frame.encode(&$0) } == GoldenFrame.operationDone)
    let decoded = try #require(withReader(GoldenFrame.operationDone) { OperationDoneFrame(&$0) })
    #expect(decoded.status == 1)
    #expect(decoded.count == 3)
    #expect(decoded.operation == 42)
    refusesTruncation(GoldenFrame.operationDone) { OperationDoneFrame(&$0) != nil }
  }

  @Test func dataChunk() throws {
    let head = encoded(DataChunkFrame.overhead) {
      DataChunkFrame.encode(transfer: 8, operation: 42, offset: 0x1_0000_1000, length: 4, &$0)
    }
    #expect(head + bytes("c0ffee11") == GoldenFrame.dataChunk)
    withReader(GoldenFrame.dataChunk) { reader in
      let frame = DataChunkFrame(&reader)
      #expect(frame?.transfer == 8)
      #expect(frame?.operation == 42)
      #expect(frame?.offset == 0x1_0000_1000)
      #expect(frame.map { pattern($0.payload, $0.payloadLength) } == bytes("c0ffee11"))
      #expect(reader.remaining == 0)
    }
    refusesTruncation(GoldenFrame.dataChunk) { DataChunkFrame(&$0) != nil }
  }

  @Test func readResponse() throws {
    let head = encoded(ReadResponseFrame.overhead) {
      ReadResponseFrame.encode(token: 5, operation: 42, responder: 8, offset: 0x1_0000_1000, length: 4, &$0)
    }
    #expect(head + bytes("c0ffee11") == GoldenFrame.readResponse)
    withReader(GoldenFrame.readResponse) { reader in
      let frame = ReadResponseFrame(&reader)
      #expect(frame?.token == 5)
      #expect(frame?.operation == 42)
      #expect(frame?.responder == 8)
      #expect(frame?.offset == 0x1_0000_1000)
      #expect(frame.map { pattern($0.payload, $0.payloadLength) } == bytes("c0ffee11"))
      #expect(reader.remaining == 0)
    }
    refusesTruncation(GoldenFrame.readResponse) { ReadResponseFrame(&$0) != nil }
  }

  @Test func remoteSegment() {
    let segment = RemoteSegment(address: 0xFFA0_1000, length: 4, key: 7)
    let golden = bytes("0010a0ff00000000 0400000000000000 0700000000000000")
    #expect(encoded(RemoteSegment.encodedSize) { segment.encode(&$0) } == golden)
    (bytes("ff") + golden + golden).withUnsafeBytes { memory in
      let decoded = RemoteSegment(encoded: memory.baseAddress! + 1, at: 1)
      #expect(decoded.address == 0xFFA0_1000)
      #expect(decoded.length == 4)
      #expect(decoded.key == 7)
    }
  }
}
