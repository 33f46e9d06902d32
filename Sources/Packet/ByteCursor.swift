/// Reads little-endian values from a datagram, never beyond its end.
///
/// A read past the end returns nil and leaves the cursor where it was.
package struct ByteReader: BitwiseCopyable {
  package private(set) var position: UnsafeRawPointer
  package let end: UnsafeRawPointer

  package init(_ bytes: UnsafeRawBufferPointer) {
    // An empty buffer may have no address; any pointer does, since start equals end.
    position = bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 1)!
    end = position + bytes.count
  }

  @inline(__always)
  package var remaining: Int { end - position }

  /// Whether `count` more bytes are there.
  @inline(__always)
  package func has(_ count: Int) -> Bool { count >= 0 && remaining >= count }

  /// A value at an offset from here. The caller has checked with `has(_:)`.
  @inline(__always)
  package func peek<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
    assert(has(offset + MemoryLayout<Value>.size))
    return Value(littleEndian: (position + offset).loadUnaligned(as: type))
  }

  /// Steps over bytes that were checked with `has(_:)`.
  @inline(__always)
  package mutating func skip(_ count: Int) {
    assert(has(count))
    position += count
  }
}

/// Writes little-endian values into memory the caller has sized.
package struct ByteWriter: BitwiseCopyable {
  package private(set) var position: UnsafeMutableRawPointer
  package let end: UnsafeMutableRawPointer

  package init(start: UnsafeMutableRawPointer, end: UnsafeMutableRawPointer) {
    position = start
    self.end = end
  }

  @inline(__always)
  package var remaining: Int { end - position }

  @inline(__always)
  package mutating func write<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value) {
    assert(remaining >= MemoryLayout<Value>.size)
    position.storeBytes(of: value.littleEndian, as: Value.self)
    position += MemoryLayout<Value>.size
  }

  /// Copies bytes from elsewhere.
  @inline(__always)
  package mutating func write(_ source: UnsafeRawPointer, count: Int) {
    assert(remaining >= count)
    position.copyMemory(from: source, byteCount: count)
    position += count
  }

  /// Steps over bytes that somebody else fills.
  @inline(__always)
  package mutating func skip(_ count: Int) {
    assert(remaining >= count)
    position += count
  }

  /// Writes zero bytes.
  package mutating func pad(_ count: Int) {
    assert(remaining >= count)
    position.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    position += count
  }
}
