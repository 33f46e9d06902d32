import CFabric

/// A type that atomic operations work on, in libfabric's terms and in the machine's own byte order.
public protocol AtomicValue: BitwiseCopyable, Sendable {
  /// The number of the type in fi_atomic(3), `enum fi_datatype`.
  static var datatype: UInt32 { get }
}

extension Int8: AtomicValue {
  /// `FI_INT8`
  public static var datatype: UInt32 { FI_INT8.rawValue }
}

extension UInt8: AtomicValue {
  /// `FI_UINT8`
  public static var datatype: UInt32 { FI_UINT8.rawValue }
}

extension Int16: AtomicValue {
  /// `FI_INT16`
  public static var datatype: UInt32 { FI_INT16.rawValue }
}

extension UInt16: AtomicValue {
  /// `FI_UINT16`
  public static var datatype: UInt32 { FI_UINT16.rawValue }
}

extension Int32: AtomicValue {
  /// `FI_INT32`
  public static var datatype: UInt32 { FI_INT32.rawValue }
}

extension UInt32: AtomicValue {
  /// `FI_UINT32`
  public static var datatype: UInt32 { FI_UINT32.rawValue }
}

extension Int64: AtomicValue {
  /// `FI_INT64`
  public static var datatype: UInt32 { FI_INT64.rawValue }
}

extension UInt64: AtomicValue {
  /// `FI_UINT64`
  public static var datatype: UInt32 { FI_UINT64.rawValue }
}

extension Float: AtomicValue {
  /// `FI_FLOAT`
  public static var datatype: UInt32 { FI_FLOAT.rawValue }
}

extension Double: AtomicValue {
  /// `FI_DOUBLE`
  public static var datatype: UInt32 { FI_DOUBLE.rawValue }
}

/// What an atomic operation does with each element of a peer's memory.
///
/// Man page: fi_atomic(3)
public enum AtomicOperation: Hashable, Sendable {
  /// The smaller of both.
  case minimum
  /// The greater of both.
  case maximum
  /// The sum.
  case sum
  /// The product.
  case product
  /// 1 if either is not 0.
  case logicalOr
  /// 1 if both are not 0.
  case logicalAnd
  /// 1 if exactly one is not 0.
  case logicalXor
  /// All bits of both.
  case bitwiseOr
  /// The bits that both have.
  case bitwiseAnd
  /// The bits that exactly one has.
  case bitwiseXor
  /// What there is, unchanged: for ``Endpoint/fetchAtomic(_:_:as:to:result:remote:key:token:)``.
  case read
  /// The new value.
  case write

  var value: fi_op {
    switch self {
    case .minimum: FI_MIN
    case .maximum: FI_MAX
    case .sum: FI_SUM
    case .product: FI_PROD
    case .logicalOr: FI_LOR
    case .logicalAnd: FI_LAND
    case .logicalXor: FI_LXOR
    case .bitwiseOr: FI_BOR
    case .bitwiseAnd: FI_BAND
    case .bitwiseXor: FI_BXOR
    case .read: FI_ATOMIC_READ
    case .write: FI_ATOMIC_WRITE
    }
  }
}

/// When a comparing operation stores its operand: if the comparand compares so with what the peer's memory holds.
///
/// Man page: fi_atomic(3)
public enum AtomicComparison: Hashable, Sendable {
  /// The comparand equals it.
  case equal
  /// The comparand differs.
  case notEqual
  /// The comparand is less.
  case less
  /// The comparand is less, or equal.
  case lessOrEqual
  /// The comparand is greater.
  case greater
  /// The comparand is greater, or equal.
  case greaterOrEqual
  /// Always, but only those bits that the comparand has set.
  case masked

  var value: fi_op {
    switch self {
    case .equal: FI_CSWAP
    case .notEqual: FI_CSWAP_NE
    case .less: FI_CSWAP_LT
    case .lessOrEqual: FI_CSWAP_LE
    case .greater: FI_CSWAP_GT
    case .greaterOrEqual: FI_CSWAP_GE
    case .masked: FI_MSWAP
    }
  }
}
