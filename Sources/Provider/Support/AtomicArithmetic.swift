import CPlatform

/// What an atomic operation, or a reduction, does to each element; raw values are fi_op's.
///
/// Man page: fi_atomic(3)
package enum AtomicOperator: UInt8, BitwiseCopyable {
  case minimum, maximum, sum, product
  case logicalOr, logicalAnd, bitwiseOr, bitwiseAnd, logicalXor, bitwiseXor
  case read, write
  case swapIfEqual, swapIfNotEqual, swapIfLessOrEqual, swapIfLess, swapIfGreaterOrEqual, swapIfGreater
  case maskedSwap
  case difference
}

/// Type of an element; raw values are fi_datatype's.
///
/// Man page: fi_atomic(3)
package enum AtomicDatatype: UInt8, BitwiseCopyable {
  case int8, uint8, int16, uint16, int32, uint32, int64, uint64
  case float, double, floatComplex, doubleComplex, longDouble, longDoubleComplex
  case int128, uint128
  case float16, bfloat16, float8E4M3, float8E5M2

  /// Bytes of an element.
  package var size: Int {
    switch self {
    case .int8, .uint8, .float8E4M3, .float8E5M2: 1
    case .int16, .uint16, .float16, .bfloat16: 2
    case .int32, .uint32, .float: 4
    case .int64, .uint64, .double, .floatComplex: 8
    case .int128, .uint128, .doubleComplex: 16
    case .longDouble: MemoryLayout<LongDouble>.size
    case .longDoubleComplex: 2 * MemoryLayout<LongDouble>.size
    }
  }

  var isInteger: Bool { rawValue <= Self.uint64.rawValue || self == .int128 || self == .uint128 }
  /// Of an integer.
  var isSigned: Bool { rawValue & 1 == 0 }
  var isComplex: Bool { part != self }

  /// What a complex number has two of; the type itself for others.
  var part: AtomicDatatype {
    switch self {
    case .floatComplex: .float
    case .doubleComplex: .double
    case .longDoubleComplex: .longDouble
    default: self
    }
  }

  /// Whether elements of this type take part in an operation: complex numbers have no order, and only integers bits.
  package func permits(_ operation: AtomicOperator) -> Bool {
    switch operation {
    case .minimum, .maximum, .swapIfLessOrEqual, .swapIfLess, .swapIfGreaterOrEqual, .swapIfGreater: !isComplex
    case .bitwiseOr, .bitwiseAnd, .bitwiseXor, .maskedSwap: isInteger
    default: true
    }
  }
}

/// How an atomic operation is posted: fi_atomic, fi_fetch_atomic or fi_compare_atomic.
package enum AtomicClass: UInt8, BitwiseCopyable {
  case base, fetch, compare

  /// Whether a call of this class takes an operation.
  package func permits(_ operation: AtomicOperator) -> Bool {
    switch operation {
    case .read: self == .fetch
    case .swapIfEqual, .swapIfNotEqual, .swapIfLessOrEqual, .swapIfLess, .swapIfGreaterOrEqual, .swapIfGreater,
      .maskedSwap:
      self == .compare
    default: self != .compare
    }
  }
}

/// The arithmetic of atomic operations and reductions, on memory of any alignment.
///
/// Nothing is allocated. Integers wrap. A minimum or maximum with a NaN leaves the target as it is, a product of
/// complex numbers is the textbook's, and logical operations store 0 or 1, as the C of the man page would.
///
/// There is one piece of code for all types of a kind, which looks at the type for each element: twenty types times
/// twenty operations would be more code than the rest of the provider. Sums of the usual types, which reductions are
/// made of, have loops of their own.
package enum AtomicArithmetic {
  /// Does `target[i] = target[i] operation operand[i]` for `count` elements.
  ///
  /// `compare` is what conditional swaps compare with, and the mask of a masked one; others do not look at it, nor a
  /// read at `operand`. `result`, where there is one, gets what the target held before. The datatype must permit the
  /// operation. Target, result and operands must not overlap, but a target may be its own operand.
  @inline(never)
  package static func apply(
    _ operation: AtomicOperator, _ datatype: AtomicDatatype, target: UnsafeMutableRawPointer,
    operand: UnsafeRawPointer?, compare: UnsafeRawPointer? = nil, result: UnsafeMutableRawPointer? = nil, count: Int
  ) {
    precondition(datatype.permits(operation) && count >= 0)
    let size = datatype.size
    result?.copyMemory(from: target, byteCount: count * size)
    guard operation != .read, let operand else { return }
    if operation == .write { return target.copyMemory(from: operand, byteCount: count * size) }
    if operation == .sum && add(datatype, target, operand, count) { return }
    let compare = compare ?? operand
    for offset in stride(from: 0, to: count * size, by: size) {
      applyToElement(operation, datatype, target + offset, operand + offset, compare + offset)
    }
  }

  /// Adds elements of the usual types; false for others.
  private static func add(
    _ datatype: AtomicDatatype, _ target: UnsafeMutableRawPointer, _ operand: UnsafeRawPointer, _ count: Int
  ) -> Bool {
    switch datatype {
    case .int32, .uint32: update(target, operand, count) { (left: UInt32, right) in left &+ right }
    case .int64, .uint64: update(target, operand, count) { (left: UInt64, right) in left &+ right }
    case .float: update(target, operand, count) { (left: Float, right) in left + right }
    case .double: update(target, operand, count) { (left: Double, right) in left + right }
    default: return false
    }
    return true
  }

  @inline(__always)
  private static func update<Element: BitwiseCopyable>(
    _ target: UnsafeMutableRawPointer, _ operand: UnsafeRawPointer, _ count: Int,
    _ body: (Element, Element) -> Element
  ) {
    for index in 0..<count {
      let offset = index &* MemoryLayout<Element>.size
      let value = body(
        target.loadUnaligned(fromByteOffset: offset, as: Element.self),
        operand.loadUnaligned(fromByteOffset: offset, as: Element.self))
      target.storeBytes(of: value, toByteOffset: offset, as: Element.self)
    }
  }

  @inline(never)
  private static func applyToElement(
    _ operation: AtomicOperator, _ type: AtomicDatatype, _ target: UnsafeMutableRawPointer,
    _ operand: UnsafeRawPointer, _ compare: UnsafeRawPointer
  ) {
    let isReplaced: Bool
    switch operation {
    case .minimum: isReplaced = isLess(type, operand, target)
    case .maximum: isReplaced = isLess(type, target, operand)
    case .swapIfEqual: isReplaced = isEqual(type, compare, target)
    case .swapIfNotEqual: isReplaced = !isEqual(type, compare, target)
    case .swapIfLess: isReplaced = isLess(type, compare, target)
    case .swapIfGreater: isReplaced = isLess(type, target, compare)
    case .swapIfLessOrEqual: isReplaced = isLess(type, compare, target) || isEqual(type, compare, target)
    case .swapIfGreaterOrEqual: isReplaced = isLess(type, target, compare) || isEqual(type, compare, target)
    case .logicalOr: return store(isTrue(type, target) || isTrue(type, operand), type, target)
    case .logicalAnd: return store(isTrue(type, target) && isTrue(type, operand), type, target)
    case .logicalXor: return store(isTrue(type, target) != isTrue(type, operand), type, target)
    default:
      if type.isInteger { return Integer.combine(operation, type.size, target, operand, compare) }
      return combine(operation, type, target, operand)
    }
    if isReplaced { target.copyMemory(from: operand, byteCount: type.size) }
  }

  // MARK: Comparing

  @inline(never)
  private static func isLess(_ type: AtomicDatatype, _ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool {
    if type.isInteger { return Integer.key(type, left) < Integer.key(type, right) }
    if type == .longDouble { return LongDouble(left).isLess(LongDouble(right)) }
    return SmallFloat.load(type, left) < SmallFloat.load(type, right)
  }

  @inline(never)
  private static func isEqual(_ type: AtomicDatatype, _ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool {
    if type.isInteger { return Integer.load(type.size, left) == Integer.load(type.size, right) }
    let part = type.part
    for offset in stride(from: 0, to: type.size, by: part.size) {
      let isSame =
        part == .longDouble
        ? LongDouble(left + offset).isEqual(LongDouble(right + offset))
        : SmallFloat.load(part, left + offset) == SmallFloat.load(part, right + offset)
      if !isSame { return false }
    }
    return true
  }

  /// Not zero.
  private static func isTrue(_ type: AtomicDatatype, _ element: UnsafeRawPointer) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: largestElement, alignment: 16) { zero in
      zero.initializeMemory(as: UInt8.self, repeating: 0)
      return !isEqual(type, element, zero.baseAddress!)
    }
  }

  /// Stores 1 or 0.
  private static func store(_ truth: Bool, _ type: AtomicDatatype, _ target: UnsafeMutableRawPointer) {
    target.initializeMemory(as: UInt8.self, repeating: 0, count: type.size)
    if type.isInteger { return Integer.store(truth ? 1 : 0, type.size, target) }
    if type.part == .longDouble { return LongDouble(truth).store(target) }
    SmallFloat.store(truth ? 1 : 0, type.part, target)
  }

  private static var largestElement: Int { 32 }

  // MARK: Sums, differences and products of what is no integer

  private static func combine(
    _ operation: AtomicOperator, _ type: AtomicDatatype, _ target: UnsafeMutableRawPointer, _ operand: UnsafeRawPointer
  ) {
    let part = type.part
    let size = part.size
    guard type.isComplex else { return combineParts(operation, part, target, operand, target) }
    guard operation == .product else {
      combineParts(operation, part, target, operand, target)
      return combineParts(operation, part, target + size, operand + size, target + size)
    }
    // Real times real, imaginary times imaginary, real times imaginary and the other way round.
    withUnsafeTemporaryAllocation(byteCount: 4 * largestElement / 2, alignment: 16) { memory in
      let products = memory.baseAddress!
      for index in 0..<4 {
        let left = UnsafeRawPointer(target) + (index & 1) * size
        let right = operand + (index == 1 || index == 2 ? size : 0)
        combineParts(.product, part, left, right, products + index * size)
      }
      combineParts(.difference, part, products, products + size, target)
      combineParts(.sum, part, products + 2 * size, products + 3 * size, target + size)
    }
  }

  /// What is rounded, is rounded to the type: Double has more than twice the digits of what is shorter, so that to
  /// calculate with it and round then is the same (Figueroa, "When is double rounding innocuous?").
  @inline(never)
  private static func combineParts(
    _ operation: AtomicOperator, _ type: AtomicDatatype, _ left: UnsafeRawPointer, _ right: UnsafeRawPointer,
    _ target: UnsafeMutableRawPointer
  ) {
    if type == .longDouble { return LongDouble(left).combined(operation, LongDouble(right)).store(target) }
    let (left, right) = (SmallFloat.load(type, left), SmallFloat.load(type, right))
    switch operation {
    case .sum: SmallFloat.store(left + right, type, target)
    case .difference: SmallFloat.store(left - right, type, target)
    default: SmallFloat.store(left * right, type, target)
    }
  }
}

/// Integers of all widths, as the lower bits of 128.
private enum Integer {
  static func load(_ size: Int, _ element: UnsafeRawPointer) -> UInt128 {
    switch size {
    case 1: UInt128(truncatingIfNeeded: element.load(as: UInt8.self))
    case 2: UInt128(truncatingIfNeeded: element.loadUnaligned(as: UInt16.self))
    case 4: UInt128(truncatingIfNeeded: element.loadUnaligned(as: UInt32.self))
    case 8: UInt128(truncatingIfNeeded: element.loadUnaligned(as: UInt64.self))
    default: element.loadUnaligned(as: UInt128.self)
    }
  }

  static func store(_ value: UInt128, _ size: Int, _ target: UnsafeMutableRawPointer) {
    switch size {
    case 1: target.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
    case 2: target.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
    case 4: target.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
    case 8: target.storeBytes(of: UInt64(truncatingIfNeeded: value), as: UInt64.self)
    default: target.storeBytes(of: value, as: UInt128.self)
    }
  }

  /// Orders as the number does: its bits on top, the sign's reversed.
  static func key(_ type: AtomicDatatype, _ element: UnsafeRawPointer) -> UInt128 {
    let bits = load(type.size, element) &<< UInt128(truncatingIfNeeded: 128 &- 8 &* type.size)
    return type.isSigned ? bits ^ (1 &<< 127) : bits
  }

  static func combine(
    _ operation: AtomicOperator, _ size: Int, _ target: UnsafeMutableRawPointer, _ operand: UnsafeRawPointer,
    _ compare: UnsafeRawPointer
  ) {
    let (old, other) = (load(size, target), load(size, operand))
    let value: UInt128
    switch operation {
    case .sum: value = old &+ other
    case .difference: value = old &- other
    case .product: value = old &* other
    case .bitwiseOr: value = old | other
    case .bitwiseAnd: value = old & other
    case .bitwiseXor: value = old ^ other
    default:
      let mask = load(size, compare)
      value = other & mask | old & ~mask
    }
    store(value, size, target)
  }
}

/// Floating point numbers that a Double can hold.
private enum SmallFloat {
  static func load(_ type: AtomicDatatype, _ element: UnsafeRawPointer) -> Double {
    switch type {
    case .double: return element.loadUnaligned(as: Double.self)
    case .float: return Double(element.loadUnaligned(as: Float.self))
    default:
      let format = Format(type)
      return format.decode(
        type.size == 1 ? UInt16(element.load(as: UInt8.self)) : element.loadUnaligned(as: UInt16.self))
    }
  }

  static func store(_ value: Double, _ type: AtomicDatatype, _ target: UnsafeMutableRawPointer) {
    switch type {
    case .double: target.storeBytes(of: value, as: Double.self)
    case .float: target.storeBytes(of: Float(value), as: Float.self)
    default:
      let bits = Format(type).encode(value)
      if type.size == 1 {
        target.storeBytes(of: UInt8(truncatingIfNeeded: bits), as: UInt8.self)
      } else {
        target.storeBytes(of: bits, as: UInt16.self)
      }
    }
  }

  /// How one of at most 16 bits is laid out: sign, exponent, mantissa.
  ///
  /// The 8-bit ones are those of the Open Compute Project's "OFP8": E4M3 has no infinity, and one NaN.
  private struct Format {
    let mantissaBits: UInt64
    let width: UInt64
    let hasInfinity: Bool

    init(_ type: AtomicDatatype) {
      width = type.size == 1 ? 8 : 16
      hasInfinity = type != .float8E4M3
      switch type {
      case .float16: mantissaBits = 10
      case .bfloat16: mantissaBits = 7
      case .float8E4M3: mantissaBits = 3
      default: mantissaBits = 2
      }
    }

    private var largestExponent: UInt64 { (1 << (width - 1 - mantissaBits)) - 1 }
    private var bias: UInt64 { largestExponent / 2 }
    /// Infinity, or where there is none NaN: the first that is no number.
    private var limit: UInt64 { hasInfinity ? largestExponent << mantissaBits : (1 << (width - 1)) - 1 }

    func decode(_ bits: UInt16) -> Double {
      let magnitude = UInt64(bits) & ((1 << (width - 1)) - 1)
      let sign = (UInt64(bits) >> (width - 1)) << 63
      let exponent = magnitude >> mantissaBits
      let mantissa = magnitude & ((1 << mantissaBits) - 1)
      if magnitude >= limit {
        return hasInfinity && magnitude == limit ? Double(bitPattern: sign | 0x7FF << 52) : .nan
      }
      if exponent == 0 {
        let value = Double(mantissa) * Self.power(of: 1 &- bias &- mantissaBits)
        return Double(bitPattern: value.bitPattern | sign)
      }
      return Double(bitPattern: sign | (exponent &- bias &+ 1023) << 52 | mantissa << (52 - mantissaBits))
    }

    /// The nearest that there is, the even one of two.
    func encode(_ value: Double) -> UInt16 {
      let magnitude = value.bitPattern & ~(1 << 63)
      let sign = UInt16(truncatingIfNeeded: (value.bitPattern >> 63) << (width - 1))
      if magnitude > 0x7FF << 52 { return UInt16(truncatingIfNeeded: (1 << (width - 1)) - 1) }
      // Numbers below 2 to the power of 1 - bias have the quantum of those above.
      let exponent = max(magnitude >> 52, 1023 &+ 1 &- bias)
      guard exponent < 1023 + bias + 2 else { return sign | UInt16(truncatingIfNeeded: limit) }
      let scaled = Double(bitPattern: magnitude) * Self.power(of: 1023 &+ mantissaBits &- exponent)
      // Beyond 2 to the power of 52 there are no fractions.
      let count = UInt64((scaled + 0x1p52) - 0x1p52)
      let bits = (exponent &- 1023 &+ bias &- 1) << mantissaBits + count
      return sign | UInt16(truncatingIfNeeded: min(bits, limit))
    }

    private static func power(of exponent: UInt64) -> Double { Double(bitPattern: (exponent &+ 1023) << 52) }
  }
}

/// C's long double.
private struct LongDouble {
  var stored: platform_long_double

  init(_ stored: platform_long_double) { self.stored = stored }
  init(_ truth: Bool) { self.init(platform_long_double_of(truth)) }
  init(_ element: UnsafeRawPointer) { self.init(element.loadUnaligned(as: platform_long_double.self)) }

  func store(_ target: UnsafeMutableRawPointer) { target.storeBytes(of: stored, as: platform_long_double.self) }
  func isEqual(_ other: Self) -> Bool { platform_long_double_equal(stored, other.stored) }
  func isLess(_ other: Self) -> Bool { platform_long_double_less(stored, other.stored) }

  /// Sum, difference or product.
  func combined(_ operation: AtomicOperator, _ other: Self) -> Self {
    switch operation {
    case .sum: Self(platform_long_double_sum(stored, other.stored))
    case .difference: Self(platform_long_double_difference(stored, other.stored))
    default: Self(platform_long_double_product(stored, other.stored))
    }
  }
}
