/// Buffers of powers of two between 64 bytes and 128 KiB, kept for reuse.
///
/// A buffer that was given back is the first to be handed out again, so a program in steady state never reaches the
/// heap. After a burst no more than `keptLimit` bytes stay; the rest goes back to the heap. What is in use is bounded by
/// the pool's users: injected payloads by the transmit queue, unexpected payloads by the credits that were granted.
///
/// Not thread-safe; the owner serializes.
public struct BufferPool: ~Copyable {
  package static var smallest: Int { 64 }
  package static var largest: Int { 128 * 1024 }
  private static var classes: Int { 12 }

  /// Bytes that came from the heap, in use or kept.
  package private(set) var reserved = 0
  /// Bytes that wait to be used again; at most `keptLimit`.
  package private(set) var kept = 0
  package let keptLimit: Int
  private var free = InlineArray<12, UnsafeMutableRawPointer?>(repeating: nil)

  package init(keeping limit: Int = 8 << 20) { keptLimit = limit }

  deinit {
    for index in 0..<Self.classes {
      var next = free[index]
      while let buffer = next {
        next = buffer.load(as: UnsafeMutableRawPointer?.self)
        buffer.deallocate()
      }
    }
  }

  @inline(__always)
  private static func sizeClass(_ count: Int) -> Int {
    count <= smallest ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount - 6
  }

  /// A buffer of at least `count` bytes, aligned to 64. `count` is at most `largest`.
  package mutating func allocate(_ count: Int) -> UnsafeMutableRawPointer {
    precondition(count <= Self.largest)
    let index = Self.sizeClass(count)
    let size = Self.smallest << index
    if let buffer = free[index] {
      free[index] = buffer.load(as: UnsafeMutableRawPointer?.self)
      kept -= size
      return buffer
    }
    reserved += size
    return UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
  }

  /// Takes back a buffer that `allocate(_:)` returned for the same `count`.
  package mutating func deallocate(_ buffer: UnsafeMutableRawPointer, count: Int) {
    let index = Self.sizeClass(count)
    let size = Self.smallest << index
    guard kept + size <= keptLimit else {
      reserved -= size
      return buffer.deallocate()
    }
    kept += size
    buffer.storeBytes(of: free[index], as: UnsafeMutableRawPointer?.self)
    free[index] = buffer
  }
}
