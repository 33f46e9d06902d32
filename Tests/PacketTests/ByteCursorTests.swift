import Packet
import Testing

@Suite struct ByteCursorTests {
  @Test func readsLittleEndianAtAnyAlignment() {
    for shift in 0..<8 {
      let memory = [UInt8](repeating: 0xEE, count: shift) + bytes("01 0302 07060504 0f0e0d0c0b0a0908")
      withReader(memory) { reader in
        reader.skip(shift)
        #expect(reader.peek(0, as: UInt8.self) == 1)
        #expect(reader.peek(1, as: UInt16.self) == 0x0203)
        #expect(reader.peek(3, as: UInt32.self) == 0x0405_0607)
        #expect(reader.peek(7, as: UInt64.self) == 0x0809_0A0B_0C0D_0E0F)
        #expect(reader.remaining == 15)
      }
    }
  }

  @Test func knowsWhatRemains() {
    for count in 0...4 {
      withReader([UInt8](repeating: 0, count: count)) { reader in
        for wanted in -1...5 { #expect(reader.has(wanted) == (0...count ~= wanted)) }
      }
    }
    let empty = ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
    #expect(empty.remaining == 0)
    #expect(empty.has(0) && !empty.has(1))
    #expect(!empty.has(.max))
  }

  @Test func writesLittleEndianAtAnyAlignment() {
    for shift in 0..<8 {
      let written = encoded(shift + 15 + 3 + 2 + 4) { writer in
        writer.pad(shift)
        writer.write(UInt8(1))
        writer.write(UInt16(0x0203))
        writer.write(UInt32(0x0405_0607))
        writer.write(UInt64(0x0809_0A0B_0C0D_0E0F))
        writer.pad(3)
        writer.skip(2)
        [9, 8, 7, 6].withUnsafeBytes { writer.write($0.baseAddress!, count: 4) }
        #expect(writer.remaining == 0)
      }
      let expected =
        [UInt8](repeating: 0, count: shift)
        + bytes("01 0302 07060504 0f0e0d0c0b0a0908 000000 eeee 09000000")
      #expect(written == expected)
    }
  }
}
