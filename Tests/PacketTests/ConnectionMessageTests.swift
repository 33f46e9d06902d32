import Packet
import Testing

/// The bodies of messages about connections, docs/PROTOCOL.md section 9.
@Suite struct ConnectionMessageTests {
  private let golden = bytes("01 01 0500 00000000 efcdab8967452301 68656c6c6f")

  private func parse(_ bytes: [UInt8]) -> (kind: ConnectionMessageKind, identifier: UInt64, data: [UInt8])? {
    withReader(bytes) { reader in
      let memory = UnsafeRawBufferPointer(start: reader.position, count: reader.remaining)
      guard let message = ConnectionMessage(memory) else { return nil }
      return (message.kind, message.identifier, Array(message.data))
    }
  }

  @Test func encodesAndParses() throws {
    let data = Array("hello".utf8)
    let written = data.withUnsafeBytes { data in
      encoded(ConnectionMessage.headerSize + 5) { writer in
        ConnectionMessage(kind: .request, identifier: 0x0123_4567_89AB_CDEF, data: data).encode(&writer)
      }
    }
    #expect(written == golden)
    let message = try #require(parse(golden))
    #expect(message == (.request, 0x0123_4567_89AB_CDEF, data))
    let empty = encoded(ConnectionMessage.headerSize) { writer in
      let nothing = UnsafeRawBufferPointer(start: nil, count: 0)
      ConnectionMessage(kind: .reject, identifier: 1, data: nothing).encode(&writer)
    }
    #expect(try #require(parse(empty)) == (.reject, 1, []))
  }

  @Test func takesTheLongestDataAndNoMore() {
    func body(_ length: Int) -> [UInt8] {
      bytes("02 01") + [UInt8(length & 0xFF), UInt8(length >> 8)] + bytes("00000000 0100000000000000")
        + [UInt8](repeating: 7, count: length)
    }
    #expect(parse(body(ConnectionMessage.maximumData))?.data.count == ConnectionMessage.maximumData)
    #expect(parse(body(ConnectionMessage.maximumData + 1)) == nil)
    #expect(parse(body(0xFFFF)) == nil)
  }

  @Test func refusesWhatIsMalformed() {
    for count in 0..<golden.count { #expect(parse(Array(golden.prefix(count))) == nil) }
    #expect(parse(golden + [0]) == nil)
    for kind in [0, 4, 255] as [UInt8] { #expect(parse([kind] + golden.dropFirst()) == nil) }
    for version in [0, 2, 255] as [UInt8] { #expect(parse([1, version] + golden.dropFirst(2)) == nil) }
    #expect(parse(Array(golden.prefix(8)) + [UInt8](repeating: 0, count: 8) + golden.suffix(5)) == nil)
    #expect(parse(Array(golden.prefix(4)) + bytes("ffffffff") + golden.suffix(13)) != nil)
  }
}
