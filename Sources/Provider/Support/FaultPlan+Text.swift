import CPlatform
import Datagram

// What FI_POLYFILL_FAULT says: `key=value`, a comma list.
extension FaultPlan {
  /// Reads a list like `loss=0.01,delay=200us`, in which each key stands once at most; nil for anything else.
  ///
  /// `loss`, `dup` and `reorder` are probabilities from 0 to 1; `delay` and `jitter` are whole numbers with the unit ns,
  /// us, ms or s, up to ten seconds; `seed` is a whole number.
  package init?(_ text: CString) {
    self.init()
    var plan = FaultPlan()
    var seen: UInt32 = 0
    var isUsable = true
    CText.forEachPart(of: text, separator: UInt8(ascii: ",")) { part, length in
      isUsable = plan.set(part, length, &seen)
      return isUsable
    }
    if !isUsable { return nil }
    self = plan
  }

  /// Takes one `key=value`; false if it is none.
  private mutating func set(_ part: CString, _ length: Int, _ seen: inout UInt32) -> Bool {
    guard let separator = memchr(part, Int32(UInt8(ascii: "=")), length) else { return false }
    let keyLength = UnsafeRawPointer(separator) - UnsafeRawPointer(part)
    var value = FaultValue(part + keyLength + 1, count: length - keyLength - 1)
    let bit: UInt32
    if CText.equal(part, count: keyLength, "loss") {
      bit = 1
      guard let probability = value.probability() else { return false }
      loss = probability
    } else if CText.equal(part, count: keyLength, "dup") {
      bit = 2
      guard let probability = value.probability() else { return false }
      duplication = probability
    } else if CText.equal(part, count: keyLength, "reorder") {
      bit = 4
      guard let probability = value.probability() else { return false }
      reordering = probability
    } else if CText.equal(part, count: keyLength, "delay") {
      bit = 8
      guard let time = value.time() else { return false }
      delay = time
    } else if CText.equal(part, count: keyLength, "jitter") {
      bit = 16
      guard let time = value.time() else { return false }
      jitter = time
    } else if CText.equal(part, count: keyLength, "seed") {
      bit = 32
      guard let number = value.number(), value.isAtEnd else { return false }
      seed = number
    } else {
      return false
    }
    defer { seen |= bit }
    return seen & bit == 0
  }
}

/// A value being read from the left. Each function returns nil where it finds something else.
private struct FaultValue {
  private var position: CString
  private var left: Int

  init(_ text: CString, count: Int) {
    position = text
    left = count
  }

  var isAtEnd: Bool { left == 0 }

  /// Digits, at least one.
  mutating func number() -> UInt64? {
    guard var value = digit() else { return nil }
    while let next = digit() {
      let (tenfold, overflowed) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflows) = tenfold.addingReportingOverflow(next)
      if overflowed || overflows { return nil }
      value = sum
    }
    return value
  }

  /// 0 to 1 with up to nine places, as parts per billion; all there is.
  mutating func probability() -> UInt32? {
    guard let whole = number(), whole <= 1 else { return nil }
    var parts = whole * UInt64(FaultPlan.always)
    if !isAtEnd {
      guard take(UInt8(ascii: ".")) else { return nil }
      var worth = UInt64(FaultPlan.always)
      while let next = digit() {
        worth /= 10
        if worth == 0 { return nil }
        parts += next * worth
      }
    }
    return isAtEnd && parts <= UInt64(FaultPlan.always) ? UInt32(parts) : nil
  }

  /// A number with its unit, in nanoseconds; all there is.
  mutating func time() -> UInt64? {
    guard let value = number() else { return nil }
    var unit: UInt64 = 1_000_000_000
    if take(UInt8(ascii: "n")) {
      unit = 1
    } else if take(UInt8(ascii: "u")) {
      unit = 1_000
    } else if take(UInt8(ascii: "m")) {
      unit = 1_000_000
    }
    guard take(UInt8(ascii: "s")), isAtEnd, value <= Self.longestTime / unit else { return nil }
    return value * unit
  }

  private mutating func digit() -> UInt64? {
    guard left > 0, position.pointee >= CChar(UInt8(ascii: "0")), position.pointee <= CChar(UInt8(ascii: "9")) else {
      return nil
    }
    defer { advance() }
    return UInt64(position.pointee) - UInt64(UInt8(ascii: "0"))
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard left > 0, UInt8(bitPattern: position.pointee) == byte else { return false }
    advance()
    return true
  }

  private mutating func advance() {
    position += 1
    left -= 1
  }

  private static var longestTime: UInt64 { 10_000_000_000 }
}
