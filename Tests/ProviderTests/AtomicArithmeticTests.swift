import CFabric
import CPlatform
import Testing

@testable import Provider

/// Every operation on every type, against formulas written down a second time. The C model of Tests/Conformance/atomic.c
/// checks the same through the calls.
@Suite struct AtomicArithmeticTests {
  /// Applies an operation at an odd address; returns target and result after it.
  private func apply<Element: BitwiseCopyable>(
    _ operation: AtomicOperator, _ datatype: AtomicDatatype, _ target: [Element], _ operand: [Element],
    _ compare: [Element]
  ) -> (target: [Element], result: [Element]) {
    let bytes = target.count * MemoryLayout<Element>.stride
    #expect(datatype.size == MemoryLayout<Element>.stride)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 4 * (bytes + 1), alignment: 16)
    defer { memory.deallocate() }
    func copy(_ elements: [Element], _ place: Int) -> UnsafeMutableRawPointer {
      let start = memory + place * bytes + 1
      elements.withUnsafeBytes { start.copyMemory(from: $0.baseAddress!, byteCount: bytes) }
      return start
    }
    let targetBytes = copy(target, 0)
    let result = copy(operand, 3)
    AtomicArithmetic.apply(
      operation, datatype, target: targetBytes, operand: copy(operand, 1), compare: copy(compare, 2), result: result,
      count: target.count)
    func read(_ start: UnsafeRawPointer) -> [Element] {
      (0..<target.count).map {
        start.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.stride, as: Element.self)
      }
    }
    return (read(targetBytes), read(result))
  }

  private func check<Element: FixedWidthInteger & BitwiseCopyable>(_ datatype: AtomicDatatype, _: Element.Type) {
    let interesting: [Element] = [0, 1, 2, 3, 7, 100, .max, .min, .max - 1, .min + 1, .max / 2, ~0]
    var target: [Element] = []
    var operand: [Element] = []
    var compare: [Element] = []
    for a in interesting {
      for b in interesting {
        for c in interesting {
          target.append(a)
          operand.append(b)
          compare.append(c)
        }
      }
    }
    func expect(_ operation: AtomicOperator, _ formula: (Element, Element, Element) -> Element) {
      let outcome = apply(operation, datatype, target, operand, compare)
      #expect(outcome.result == target)
      #expect(
        outcome.target == target.indices.map { formula(target[$0], operand[$0], compare[$0]) },
        "\(operation) of \(datatype)")
    }
    expect(.minimum) { t, o, _ in min(t, o) }
    expect(.maximum) { t, o, _ in max(t, o) }
    expect(.sum) { t, o, _ in t &+ o }
    expect(.product) { t, o, _ in t &* o }
    expect(.difference) { t, o, _ in t &- o }
    expect(.logicalOr) { t, o, _ in t != 0 || o != 0 ? 1 : 0 }
    expect(.logicalAnd) { t, o, _ in t != 0 && o != 0 ? 1 : 0 }
    expect(.logicalXor) { t, o, _ in (t != 0) != (o != 0) ? 1 : 0 }
    expect(.bitwiseOr) { t, o, _ in t | o }
    expect(.bitwiseAnd) { t, o, _ in t & o }
    expect(.bitwiseXor) { t, o, _ in t ^ o }
    expect(.read) { t, _, _ in t }
    expect(.write) { _, o, _ in o }
    expect(.swapIfEqual) { t, o, c in c == t ? o : t }
    expect(.swapIfNotEqual) { t, o, c in c != t ? o : t }
    expect(.swapIfLessOrEqual) { t, o, c in c <= t ? o : t }
    expect(.swapIfLess) { t, o, c in c < t ? o : t }
    expect(.swapIfGreaterOrEqual) { t, o, c in c >= t ? o : t }
    expect(.swapIfGreater) { t, o, c in c > t ? o : t }
    expect(.maskedSwap) { t, o, c in (o & c) | (t & ~c) }
  }

  @Test func integers() {
    check(.int8, Int8.self)
    check(.uint8, UInt8.self)
    check(.int16, Int16.self)
    check(.uint16, UInt16.self)
    check(.int32, Int32.self)
    check(.uint32, UInt32.self)
    check(.int64, Int64.self)
    check(.uint64, UInt64.self)
    check(.int128, Int128.self)
    check(.uint128, UInt128.self)
  }

  private func checkReal<Element: BinaryFloatingPoint & BitwiseCopyable>(
    _ datatype: AtomicDatatype, _: Element.Type
  ) {
    let interesting: [Element] = [0, 1, -1, 1.5, -2.25, 1e30, -1e-30, .infinity, .nan]
    func expect(_ operation: AtomicOperator, _ formula: (Element, Element, Element) -> Element) {
      for t in interesting {
        for o in interesting {
          for c in interesting {
            let outcome = apply(operation, datatype, [t], [o], [c])
            let expected = formula(t, o, c)
            #expect(
              outcome.target[0] == expected || outcome.target[0].isNaN && expected.isNaN,
              "\(operation) of \(datatype): \(t), \(o), \(c)")
          }
        }
      }
    }
    expect(.minimum) { t, o, _ in o < t ? o : t }
    expect(.maximum) { t, o, _ in o > t ? o : t }
    expect(.sum) { t, o, _ in t + o }
    expect(.product) { t, o, _ in t * o }
    expect(.difference) { t, o, _ in t - o }
    expect(.logicalOr) { t, o, _ in t != 0 || o != 0 ? 1 : 0 }
    expect(.logicalAnd) { t, o, _ in t != 0 && o != 0 ? 1 : 0 }
    expect(.logicalXor) { t, o, _ in (t != 0) != (o != 0) ? 1 : 0 }
    expect(.write) { _, o, _ in o }
    expect(.swapIfEqual) { t, o, c in c == t ? o : t }
    expect(.swapIfNotEqual) { t, o, c in c != t ? o : t }
    expect(.swapIfLessOrEqual) { t, o, c in c <= t ? o : t }
    expect(.swapIfLess) { t, o, c in c < t ? o : t }
    expect(.swapIfGreaterOrEqual) { t, o, c in c >= t ? o : t }
    expect(.swapIfGreater) { t, o, c in c > t ? o : t }
  }

  @Test func realNumbers() {
    checkReal(.float, Float.self)
    checkReal(.double, Double.self)
    #if arch(x86_64)
    checkReal(.longDouble, Float80.self)
    #endif
  }

  @Test func complexNumbers() {
    func check<Part: BinaryFloatingPoint & BitwiseCopyable>(_ datatype: AtomicDatatype, _: Part.Type) {
      func outcome(_ operation: AtomicOperator, compare: Pair<Part> = Pair(0, 0)) -> Pair<Part> {
        apply(operation, datatype, [Pair<Part>(1, 2)], [Pair(3, -5)], [compare]).target[0]
      }
      #expect(outcome(.sum) == Pair(4, -3))
      #expect(outcome(.difference) == Pair(-2, 7))
      #expect(outcome(.product) == Pair(13, 1))
      #expect(outcome(.logicalOr) == Pair(1, 0))
      #expect(outcome(.logicalAnd) == Pair(1, 0))
      #expect(outcome(.logicalXor) == Pair(0, 0))
      #expect(outcome(.swapIfEqual, compare: Pair(1, 3)) == Pair(1, 2))
      #expect(outcome(.swapIfEqual, compare: Pair(1, 2)) == Pair(3, -5))
      #expect(outcome(.swapIfNotEqual, compare: Pair(1, 3)) == Pair(3, -5))
      #expect(outcome(.swapIfNotEqual, compare: Pair(1, 2)) == Pair(1, 2))
    }
    check(.floatComplex, Float.self)
    check(.doubleComplex, Double.self)
    #if arch(x86_64)
    check(.longDoubleComplex, Float80.self)
    #endif
  }

  /// Every half-precision number with a few others, as the processor has it.
  @Test func halfPrecision() {
    let others: [Float16] = [0, 1, -1, 0.333, 65_504, -6e-8, 1e-4, 1_000, .infinity, .nan]
    var wrong = 0
    for pattern in 0...UInt16.max {
      let number = Float16(bitPattern: pattern)
      for other in others {
        for (operation, expected) in [
          (.sum, number + other), (.difference, number - other), (.product, number * other),
          (.minimum, other < number ? other : number), (.logicalAnd, number != 0 && other != 0 ? 1 : 0),
          (.swapIfGreater, other),
        ] as [(AtomicOperator, Float16)] {
          let outcome = element(operation, .float16, pattern, other.bitPattern, UInt16(0x7C00))
          let isReplaced = operation != .swapIfGreater || number < .infinity
          let wanted = isReplaced ? expected : number
          if outcome != wanted.bitPattern && !(Float16(bitPattern: outcome).isNaN && wanted.isNaN) { wrong += 1 }
        }
      }
    }
    #expect(wrong == 0)
  }

  /// The upper half of a Float, rounded to the nearest, of two the even one.
  @Test func brainFloats() {
    func shortened(_ value: Float) -> UInt16 {
      UInt16((UInt64(value.bitPattern) + 0x7FFF + UInt64(value.bitPattern >> 16 & 1)) >> 16)
    }
    var wrong = 0
    for pattern in 0...UInt16.max {
      let number = Float(bitPattern: UInt32(pattern) << 16)
      for other in [0, 1, -1, 0.333, 3e38, 0x1p-7, -12_345] as [Float] {
        let operand = shortened(other)
        let rounded = Float(bitPattern: UInt32(operand) << 16)
        for (operation, expected) in [
          (.sum, number + rounded), (.difference, number - rounded), (.product, number * rounded),
        ] as [(AtomicOperator, Float)] {
          let outcome = element(operation, .bfloat16, pattern, operand, 0)
          if expected.isNaN
            ? !Float(bitPattern: UInt32(outcome) << 16).isNaN : outcome != shortened(expected)
          {
            wrong += 1
          }
        }
      }
    }
    #expect(wrong == 0)
  }

  @Test func eightBitFloats() {
    // One, for those that have no other name here.
    for (type, one) in [(.float8E4M3, 0x38), (.float8E5M2, 0x3C)] as [(AtomicDatatype, UInt8)] {
      for pattern in 0...UInt8.max {
        let isNumber = pattern & 0x7F < 0x7F && (type == .float8E4M3 || pattern & 0x7F <= 0x7C)
        let product = element(.product, type, pattern, one, 0)
        #expect(product == pattern || !isNumber && product & 0x7F == 0x7F, "\(type) \(pattern)")
        #expect(element(.logicalOr, type, pattern, 0, 0) == (pattern & 0x7F == 0 ? 0 : one))
        guard isNumber else { continue }
        // Their order is that of their bits, but for the sign.
        let next = pattern &+ 1
        guard pattern & 0x7F < 0x77 else { continue }
        #expect(element(.minimum, type, pattern, next, 0) == (pattern < 0x80 ? pattern : next))
        #expect(element(.swapIfLess, type, pattern, one, pattern) == pattern)
        #expect(element(.swapIfLessOrEqual, type, pattern, one, pattern) == one)
      }
    }
    let e4m3: [(UInt8, UInt8, UInt8)] = [
      (0x38, 0x38, 0x40), (0x38, 0x18, 0x38), (0x39, 0x18, 0x3A), (0x38, 0x19, 0x39), (0x01, 0x01, 0x02),
      (0x07, 0x01, 0x08), (0x7E, 0x58, 0x7E), (0x7E, 0x60, 0x7F), (0xFE, 0xFE, 0xFF), (0x7E, 0xFE, 0x00),
    ]
    for (left, right, sum) in e4m3 { #expect(element(.sum, .float8E4M3, left, right, 0) == sum, "\(left) \(right)") }
    let e5m2: [(UInt8, UInt8, UInt8)] = [
      (0x3C, 0x3C, 0x40), (0x3C, 0x30, 0x3C), (0x3D, 0x30, 0x3E), (0x01, 0x01, 0x02), (0x03, 0x01, 0x04),
      (0x7B, 0x7B, 0x7C), (0xFB, 0xFB, 0xFC), (0x7C, 0x3C, 0x7C), (0x7C, 0xFC, 0x7F), (0x7B, 0x6C, 0x7C),
    ]
    for (left, right, sum) in e5m2 { #expect(element(.sum, .float8E5M2, left, right, 0) == sum, "\(left) \(right)") }
  }

  /// What an operation makes of one element.
  private func element<Element: BitwiseCopyable>(
    _ operation: AtomicOperator, _ datatype: AtomicDatatype, _ target: Element, _ operand: Element, _ compare: Element
  ) -> Element {
    var target = target
    withUnsafeBytes(of: operand) { operand in
      withUnsafeBytes(of: compare) { compare in
        withUnsafeMutableBytes(of: &target) {
          AtomicArithmetic.apply(
            operation, datatype, target: $0.baseAddress!, operand: operand.baseAddress!,
            compare: compare.baseAddress!, count: 1)
        }
      }
    }
    return target
  }

  /// A sum over a buffer that is its own operand, as reductions may have it.
  @Test func targetAsOperand() {
    var values: [Int32] = [1, -2, 3]
    values.withUnsafeMutableBytes {
      AtomicArithmetic.apply(.sum, .int32, target: $0.baseAddress!, operand: $0.baseAddress!, count: 3)
    }
    #expect(values == [2, -4, 6])
  }

  @Test func numbersOfTheHeaders() {
    #expect(UInt32(AtomicOperator.minimum.rawValue) == FI_MIN.rawValue)
    #expect(UInt32(AtomicOperator.bitwiseXor.rawValue) == FI_BXOR.rawValue)
    #expect(UInt32(AtomicOperator.read.rawValue) == FI_ATOMIC_READ.rawValue)
    #expect(UInt32(AtomicOperator.swapIfGreater.rawValue) == FI_CSWAP_GT.rawValue)
    #expect(UInt32(AtomicOperator.maskedSwap.rawValue) == FI_MSWAP.rawValue)
    #expect(UInt32(AtomicOperator.difference.rawValue) == FI_DIFF.rawValue)
    #expect(UInt32(AtomicDatatype.uint64.rawValue) == FI_UINT64.rawValue)
    #expect(UInt32(AtomicDatatype.floatComplex.rawValue) == FI_FLOAT_COMPLEX.rawValue)
    #expect(UInt32(AtomicDatatype.longDoubleComplex.rawValue) == FI_LONG_DOUBLE_COMPLEX.rawValue)
    #expect(UInt32(AtomicDatatype.uint128.rawValue) == FI_UINT128.rawValue)
    #expect(UInt32(AtomicDatatype.float16.rawValue) == FI_FLOAT16.rawValue)
    #expect(UInt32(AtomicDatatype.float8E5M2.rawValue) == FI_FLOAT8_E5M2.rawValue)
  }

  /// The matrix that upstream's providers answer fi_query_atomic with is part of this one.
  @Test func whatIsPermitted() {
    #expect(AtomicDatatype.int128.permits(.bitwiseXor) && AtomicDatatype.uint8.permits(.maskedSwap))
    #expect(AtomicDatatype.double.permits(.minimum) && !AtomicDatatype.double.permits(.bitwiseOr))
    #expect(AtomicDatatype.floatComplex.permits(.swapIfNotEqual) && !AtomicDatatype.floatComplex.permits(.maximum))
    #expect(!AtomicDatatype.floatComplex.permits(.swapIfLess) && !AtomicDatatype.float.permits(.maskedSwap))
    #expect(!AtomicClass.base.permits(.read) && AtomicClass.fetch.permits(.read) && !AtomicClass.compare.permits(.read))
    #expect(AtomicClass.base.permits(.write) && AtomicClass.fetch.permits(.difference))
    #expect(!AtomicClass.fetch.permits(.swapIfEqual) && AtomicClass.compare.permits(.maskedSwap))
  }
}

/// Two parts, as complex numbers lie in memory.
private struct Pair<Part: BinaryFloatingPoint & BitwiseCopyable>: Equatable, BitwiseCopyable {
  var real: Part
  var imaginary: Part

  init(_ real: Part, _ imaginary: Part) {
    self.real = real
    self.imaginary = imaginary
  }
}
