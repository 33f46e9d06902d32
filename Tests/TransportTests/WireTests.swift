import Packet
import SimulationSupport
import Testing
import Transport

/// The bytes that an endpoint puts on the wire, as docs/PROTOCOL.md prints them.
@Suite struct WireTests {
  private static func bytes(_ hex: String) -> [UInt8] {
    let digits = hex.compactMap { $0.hexDigitValue.map(UInt8.init) }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
  }

  /// What follows the header of the first packet that carries `operation`, without acknowledgement and padding.
  private func frames(_ configure: (Bench) -> Void) -> [UInt8] {
    let bench = Bench { configuration, _ in configuration.interfaceDatagram = 1_200 }
    bench.establish()
    var captured: [UInt8]?
    bench.network.filter = { source, _, datagram in
      if source == 0 && captured == nil {
        var frames = Array(datagram[DataHeader.size...])
        if frames.first == FrameType.rangeAck.rawValue {
          frames.removeFirst(RangeAckFrame.size(runs: Int(frames[1]) + 1))
        }
        captured = frames
      }
      return true
    }
    configure(bench)
    bench.network.run(maximumSteps: 10_000)
    return captured ?? []
  }

  @Test func message() {
    #expect(frames { $0.post(size: 5) } == Self.bytes("10 00 0500 01000000") + Bench.pattern(5))
    #expect(
      frames { $0.post(size: 0, flags: [.tagged, .remoteData], tag: 0x1122_3344_5566_7788, data: 16) }
        == Self.bytes("10 03 0000 01000000 8877665544332211 1000000000000000"))
    #expect(
      frames { $0.post(size: 2, flags: .deliveryComplete) } == Self.bytes("10 04 0200 01000000") + Bench.pattern(2))
  }

  @Test func messageToContext() {
    #expect(frames { $0.post(size: 5, context: 0x0102) } == Self.bytes("10 10 0500 01000000 0201") + Bench.pattern(5))
    #expect(
      frames { $0.post(size: 0, flags: [.tagged, .remoteData], tag: 0x1122_3344_5566_7788, data: 16, context: 3) }
        == Self.bytes("10 13 0000 01000000 8877665544332211 1000000000000000 0300"))
    let fragment = frames { $0.post(size: 3_000, context: 0xFFFF) }
    #expect(fragment.count == 1_200 - DataHeader.size)
    #expect(Array(fragment.prefix(18)) == Self.bytes("11 10 8a04 01000000 b80b0000 00000000 ffff"))
    let announcement = frames { $0.post(size: 1 << 17, context: 3) }
    #expect(Array(announcement[0..<8]) == Self.bytes("13 10 0000 01000000"))
    #expect(Array(announcement[12...]) == Self.bytes("00000000 0000020000000000 0300"))
  }

  @Test func messageFragment() {
    let frame = frames { $0.post(size: 3_000, flags: .tagged, tag: 7) }
    #expect(frame.count == 1_200 - DataHeader.size)
    #expect(
      Array(frame.prefix(24))
        == Self.bytes("11 01 8404 01000000 b80b0000 00000000 0700000000000000"))
    #expect(Array(frame.dropFirst(24)) == Array(Bench.pattern(3_000).prefix(0x484)))
  }

  @Test func writeData() {
    #expect(
      frames { $0.post(.write, size: 4, segments: [RemoteSegment(address: 0x1000, length: 4, key: 7)]) }
        == Self.bytes(
          "12 10 0400 01000000 04000000 00000000 0010000000000000 0400000000000000 0700000000000000")
        + Bench.pattern(4))
  }

  @Test func atomic() {
    let segment = RemoteSegment(address: 0x1000, length: 4, key: 7)
    let code = AtomicCode(operation: 2, datatype: 4)
    let frame = frames { _ = $0.postAtomic(code, size: 4, flags: .remoteData, data: 16, segments: [segment]) }
    #expect(Array(frame[0..<16]) == Self.bytes("15 12 0400 01000000 04000000 00000000"))
    #expect(
      Array(frame[20...])
        == Self.bytes("0204 0000 1000000000000000 0010000000000000 0400000000000000 0700000000000000")
        + Bench.pattern(4))
    let compare = frames { _ = $0.postAtomic(code, size: 8, flags: .fetch, segments: [segment]) }
    #expect(Array(compare[0..<16]) == Self.bytes("15 18 0800 01000000 08000000 00000000"))
    #expect(
      Array(compare[20...])
        == Self.bytes("0204 0000 0010000000000000 0400000000000000 0700000000000000") + Bench.pattern(8))
    let fragment = frames { _ = $0.postAtomic(code, size: 3_000, segments: [segment]) }
    #expect(fragment.count == 1_200 - DataHeader.size)
    #expect(Array(fragment[0..<16]) == Self.bytes("15 10 6c04 01000000 b80b0000 00000000"))
    #expect(Array(fragment.dropFirst(48)) == Array(Bench.pattern(3_000).prefix(0x46C)))
  }

  @Test func transferNotify() {
    let frame = frames { $0.post(size: 1 << 17, flags: .tagged, tag: 7) }
    #expect(Array(frame[0..<8]) == Self.bytes("13 01 0000 01000000"))
    #expect(Array(frame[12..<32]) == Self.bytes("00000000 0000020000000000 0700000000000000"))
    #expect(frame.count == 32)
  }

  @Test func readRequest() {
    let frame = frames { $0.post(.read, size: 256, segments: [RemoteSegment(address: 16, length: 256, key: 9)]) }
    #expect(Array(frame[0..<8]) == Self.bytes("14 10 0000 01000000"))
    #expect(
      Array(frame[12...])
        == Self.bytes(
          "00000000 0001000000000000 0001000000000000 1000000000000000 0001000000000000 0900000000000000"))
  }
}
