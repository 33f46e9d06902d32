/// The checksum that kernels verify on every UDP datagram (RFC 1071), over the payload alone.
package func internetChecksum(_ bytes: UnsafeRawBufferPointer) -> UInt16 {
  var sum: UInt64 = 0
  var position = 0
  while position + 2 <= bytes.count {
    sum += UInt64(bytes.loadUnaligned(fromByteOffset: position, as: UInt16.self))
    position += 2
  }
  if position < bytes.count { sum += UInt64(bytes[position]) }
  while sum >> 16 != 0 { sum = (sum & 0xFFFF) + (sum >> 16) }
  return ~UInt16(sum)
}
