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

/// Type of an element; raw values are fi_datatype's, of which those without arithmetic here are missing.
///
/// Man page: fi_atomic(3)
package enum AtomicDatatype: UInt8, BitwiseCopyable {
  case int8, uint8, int16, uint16, int32, uint32, int64, uint64
  case float, double, floatComplex, doubleComplex, longDouble, longDoubleComplex
  case int128, uint128

  /// Bytes of an element.
  package var size: Int {
    switch self {
    case .int8, .uint8: 1
    case .int16, .uint16: 2
    case .int32, .uint32, .float: 4
    case .int64, .uint64, .double, .floatComplex: 8
    case .int128, .uint128, .doubleComplex: 16
    case .longDouble: MemoryLayout<LongDouble>.size
    case .longDoubleComplex: 2 * MemoryLayout<LongDouble>.size
    }
  }

  private var isInteger: Bool { rawValue <= Self.uint64.rawValue || self == .int128 || self == .uint128 }
  private var isComplex: Bool { self == .floatComplex || self == .doubleComplex || self == .longDoubleComplex }

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
package enum AtomicArithmetic {
  /// Does `target[i] = target[i] operation operand[i]` for `count` elements.
  ///
  /// `compare` is what conditional swaps compare with, and the mask of a masked one; others do not look at it, nor a
  /// read at `operand`. `result`, where there is one, gets what the target held before. The datatype must permit the
  /// operation. Target, result and operands must not overlap, but a target may be its own operand.
  package static func apply(
    _ operation: AtomicOperator, _ datatype: AtomicDatatype, target: UnsafeMutableRawPointer,
    operand: UnsafeRawPointer?, compare: UnsafeRawPointer? = nil, result: UnsafeMutableRawPointer? = nil, count: Int
  ) {
    precondition(datatype.permits(operation) && count >= 0)
    let length = count * datatype.size
    result?.copyMemory(from: target, byteCount: length)
    guard operation != .read, let operand else { return }
    if operation == .write { return target.copyMemory(from: operand, byteCount: length) }
    let run = Run(target: target, operand: operand, compare: compare ?? operand, count: count)
    switch datatype {
    case .int8: integers(operation, run, Int8.self)
    case .uint8: integers(operation, run, UInt8.self)
    case .int16: integers(operation, run, Int16.self)
    case .uint16: integers(operation, run, UInt16.self)
    case .int32: integers(operation, run, Int32.self)
    case .uint32: integers(operation, run, UInt32.self)
    case .int64: integers(operation, run, Int64.self)
    case .uint64: integers(operation, run, UInt64.self)
    case .int128: integers(operation, run, Int128.self)
    case .uint128: integers(operation, run, UInt128.self)
    case .float: ordered(operation, run, Float.self)
    case .double: ordered(operation, run, Double.self)
    case .longDouble: ordered(operation, run, LongDouble.self)
    case .floatComplex: numbers(operation, run, Complex<Float>.self)
    case .doubleComplex: numbers(operation, run, Complex<Double>.self)
    case .longDoubleComplex: numbers(operation, run, Complex<LongDouble>.self)
    }
  }

  private static func integers<Element: AtomicInteger>(_ operation: AtomicOperator, _ run: Run, _: Element.Type) {
    switch operation {
    case .bitwiseOr: run.update(Element.self) { $0 | $1 }
    case .bitwiseAnd: run.update(Element.self) { $0 & $1 }
    case .bitwiseXor: run.update(Element.self) { $0 ^ $1 }
    case .maskedSwap: run.compare(Element.self) { $1 & $2 | $0 & ~$2 }
    default: ordered(operation, run, Element.self)
    }
  }

  @inline(__always)
  private static func ordered<Element: OrderedElement>(_ operation: AtomicOperator, _ run: Run, _: Element.Type) {
    switch operation {
    case .minimum: run.update(Element.self) { $1.isLess($0) ? $1 : $0 }
    case .maximum: run.update(Element.self) { $0.isLess($1) ? $1 : $0 }
    case .swapIfLess: run.compare(Element.self) { $2.isLess($0) ? $1 : $0 }
    case .swapIfGreater: run.compare(Element.self) { $0.isLess($2) ? $1 : $0 }
    case .swapIfLessOrEqual: run.compare(Element.self) { $2.isLess($0) || $2.isEqual($0) ? $1 : $0 }
    case .swapIfGreaterOrEqual: run.compare(Element.self) { $0.isLess($2) || $2.isEqual($0) ? $1 : $0 }
    default: numbers(operation, run, Element.self)
    }
  }

  @inline(__always)
  private static func numbers<Element: AtomicElement>(_ operation: AtomicOperator, _ run: Run, _: Element.Type) {
    switch operation {
    case .sum: run.update(Element.self) { $0.sum($1) }
    case .difference: run.update(Element.self) { $0.difference($1) }
    case .product: run.update(Element.self) { $0.product($1) }
    case .logicalOr: run.update(Element.self) { Element($0.isTrue || $1.isTrue) }
    case .logicalAnd: run.update(Element.self) { Element($0.isTrue && $1.isTrue) }
    case .logicalXor: run.update(Element.self) { Element($0.isTrue != $1.isTrue) }
    case .swapIfEqual: run.compare(Element.self) { $2.isEqual($0) ? $1 : $0 }
    case .swapIfNotEqual: run.compare(Element.self) { $2.isEqual($0) ? $0 : $1 }
    // The datatype permits nothing else.
    default: break
    }
  }
}

/// The memory of one application.
private struct Run {
  let target: UnsafeMutableRawPointer
  let operand: UnsafeRawPointer
  let compare: UnsafeRawPointer
  let count: Int

  /// Each target becomes what `body` makes of target and operand.
  @inline(__always)
  func update<Element: BitwiseCopyable>(_: Element.Type, _ body: (Element, Element) -> Element) {
    for index in 0..<count {
      let offset = index &* MemoryLayout<Element>.size
      let value = body(
        target.loadUnaligned(fromByteOffset: offset, as: Element.self),
        operand.loadUnaligned(fromByteOffset: offset, as: Element.self))
      target.storeBytes(of: value, toByteOffset: offset, as: Element.self)
    }
  }

  /// Each target becomes what `body` makes of target, operand and comparand.
  @inline(__always)
  func compare<Element: BitwiseCopyable>(_: Element.Type, _ body: (Element, Element, Element) -> Element) {
    for index in 0..<count {
      let offset = index &* MemoryLayout<Element>.size
      let value = body(
        target.loadUnaligned(fromByteOffset: offset, as: Element.self),
        operand.loadUnaligned(fromByteOffset: offset, as: Element.self),
        compare.loadUnaligned(fromByteOffset: offset, as: Element.self))
      target.storeBytes(of: value, toByteOffset: offset, as: Element.self)
    }
  }
}

// MARK: Elements

/// A number.
private protocol AtomicElement: BitwiseCopyable {
  /// 1 or 0.
  init(_ truth: Bool)
  /// Not zero.
  var isTrue: Bool { get }
  func sum(_ other: Self) -> Self
  func difference(_ other: Self) -> Self
  func product(_ other: Self) -> Self
  func isEqual(_ other: Self) -> Bool
}

/// A real number.
private protocol OrderedElement: AtomicElement {
  func isLess(_ other: Self) -> Bool
}

/// An integer.
private protocol AtomicInteger: OrderedElement, FixedWidthInteger {}

extension AtomicInteger {
  @inline(__always) init(_ truth: Bool) { self = truth ? 1 : 0 }
  @inline(__always) var isTrue: Bool { self != 0 }
  @inline(__always) func sum(_ other: Self) -> Self { self &+ other }
  @inline(__always) func difference(_ other: Self) -> Self { self &- other }
  @inline(__always) func product(_ other: Self) -> Self { self &* other }
  @inline(__always) func isEqual(_ other: Self) -> Bool { self == other }
  @inline(__always) func isLess(_ other: Self) -> Bool { self < other }
}

extension Int8: AtomicInteger {}
extension UInt8: AtomicInteger {}
extension Int16: AtomicInteger {}
extension UInt16: AtomicInteger {}
extension Int32: AtomicInteger {}
extension UInt32: AtomicInteger {}
extension Int64: AtomicInteger {}
extension UInt64: AtomicInteger {}
extension Int128: AtomicInteger {}
extension UInt128: AtomicInteger {}

/// Float and Double.
private protocol AtomicFloat: OrderedElement, BinaryFloatingPoint {}

extension AtomicFloat {
  @inline(__always) init(_ truth: Bool) { self = truth ? 1 : 0 }
  @inline(__always) var isTrue: Bool { self != 0 }
  @inline(__always) func sum(_ other: Self) -> Self { self + other }
  @inline(__always) func difference(_ other: Self) -> Self { self - other }
  @inline(__always) func product(_ other: Self) -> Self { self * other }
  @inline(__always) func isEqual(_ other: Self) -> Bool { self == other }
  @inline(__always) func isLess(_ other: Self) -> Bool { self < other }
}

extension Float: AtomicFloat {}
extension Double: AtomicFloat {}

/// C's long double.
private struct LongDouble: OrderedElement {
  var stored: platform_long_double

  @inline(__always) init(_ stored: platform_long_double) { self.stored = stored }
  @inline(__always) init(_ truth: Bool) { self.init(platform_long_double_of(truth)) }
  @inline(__always) var isTrue: Bool { !isEqual(Self(false)) }
  @inline(__always) func sum(_ other: Self) -> Self { Self(platform_long_double_sum(stored, other.stored)) }
  @inline(__always)
  func difference(_ other: Self) -> Self { Self(platform_long_double_difference(stored, other.stored)) }
  @inline(__always) func product(_ other: Self) -> Self { Self(platform_long_double_product(stored, other.stored)) }
  @inline(__always) func isEqual(_ other: Self) -> Bool { platform_long_double_equal(stored, other.stored) }
  @inline(__always) func isLess(_ other: Self) -> Bool { platform_long_double_less(stored, other.stored) }
}

/// A complex number as C lays it out.
private struct Complex<Part: OrderedElement>: AtomicElement {
  var real: Part
  var imaginary: Part

  @inline(__always)
  init(_ real: Part, _ imaginary: Part) {
    self.real = real
    self.imaginary = imaginary
  }

  @inline(__always) init(_ truth: Bool) { self.init(Part(truth), Part(false)) }
  @inline(__always) var isTrue: Bool { real.isTrue || imaginary.isTrue }

  @inline(__always)
  func sum(_ other: Self) -> Self { Self(real.sum(other.real), imaginary.sum(other.imaginary)) }

  @inline(__always)
  func difference(_ other: Self) -> Self { Self(real.difference(other.real), imaginary.difference(other.imaginary)) }

  @inline(__always)
  func product(_ other: Self) -> Self {
    Self(
      real.product(other.real).difference(imaginary.product(other.imaginary)),
      real.product(other.imaginary).sum(imaginary.product(other.real)))
  }

  @inline(__always)
  func isEqual(_ other: Self) -> Bool { real.isEqual(other.real) && imaginary.isEqual(other.imaginary) }
}
