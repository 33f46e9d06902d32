import CFabric
import Datagram
import Packet
import Transport

/// Pieces of the program's memory for one operation.
package struct Pieces {
  package var first: UnsafePointer<Slice>
  package var count: Int

  @inline(__always)
  package init(_ first: UnsafePointer<Slice>, _ count: Int) {
    self.first = first
    self.count = count
  }

  /// Bytes of all pieces.
  @inline(__always)
  package var length: Int {
    if count == 1 { return first.pointee.count }
    var total = 0
    for index in 0..<count { total &+= first[index].count }
    return total
  }
}

// Operations that this side starts. All return 0 or a negative FI_E value, as their C functions do.
extension Port {
  /// Sends a message. `kind` is FI_MSG or FI_TAGGED, `flags` the flags of fi_sendmsg(3) with the endpoint's own merged
  /// in.
  @inline(__always)
  package func send(
    _ pieces: Pieces, to address: UInt64, kind: UInt64, tag: UInt64, data: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    var operationFlags = operationFlags(flags)
    if flags & (FI_TRANSMIT_COMPLETE | FI_DELIVERY_COMPLETE | FI_MATCH_COMPLETE) == 0 {
      operationFlags.insert(.buffered)
    }
    if kind == FI_TAGGED { operationFlags.insert(.tagged) }
    let reported = OperationContext(context: context, flags: kind | FI_SEND | flags & FI_COMPLETION)
    var operation = Operation(
      kind: .message, flags: operationFlags, slices: pieces.first, sliceCount: pieces.count, cookie: reported.cookie)
    operation.tag = tag
    operation.data = data
    return start(operation, to: address, pieces, flags)
  }

  /// Writes to, or reads from, a peer's memory. The segments' lengths sum up to that of the pieces.
  @inline(__always)
  package func access(
    _ direction: OperationKind, _ pieces: Pieces, at segments: UnsafePointer<RemoteSegment>, segmentCount: Int,
    of address: UInt64, data: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let kind = direction == .read ? FI_RMA | FI_READ : FI_RMA | FI_WRITE
    // A read takes nothing along and is over when its data is here.
    let flags = direction == .read ? flags & ~(FI_INJECT | FI_REMOTE_CQ_DATA | FI_DELIVERY_COMPLETE) : flags
    let reported = OperationContext(context: context, flags: kind | flags & FI_COMPLETION)
    var operation = Operation(
      kind: direction, flags: operationFlags(flags), slices: pieces.first, sliceCount: pieces.count,
      cookie: reported.cookie)
    operation.data = data
    operation.segments = segments
    operation.segmentCount = segmentCount
    return start(operation, to: address, pieces, flags)
  }

  @inline(__always)
  private func operationFlags(_ flags: UInt64) -> OperationFlags {
    var result: OperationFlags = []
    if flags & FI_REMOTE_CQ_DATA != 0 { result.insert(.remoteData) }
    if flags & FI_DELIVERY_COMPLETE != 0 { result.insert(.deliveryComplete) }
    if flags & FI_MATCH_COMPLETE != 0 { result.insert(.matchComplete) }
    if flags & FI_INJECT != 0 { result.insert(.inject) }
    if flags & FI_FENCE != 0 { result.insert(.fence) }
    if (flags | countedFlags) & FI_COMPLETION == 0 { result.insert(.silent) }
    return result
  }

  @inline(__always)
  private func start(_ operation: borrowing Operation, to address: UInt64, _ pieces: Pieces, _ flags: UInt64) -> Int {
    let length = pieces.length
    guard length >= 0 && (flags & FI_INJECT == 0 || length <= options.injectSize) else { return Int(-FI_EINVAL) }
    guard options.hasTransmitQueue else { return -Int(FI_ENOCQ) }
    lock()
    defer { unlock() }
    guard let connection = connection(to: address) else { return Int(-FI_EINVAL) }
    guard outstanding < transmitLimit || mayExceedLimit(),
      binding.transmitQueue._withUnsafeGuaranteedRef({ $0.reserve() })
    else { return tryAgain() }
    guard transport.post(operation, on: connection) == .queued else {
      binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() }
      return tryAgain()
    }
    outstanding &+= 1
    queuedBytes &+= length &+ Self.frameHeader
    queuedOperations &+= 1
    if !operation.flags.contains(.buffered) || length > transport.longestInRun { queuedWaiting &+= 1 }
    if flags & FI_MORE == 0 { flushIfDue() }
    return 0
  }

  /// About what a frame has beside its payload.
  @inline(__always) private static var frameHeader: Int { 16 }

  /// For programs that try again without ever polling, which is what frees resources.
  @inline(never)
  func tryAgain() -> Int {
    binding.engine._withUnsafeGuaranteedRef { $0.progress() }
    return Int(-FI_EAGAIN)
  }
}
