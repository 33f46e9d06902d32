import CFabric
import CPlatform
import Containers
import Transport

/// A collective operation, or a join, from the program's call to its completion.
struct CollectiveOperation: ListLinked {
  // In its group's list.
  var next: UInt32 = .max
  var previous: UInt32 = .max
  /// Next of those that are ready, or that wait for leave to send.
  var nextReady: UInt32 = .max
  var isReady = false
  var isLive = true
  let isJoin: Bool
  /// What went wrong, a positive FI_E value, or 0.
  var failure: Int32 = 0
  let group: CollectiveHandle
  let sequence: UInt32

  let schedule: CollectiveSchedule
  /// The step that is next, and whether all of it is done but its send.
  var step = 0
  var isSending = false
  /// Messages under way that the operation has to wait for.
  var sends: UInt32 = 0
  var receives = IndexList()

  var input: UnsafeRawPointer?
  var result: UnsafeMutableRawPointer?
  var scratch: UnsafeMutableRawPointer?
  /// Of an operation whose program's memory is in several pieces, or may be reused at once.
  var packed: PackedMemory?
  var datatype = AtomicDatatype.uint8
  var reduction = AtomicOperator.sum

  var context: UInt = 0
  /// Flags of the call with the endpoint's own merged in.
  var flags: UInt64 = 0

  init(_ schedule: CollectiveSchedule, in group: CollectiveHandle, sequence: UInt32, isJoin: Bool = false) {
    self.schedule = schedule
    self.group = group
    self.sequence = sequence
    self.isJoin = isJoin
  }

  /// What messages of the operation are tagged with, at this side.
  var tag: CollectiveTag { .step(group, sequence) }

  /// The end of a message is told only when the target has it.
  var waitsForTarget: Bool { flags & (FI_TRANSMIT_COMPLETE | FI_DELIVERY_COMPLETE | FI_MATCH_COMPLETE) != 0 }

  /// Where a span begins that does not wrap.
  func pointer(_ span: CollectiveSpan) -> UnsafeMutableRawPointer? {
    switch span.buffer {
    case .input: UnsafeMutableRawPointer(mutating: input).map { $0 + span.offset }
    case .result: result.map { $0 + span.offset }
    case .scratch: scratch.map { $0 + span.offset }
    }
  }

  /// The one or two pieces of a span; returns how many.
  func slices(_ span: CollectiveSpan, into slices: UnsafeMutablePointer<Slice>) -> Int {
    slices[0] = Slice(base: pointer(span), count: span.length)
    guard span.wrapped > 0 else { return 1 }
    slices[1] = Slice(base: pointer(CollectiveSpan(span.buffer, 0, 0)), count: span.wrapped)
    return 2
  }

  /// The local work of a step.
  func perform(_ step: CollectiveStep) {
    if let combine = step.combine, combine.target.length > 0, let target = pointer(combine.target) {
      AtomicArithmetic.apply(
        reduction, datatype, target: target, operand: pointer(combine.source),
        count: combine.target.length / datatype.size)
    }
    if let copy = step.copy, copy.target.length > 0, let source = pointer(copy.source),
      let target = pointer(copy.target),
      source != target
    {
      // The program's buffers may overlap.
      target.copyMemory(from: source, byteCount: copy.target.length)
    }
  }
}

/// A receive of an operation, posted and waiting, or with its message on the way.
struct CollectiveReceive: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  let operation: UInt32
  /// The rank that the message is to come from, and the connection to it.
  let peer: Int
  let connection: ConnectionIndex
  let length: Int
  var isAccepted = false
  /// The session with that member has ended.
  var isLost = false
  var sliceCount: Int
  var slices: (Slice, Slice) = (Slice(base: nil, count: 0), Slice(base: nil, count: 0))

  init(_ operation: UInt32, from peer: Int, _ connection: ConnectionIndex, length: Int) {
    self.operation = operation
    self.peer = peer
    self.connection = connection
    self.length = length
    sliceCount = 1
  }
}

/// A call's memory in one piece, in the place of the program's several.
struct PackedMemory: BitwiseCopyable {
  /// A copy of the input, of malloc(3); nil where that is the program's.
  var input: UnsafeMutableRawPointer?
  /// In the place of the result; nil likewise.
  var result: UnsafeMutableRawPointer?
  /// Where the result goes in the end.
  var pieces: UnsafeMutablePointer<Slice>?
  var pieceCount = 0

  /// Copies the result to the program's pieces.
  func unpack() {
    guard var position = UnsafeRawPointer(result), let pieces else { return }
    for index in 0..<pieceCount {
      guard let base = pieces[index].base, pieces[index].count > 0 else { continue }
      base.copyMemory(from: position, byteCount: pieces[index].count)
      position += pieces[index].count
    }
  }

  func releaseMemory() {
    free(input)
    free(result)
    pieces?.deallocate()
  }
}
