import CFabric
import Datagram
import Packet
import Transport

/// An atomic operation that there is: what is done, to which type, by which kind of call.
///
/// Man page: fi_atomic(3)
package struct AtomicRequest: BitwiseCopyable {
  package let kind: AtomicClass
  package let operation: AtomicOperator
  package let datatype: AtomicDatatype

  /// The operation with these numbers of fi_op and fi_datatype; nil if no call of the kind does that to the type.
  package init?(_ kind: AtomicClass, operation: UInt32, datatype: UInt32) {
    guard let operation = UInt8(exactly: operation).flatMap({ AtomicOperator(rawValue: $0) }),
      let datatype = UInt8(exactly: datatype).flatMap({ AtomicDatatype(rawValue: $0) }),
      kind.permits(operation), datatype.permits(operation)
    else { return nil }
    self.kind = kind
    self.operation = operation
    self.datatype = datatype
  }

  /// What a peer asks for; nil if there is no such operation, or the lengths do not go together.
  init?(_ event: UnsafePointer<Event>) {
    let code = event.pointee.atomic
    let operation = UInt32(code.operation)
    let datatype = UInt32(code.datatype)
    let known =
      event.pointee.flags.contains(.fetch)
      ? AtomicRequest(.fetch, operation: operation, datatype: datatype)
        ?? AtomicRequest(.compare, operation: operation, datatype: datatype)
      : AtomicRequest(.base, operation: operation, datatype: datatype)
    guard let known, event.pointee.length > 0,
      event.pointee.length * UInt64(known.operandsPerElement) == UInt64(event.pointee.operandLength)
    else { return nil }
    for index in 0..<Int(event.pointee.segmentCount)
    where event.pointee.segment(index).length % UInt64(known.datatype.size) != 0 {
      return nil
    }
    self = known
  }

  /// How it travels.
  var code: AtomicCode { AtomicCode(operation: operation.rawValue, datatype: datatype.rawValue) }

  /// Most elements of one operation.
  package var maximumCount: Int { AtomicCode.maximumSize / datatype.size }

  /// Operands and comparands for each element.
  package var operandsPerElement: Int { operation == .read ? 0 : kind == .compare ? 2 : 1 }

  /// Whether the initiator gets what the memory held.
  package var returnsContents: Bool { kind != .base }

  /// The flags of its completion. Returning something makes a read of it, whatever it changes.
  package var completionFlags: UInt64 { FI_ATOMIC | (returnsContents ? FI_READ : FI_WRITE) }
  /// The same where the memory is.
  var remoteFlags: UInt64 { FI_ATOMIC | (returnsContents ? FI_REMOTE_READ : FI_REMOTE_WRITE) }

  /// What the region has to permit.
  var access: RegionAccess { operation == .read ? .read : returnsContents ? .exchange : .write }

  // MARK: Carrying it out

  /// Does it to the memory of `slices`, whose sum is a number of elements. `results` gets what that held before.
  ///
  /// No other does anything meanwhile, in whatever domain of the process.
  @inline(never)
  func apply(
    to slices: UnsafePointer<Slice>, count: Int, operands: UnsafeRawPointer, results: UnsafeMutableRawPointer?,
    length: Int
  ) {
    Self.lock.lock()
    defer { Self.lock.unlock() }
    let size = datatype.size
    var done = 0
    // Bytes of the slice at hand that the element before ends in.
    var skipped = 0
    for index in 0..<count {
      let slice = slices[index]
      let whole = max(slice.count - skipped, 0) / size * size
      if whole > 0 { apply(slice.base! + skipped, whole / size, operands + done, length, results.map { $0 + done }) }
      done += whole
      let rest = slice.count - skipped - whole
      guard rest > 0 else {
        skipped = -rest
        continue
      }
      applyToSplit(slices + index, skipped + whole, operands + done, length, results.map { $0 + done })
      done += size
      skipped = size - rest
    }
  }

  /// Comparands lie `length` bytes behind operands.
  private func apply(
    _ target: UnsafeMutableRawPointer, _ count: Int, _ operands: UnsafeRawPointer, _ length: Int,
    _ results: UnsafeMutableRawPointer?
  ) {
    AtomicArithmetic.apply(
      operation, datatype, target: target, operand: operands, compare: kind == .compare ? operands + length : nil,
      result: results, count: count)
  }

  /// An element that begins `offset` bytes into one piece of a region and ends in another.
  @inline(never)
  private func applyToSplit(
    _ slices: UnsafePointer<Slice>, _ offset: Int, _ operands: UnsafeRawPointer, _ length: Int,
    _ results: UnsafeMutableRawPointer?
  ) {
    withUnsafeTemporaryAllocation(byteCount: Self.largestElement, alignment: 16) { memory in
      let element = memory.baseAddress!
      move(slices, offset, element, isStored: false)
      apply(element, 1, operands, length, results)
      move(slices, offset, element, isStored: true)
    }
  }

  /// Copies such an element from there, or back.
  private func move(
    _ slices: UnsafePointer<Slice>, _ offset: Int, _ element: UnsafeMutableRawPointer, isStored: Bool
  ) {
    var slice = slices
    var offset = offset
    for index in 0..<datatype.size {
      while offset == slice.pointee.count {
        slice += 1
        offset = 0
      }
      let byte = slice.pointee.base! + offset
      if isStored {
        byte.copyMemory(from: element + index, byteCount: 1)
      } else {
        (element + index).copyMemory(from: byte, byteCount: 1)
      }
      offset += 1
    }
  }

  private static let lock = Lock()
  private static var largestElement: Int { 32 }
}
