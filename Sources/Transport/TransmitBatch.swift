/// Datagrams for one peer that leave in one system call: `segmentSize` bytes each, the last one maybe shorter.
package struct Transmit: BitwiseCopyable {
  package var destination: PeerAddress
  /// First of its slices in the batch, and how many.
  package var firstSlice: Int
  package var sliceCount: Int
  /// Bytes of each datagram but the last.
  package var segmentSize: Int
  package var totalLength: Int
  package var connection: ConnectionIndex
}

/// What `pollTransmit` fills: transmits, the slices they gather from, and the memory of headers and small payloads.
///
/// Slices point into the arena and into memory of posted operations; both are unchanged until `removeAll`, provided
/// that the batch is sent or dropped before an operation's completion is handed to the program.
///
/// Not thread-safe; the owner serializes.
public struct TransmitBatch: ~Copyable {
  package static var maximumTransmits: Int { 32 }
  /// POSIX promises 16 slices a call, Linux 1024.
  package static var maximumSlicesPerTransmit: Int { 512 }
  static var maximumSlices: Int { 2048 }
  static var arenaSize: Int { 512 * 1024 }

  package private(set) var count = 0
  package let transmits: UnsafeMutablePointer<Transmit>
  package let slices: UnsafeMutablePointer<Slice>
  var sliceCount = 0
  var arenaUsed = 0
  let arena: UnsafeMutableRawPointer

  package init() {
    transmits = .allocate(capacity: Self.maximumTransmits)
    slices = .allocate(capacity: Self.maximumSlices)
    arena = .allocate(byteCount: Self.arenaSize, alignment: 64)
  }

  deinit {
    transmits.deallocate()
    slices.deallocate()
    arena.deallocate()
  }

  package var isEmpty: Bool { count == 0 }

  /// Where headers and small payloads lie. Slices that point elsewhere point into memory of posted operations, which
  /// stays unchanged until they are over.
  package var memory: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: arena, count: Self.arenaSize) }

  /// Forgets all transmits.
  package mutating func removeAll() {
    count = 0
    sliceCount = 0
    arenaUsed = 0
  }

  /// Whether another transmit of up to 64 KiB fits.
  var hasRoom: Bool {
    count < Self.maximumTransmits && sliceCount + Self.maximumSlicesPerTransmit <= Self.maximumSlices
      && arenaUsed + 80 * 1024 <= Self.arenaSize
  }

  mutating func append(_ transmit: Transmit) {
    transmits[count] = transmit
    count += 1
  }

  /// Appends memory to the transmit under construction, joining it to the slice before when they touch.
  @inline(__always)
  mutating func gather(_ base: UnsafeMutableRawPointer, _ length: Int, from firstSlice: Int) {
    if sliceCount > firstSlice {
      let last = slices + (sliceCount - 1)
      if last.pointee.base! + last.pointee.count == base {
        last.pointee.count += length
        return
      }
    }
    slices[sliceCount] = Slice(base: base, count: length)
    sliceCount += 1
  }
}
