import CFabric
import CPlatform
import Containers
import Datagram
import Transport

/// A collective operation as a program asks for it.
package struct CollectiveCall {
  package var kind: CollectiveKind
  /// What this member gives; nil where it gives nothing.
  package var input: UnsafeRawPointer?
  /// Where it wants what comes of it; of a broadcast both.
  package var result: UnsafeMutableRawPointer?
  /// See ``CollectiveSchedule``.
  package var count = 0
  package var group: UInt64
  package var root: UInt64 = 0
  /// Values of fi_datatype and fi_op.
  package var datatype: UInt32 = 0
  package var reduction: UInt32 = 0
  /// Flags of the call with the endpoint's own merged in.
  package var flags: UInt64
  package var context: UInt
  /// `count` is that of all members together.
  package var dividesCount = false
  /// The memory, of a call that names it in pieces.
  package var inputPieces: Pieces?
  package var resultPieces: Pieces?

  package init(_ kind: CollectiveKind, group: UInt64, flags: UInt64, context: UInt) {
    self.kind = kind
    self.group = group
    self.flags = flags
    self.context = context
  }

  /// What fi_query_collective tells: whether there is an operation on elements of a type, reductions with an operator.
  package static func isOffered(_ kind: CollectiveKind, _ datatype: UInt32, _ reduction: UInt32) -> Bool {
    if kind == .barrier { return true }
    guard let type = Self.datatype(datatype) else { return false }
    return !kind.reduces || Self.reduction(reduction).map { type.permits($0) } ?? false
  }

  package static func datatype(_ number: UInt32) -> AtomicDatatype? {
    UInt8(exactly: number).flatMap { AtomicDatatype(rawValue: $0) }
  }

  /// Operators whose operands may be grouped at will: FI_MIN to FI_BXOR.
  static func reduction(_ number: UInt32) -> AtomicOperator? {
    guard number <= UInt32(AtomicOperator.bitwiseXor.rawValue) else { return nil }
    return AtomicOperator(rawValue: UInt8(number))
  }
}

extension Sender {
  /// ``Port/collective(_:)``
  package func collective(_ call: CollectiveCall) -> Int { port._withUnsafeGuaranteedRef { $0.collective(call) } }
}

// Operations that this side takes part in.
extension Port {
  /// Begins a collective operation. Returns 0 or a negative FI_E value, as its C function does: -FI_EINVAL for an address
  /// that is no group's that this endpoint has joined and is a member of, for a root that is none, and for missing memory;
  /// -FI_EOPBADSTATE before FI_JOIN_COMPLETE; what has made the group fail; -FI_EOPNOTSUPP for a datatype or operator that
  /// there is not, and for what the set was made without; -FI_EMSGSIZE for sizes beyond memory; -FI_ENOMEM; -FI_EAGAIN.
  func collective(_ call: CollectiveCall) -> Int {
    guard let collectives else { return Int(-FI_ENOSYS) }
    guard options.hasTransmitQueue else { return -Int(FI_ENOCQ) }
    lock()
    defer { unlock() }
    let result = collectives._withUnsafeGuaranteedRef { $0.call(call) }
    return result == Int(-FI_EAGAIN) ? tryAgain() : result
  }
}

extension Collectives {
  /// ``Port/collective(_:)`` with the lock held.
  func call(_ asked: CollectiveCall) -> Int {
    var call = asked
    guard let handle = CollectiveHandle(address: call.group), let group = group(handle), group.pointee.state != .left,
      let rank = group.pointee.rank
    else { return Int(-FI_EINVAL) }
    if group.pointee.state != .joined { return -Int(FI_EOPBADSTATE) }
    if group.pointee.failure != 0 { return -Int(group.pointee.failure) }
    guard group.pointee.permitted & 1 << UInt16(call.kind.rawValue) != 0,
      CollectiveCall.isOffered(call.kind, call.datatype, call.reduction)
    else { return -Int(FI_EOPNOTSUPP) }
    guard let root = call.kind.hasRoot ? group.pointee.rank(of: call.root) : 0 else { return Int(-FI_EINVAL) }
    let type = call.kind == .barrier ? AtomicDatatype.uint8 : CollectiveCall.datatype(call.datatype)!
    if call.dividesCount {
      let (quotient, remainder) = call.count.quotientAndRemainder(dividingBy: group.pointee.count)
      guard remainder == 0 else { return Int(-FI_EINVAL) }
      call.count = quotient
    }
    let (block, isTooLong) = call.count.multipliedReportingOverflow(by: type.size)
    // Twice the size is what a scratch buffer may take.
    let (doubled, isBeyond) = block.multipliedReportingOverflow(by: 2 * group.pointee.count)
    guard call.count >= 0, !isTooLong, !isBeyond, doubled >= 0 else { return -Int(FI_EMSGSIZE) }
    let schedule = CollectiveSchedule(
      call.kind, members: group.pointee.count, rank: rank, root: root, count: call.count, elementSize: type.size)
    guard hasMemory(call, schedule) else { return Int(-FI_EINVAL) }
    guard operations.available > 0,
      withPort({ port in
        port.binding.transmitQueue._withUnsafeGuaranteedRef { $0.reserve() }
      })
    else { return Int(-FI_EAGAIN) }
    var operation = CollectiveOperation(schedule, in: handle, sequence: group.pointee.sequence)
    operation.input = call.kind == .broadcast ? UnsafeRawPointer(call.result) : call.input
    operation.result = call.result
    operation.datatype = type
    operation.reduction = CollectiveCall.reduction(call.reduction) ?? .sum
    operation.context = call.context
    operation.flags = call.flags
    guard allocate(for: &operation, call) else {
      withPort { $0.binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
      return -Int(FI_ENOMEM)
    }
    group.pointee.sequence &+= 1
    let index = operations.allocate()!
    operations[index].initialize(to: operation)
    start(index)
    return 0
  }

  /// Whether the program gave what this member needs, and has no more injected than may be.
  private func hasMemory(_ call: CollectiveCall, _ schedule: CollectiveSchedule) -> Bool {
    let isRoot = schedule.rank == schedule.root
    guard schedule.size > 0 else { return true }
    let gives = call.kind != .broadcast && (call.kind != .scatter || isRoot)
    let takes = call.kind != .gather && call.kind != .reduce || isRoot
    if gives && call.input == nil && call.inputPieces == nil { return false }
    if takes && call.result == nil && call.resultPieces == nil { return false }
    if let pieces = call.inputPieces, inputSize(call, schedule) > 0, pieces.length != inputSize(call, schedule) {
      return false
    }
    if let pieces = call.resultPieces, resultSize(call, schedule) > 0, pieces.length != resultSize(call, schedule) {
      return false
    }
    if call.kind == .alltoall && call.input != nil && call.input == UnsafeRawPointer(call.result) { return false }
    return call.flags & FI_INJECT == 0 || inputSize(call, schedule) <= Capabilities.injectSize
  }

  /// Bytes that this member gives.
  private func inputSize(_ call: CollectiveCall, _ schedule: CollectiveSchedule) -> Int {
    let isRoot = schedule.rank == schedule.root
    switch call.kind {
    case .barrier: return 0
    case .broadcast, .scatter: return isRoot ? schedule.size : 0
    case .allgather, .gather: return schedule.blockSize
    case .alltoall, .allreduce, .reduceScatter, .reduce: return schedule.size
    }
  }

  /// Bytes that this member gets.
  private func resultSize(_ call: CollectiveCall, _ schedule: CollectiveSchedule) -> Int {
    let isRoot = schedule.rank == schedule.root
    switch call.kind {
    case .barrier: return 0
    case .broadcast: return isRoot ? 0 : schedule.size
    case .gather, .reduce: return isRoot ? schedule.size : 0
    case .scatter, .reduceScatter: return schedule.blockSize
    case .alltoall, .allgather, .allreduce: return schedule.size
    }
  }

  /// Memory beside the program's; false when there is none.
  private func allocate(for operation: inout CollectiveOperation, _ call: CollectiveCall) -> Bool {
    let size = operation.schedule.scratchSize
    if size > BufferPool.largest {
      guard let scratch = malloc(size) else { return false }
      operation.scratch = scratch
    } else if size > 0 {
      operation.scratch = scratchBuffers.allocate(size)
    }
    guard call.inputPieces != nil || call.resultPieces != nil || call.flags & FI_INJECT != 0 else { return true }
    if let packed = pack(call, operation.schedule) {
      operation.packed = packed
      if let input = packed.input { operation.input = UnsafeRawPointer(input) }
      if let result = packed.result { operation.result = result }
      // A broadcast's memory is both.
      if call.kind == .broadcast, let input = packed.input { operation.result = input }
      return true
    }
    if size > BufferPool.largest {
      free(operation.scratch)
    } else if let scratch = operation.scratch {
      scratchBuffers.deallocate(scratch, count: size)
    }
    return false
  }

  /// Copies what the program gives in pieces, or wants back at once. Nil without memory.
  private func pack(_ call: CollectiveCall, _ schedule: CollectiveSchedule) -> PackedMemory? {
    var packed = PackedMemory()
    let given = inputSize(call, schedule)
    if given > 0, call.inputPieces != nil || call.flags & FI_INJECT != 0 {
      guard let copy = malloc(given) else { return nil }
      packed.input = copy
      if let pieces = call.inputPieces {
        var position = copy
        for index in 0..<pieces.count {
          let piece = pieces.first[index]
          if let base = piece.base, piece.count > 0 { position.copyMemory(from: base, byteCount: piece.count) }
          position += piece.count
        }
      } else if let input = call.kind == .broadcast ? UnsafeRawPointer(call.result) : call.input {
        copy.copyMemory(from: input, byteCount: given)
      }
    }
    let wanted = resultSize(call, schedule)
    guard wanted > 0, let pieces = call.resultPieces else { return packed }
    guard let result = malloc(wanted) else {
      packed.releaseMemory()
      return nil
    }
    packed.result = result
    packed.pieces = .allocate(capacity: pieces.count)
    packed.pieces?.update(from: pieces.first, count: pieces.count)
    packed.pieceCount = pieces.count
    return packed
  }
}
