/// Packet numbers count up from 1 in each direction of a connection and are never reused (RFC 9000 section 12.3).
///
/// 32 of their 64 bits travel.
package enum PacketNumber {
  /// The full number nearest to `expected` whose low 32 bits are `truncated` (RFC 9000 appendix A.3).
  @inline(__always)
  package static func expand(_ truncated: UInt32, expected: UInt64) -> UInt64 {
    let difference = Int64(Int32(bitPattern: truncated &- UInt32(truncatingIfNeeded: expected)))
    let candidate = Int64(bitPattern: expected) &+ difference
    return candidate >= 0 ? UInt64(candidate) : UInt64(truncated)
  }
}
