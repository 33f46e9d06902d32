import CPlatform

/// A C string: zero-terminated bytes, borrowed.
package typealias CString = UnsafePointer<CChar>

/// Writes text into a caller's buffer: always zero-terminated, cut where the buffer ends, without allocation.
///
/// Not thread-safe: one writer, one buffer, one thread.
package struct TextWriter {
  private let buffer: UnsafeMutablePointer<CChar>
  private let limit: Int
  /// Bytes written, without the terminating zero.
  package private(set) var count = 0

  /// Starts an empty text in `buffer`, which holds `capacity` bytes, at least one.
  package init(buffer: UnsafeMutablePointer<CChar>, capacity: Int) {
    self.buffer = buffer
    limit = max(capacity, 1) - 1
    buffer[0] = 0
  }

  /// The text so far, zero-terminated.
  package var text: CString { CString(buffer) }

  /// Whether something did not fit.
  package var isFull: Bool { count == limit }

  package mutating func append(byte: UInt8) {
    guard count < limit else { return }
    buffer[count] = CChar(bitPattern: byte)
    count += 1
    buffer[count] = 0
  }

  package mutating func append(_ text: StaticString) {
    append(text.utf8Start, count: text.utf8CodeUnitCount)
  }

  package mutating func append(_ bytes: UnsafePointer<UInt8>, count length: Int) {
    for index in 0..<min(length, limit - count) { buffer[count + index] = CChar(bitPattern: bytes[index]) }
    count += min(length, limit - count)
    buffer[count] = 0
  }

  /// A C string, or "(null)" as printf(3) of this system's libc has it.
  package mutating func append(_ text: CString?) {
    guard let text else { return append("(null)" as StaticString) }
    var index = 0
    while text[index] != 0 && count < limit {
      append(byte: UInt8(bitPattern: text[index]))
      index += 1
    }
  }

  package mutating func append(decimal value: UInt64) {
    var divisor: UInt64 = 1
    while value / divisor >= 10 { divisor *= 10 }
    while divisor > 0 {
      append(byte: UInt8(ascii: "0") + UInt8(value / divisor % 10))
      divisor /= 10
    }
  }

  package mutating func append(decimal value: Int64) {
    if value < 0 { append(byte: UInt8(ascii: "-")) }
    append(decimal: value.magnitude)
  }

  /// Lower-case hexadecimal digits, at least `digits` of them, without a prefix.
  package mutating func append(hexadecimal value: UInt64, digits: Int = 1) {
    var shift = 60
    while shift > 0 && value >> UInt64(shift) == 0 && shift >= digits * 4 { shift -= 4 }
    while shift >= 0 {
      let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 0xf
      append(byte: digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
      shift -= 4
    }
  }

  /// What `body` writes into the rest of the buffer, whose size it is told. If `body` returns false, whatever it wrote
  /// is dropped. Returns what `body` did.
  package mutating func append(_ body: (UnsafeMutablePointer<CChar>, Int) -> Bool) -> Bool {
    let capacity = limit - count + 1
    let start = buffer + count
    let kept = body(start, capacity)
    if kept { count += strnlen(start, capacity - 1) }
    buffer[count] = 0
    return kept
  }

  /// An address as printf's %p prints it: "0x…", or "(nil)".
  package mutating func append(pointer: UnsafeRawPointer?) {
    guard let pointer else { return append("(nil)" as StaticString) }
    append("0x" as StaticString)
    append(hexadecimal: UInt64(UInt(bitPattern: pointer)))
  }
}

/// Byte-wise operations on C strings, so that no Unicode tables are needed. ASCII letters compare without case where a
/// function says so.
package enum CText {
  /// Whether both are equal without regard to case, strcasecmp(3).
  package static func equal(_ a: CString, _ b: CString) -> Bool { strcasecmp(a, b) == 0 }

  /// Whether `length` bytes at `a` are `b` without regard to case.
  package static func equal(_ a: CString, count length: Int, _ b: StaticString) -> Bool {
    guard length == b.utf8CodeUnitCount else { return false }
    for index in 0..<length where lower(UInt8(bitPattern: a[index])) != lower(b.utf8Start[index]) { return false }
    return true
  }

  /// Whether `a` is `b` without regard to case.
  package static func equal(_ a: CString, _ b: StaticString) -> Bool { equal(a, count: strlen(a), b) }

  /// Calls `body` with each part of `text` between `separator`s, empty ones included, as position and length; stops
  /// when `body` returns false.
  package static func forEachPart(of text: CString, separator: UInt8, _ body: (CString, Int) -> Bool) {
    var start = text
    var end = text
    while true {
      if end.pointee == 0 || UInt8(bitPattern: end.pointee) == separator {
        guard body(start, end - start), end.pointee != 0 else { return }
        start = end + 1
      }
      end += 1
    }
  }

  /// Turns the letters a to z into A to Z, in place.
  package static func upperCase(_ text: UnsafeMutablePointer<CChar>) {
    var index = 0
    while text[index] != 0 {
      let byte = UInt8(bitPattern: text[index])
      if byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") { text[index] = CChar(byte & ~0x20) }
      index += 1
    }
  }

  private static func lower(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
  }
}
