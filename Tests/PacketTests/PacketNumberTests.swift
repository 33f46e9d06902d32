import Packet
import Testing

@Suite struct PacketNumberTests {
  /// Every number within 2^31 of the expected one comes back, checked around all edges.
  @Test func expandsTheNearestNumber() {
    let edges: [UInt64] = [0, 1, 100, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x1_0000_0000, 0x1_8000_0000, 1 << 40]
    let distances: [Int64] = [0, 1, 2, 1_000, 0x7FFF_FFFE, 0x7FFF_FFFF]
    for edge in edges {
      for offset in -3...3 as ClosedRange<Int64> where Int64(edge) + offset >= 0 {
        let expected = UInt64(Int64(edge) + offset)
        for distance in distances {
          let above = expected + UInt64(distance)
          #expect(PacketNumber.expand(UInt32(truncatingIfNeeded: above), expected: expected) == above)
          guard Int64(expected) >= distance else { continue }
          let below = expected - UInt64(distance)
          #expect(PacketNumber.expand(UInt32(truncatingIfNeeded: below), expected: expected) == below)
        }
      }
    }
  }

  /// Near zero there is no number below, so the low bits are the number.
  @Test func neverGoesBelowZero() {
    #expect(PacketNumber.expand(0xFFFF_FFFF, expected: 1) == 0xFFFF_FFFF)
    #expect(PacketNumber.expand(0x9000_0000, expected: 5) == 0x9000_0000)
  }

  @Test func neverTraps() {
    let low: [UInt32] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, .max]
    for expected in [UInt64.max, UInt64(Int64.max), UInt64(Int64.max) + 1, UInt64.max - 0xFFFF_FFFF] {
      for truncated in low {
        let number = PacketNumber.expand(truncated, expected: expected)
        #expect(UInt32(truncatingIfNeeded: number) == truncated)
      }
    }
  }
}
