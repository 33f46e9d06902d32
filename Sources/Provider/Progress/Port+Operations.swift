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

/// What posts operations: a port, on behalf of an endpoint or its alias, or of one of its transmit contexts.
package struct Sender: BitwiseCopyable {
  let port: Unmanaged<Port>
  /// The number of the transmit context, 0 for the port's own.
  let number: UInt64
  /// Flags of operations whose call takes none, and what is added to the flags of the others.
  package let flags: UInt64
  package let messageFlags: UInt64

  @inline(__always)
  package init(port: Unmanaged<Port>, number: UInt64, flags: UInt64, messageFlags: UInt64) {
    self.port = port
    self.number = number
    self.flags = flags | messageFlags
    self.messageFlags = messageFlags
  }

  /// Most pieces of local and of remote memory in one operation.
  @inline(__always)
  package var iovLimit: Int { port._withUnsafeGuaranteedRef { $0.options.iovLimit } }
  @inline(__always)
  package var remoteIovLimit: Int { port._withUnsafeGuaranteedRef { $0.options.remoteIovLimit } }
}

// Operations that this side starts. All return 0 or a negative FI_E value, as their C functions do.
extension Sender {
  /// Sends a message. `kind` is FI_MSG or FI_TAGGED, `flags` the flags of fi_sendmsg(3) with the sender's own merged in.
  @inline(__always)
  package func send(
    _ pieces: Pieces, to address: UInt64, kind: UInt64, tag: UInt64, data: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let reported = OperationContext(context: context, flags: kind | FI_SEND | flags & FI_COMPLETION | number)
    var operation = message(pieces, kind: kind, tag: tag, data: data, reported, flags)
    guard name(&operation, address) else { return Int(-FI_EINVAL) }
    return port._withUnsafeGuaranteedRef { $0.start(operation, by: number, to: address, pieces, flags) }
  }

  @inline(__always)
  private func message(
    _ pieces: Pieces, kind: UInt64, tag: UInt64, data: UInt64, _ reported: OperationContext, _ flags: UInt64
  ) -> Operation {
    var operationFlags = operationFlags(flags)
    if flags & (FI_TRANSMIT_COMPLETE | FI_DELIVERY_COMPLETE | FI_MATCH_COMPLETE | FI_COMMIT_COMPLETE) == 0 {
      operationFlags.insert(.buffered)
    }
    // A message is for no persistent memory, and committed when it is delivered.
    if flags & FI_COMMIT_COMPLETE != 0 { operationFlags.insert(.deliveryComplete) }
    if kind == FI_TAGGED { operationFlags.insert(.tagged) }
    var operation = Operation(
      kind: .message, flags: operationFlags, slices: pieces.first, sliceCount: pieces.count, cookie: reported.cookie)
    operation.tag = tag
    operation.data = data
    return operation
  }

  /// Writes to, or reads from, a peer's memory. The segments' lengths sum up to that of the pieces.
  @inline(__always)
  package func access(
    _ direction: OperationKind, _ pieces: Pieces, at segments: UnsafePointer<RemoteSegment>, segmentCount: Int,
    of address: UInt64, data: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let kind = direction == .read ? FI_RMA | FI_READ : FI_RMA | FI_WRITE
    let flags = Self.accessFlags(direction, flags)
    let reported = OperationContext(context: context, flags: kind | flags & FI_COMPLETION | number)
    var operation = access(direction, pieces, data: data, reported, flags)
    operation.segments = segments
    operation.segmentCount = segmentCount
    return port._withUnsafeGuaranteedRef { $0.start(operation, by: number, to: address, pieces, flags) }
  }

  /// A read takes nothing along and is over when its data is here.
  @inline(__always)
  private static func accessFlags(_ direction: OperationKind, _ flags: UInt64) -> UInt64 {
    direction == .read ? flags & ~(FI_INJECT | FI_REMOTE_CQ_DATA | FI_DELIVERY_COMPLETE | FI_COMMIT_COMPLETE) : flags
  }

  @inline(__always)
  private func access(
    _ direction: OperationKind, _ pieces: Pieces, data: UInt64, _ reported: OperationContext, _ flags: UInt64
  ) -> Operation {
    // The target's program need not ask for what is in its memory.
    var operationFlags = operationFlags(flags & ~FI_MATCH_COMPLETE)
    if flags & FI_COMMIT_COMPLETE != 0 { operationFlags.insert(.persistent) }
    var operation = Operation(
      kind: direction, flags: operationFlags, slices: pieces.first, sliceCount: pieces.count, cookie: reported.cookie)
    operation.data = data
    return operation
  }

  /// Starts deferred work, with the lock held. Returns -FI_EAGAIN while there is no room for it.
  @inline(never)
  func begin(_ work: DeferredWork) -> Int {
    let reported = work.reported(work.completionFlags)
    var operation: Operation
    var flags = work.flags
    switch work.action {
    case .send:
      operation = message(work.pieces, kind: work.kind, tag: work.tag, data: work.data, reported, flags)
      guard name(&operation, work.address) else { return Int(-FI_EINVAL) }
    case .atomic:
      let request = work.request.unsafelyUnwrapped
      operation = atomic(request, work.operands, work.results, data: work.data, reported, flags)
    default:
      let direction: OperationKind = work.action == .read ? .read : .write
      flags = Self.accessFlags(direction, flags)
      operation = access(direction, work.pieces, data: work.data, reported, flags)
    }
    if work.segmentCount > 0 {
      operation.segments = work.remoteSegments
      operation.segmentCount = work.segmentCount
    }
    // Queued work always wants to hear of its end.
    if work.isQueued { operation.flags.remove(.silent) }
    let length = work.action == .atomic ? work.operands.length : work.pieces.length
    return port._withUnsafeGuaranteedRef { $0.begin(operation, by: number, to: work.address, length: length, flags) }
  }

  /// Has a message be for the receive context that its address names; false for one of the provider's own.
  @inline(__always)
  private func name(_ operation: inout Operation, _ address: UInt64) -> Bool {
    if address >> Self.namedAddressShift == 0 { return true }
    guard let context = namedContext(address) else { return false }
    operation.context = context
    return true
  }

  /// Entries of the address vector are less; the number of a receive context stands above (fi_rx_addr).
  @inline(__always)
  private static var namedAddressShift: UInt64 { 48 }

  /// Nil for one of the provider's own.
  @inline(never)
  private func namedContext(_ address: UInt64) -> UInt16? {
    let context = port._withUnsafeGuaranteedRef {
      $0.binding.addresses?._withUnsafeGuaranteedRef { $0.receiveContext(address) } ?? 0
    }
    return context < ReceiveContext.firstInternal ? context : nil
  }

  @inline(__always)
  func operationFlags(_ flags: UInt64) -> OperationFlags {
    var result: OperationFlags = []
    if flags & FI_REMOTE_CQ_DATA != 0 { result.insert(.remoteData) }
    if flags & FI_DELIVERY_COMPLETE != 0 { result.insert(.deliveryComplete) }
    if flags & FI_MATCH_COMPLETE != 0 { result.insert(.matchComplete) }
    if flags & FI_INJECT != 0 { result.insert(.inject) }
    if flags & FI_FENCE != 0 { result.insert(.fence) }
    if (flags | port._withUnsafeGuaranteedRef { $0.countedFlags }) & FI_COMPLETION == 0 { result.insert(.silent) }
    return result
  }
}

extension Port {
  @inline(__always)
  func start(
    _ operation: borrowing Operation, by number: UInt64, to address: UInt64, _ pieces: Pieces, _ flags: UInt64
  ) -> Int {
    let length = pieces.length
    guard length >= 0 && (flags & FI_INJECT == 0 || length <= options.injectSize) else { return Int(-FI_EINVAL) }
    lock()
    defer { unlock() }
    let result = begin(operation, by: number, to: address, length: length, flags)
    return result == Int(-FI_EAGAIN) ? tryAgain() : result
  }

  @inline(__always)
  fileprivate func begin(
    _ operation: borrowing Operation, by number: UInt64, to address: UInt64, length: Int, _ flags: UInt64
  ) -> Int {
    guard options.hasTransmitQueue else { return -Int(FI_ENOCQ) }
    guard let connection = connection(to: address) else { return noConnection }
    guard reserve(number) else { return Int(-FI_EAGAIN) }
    guard transport.post(operation, on: connection) == .queued else {
      unreserve(number)
      return Int(-FI_EAGAIN)
    }
    outstanding &+= 1
    queuedBytes &+= length &+ Self.frameHeader
    queuedOperations &+= 1
    if !operation.flags.contains(.buffered) || length > transport.longestInRun { queuedWaiting &+= 1 }
    if flags & FI_MORE == 0 { flushIfDue() }
    return 0
  }

  /// Room for one more operation and for its completion; false when there is none.
  @inline(__always)
  private func reserve(_ number: UInt64) -> Bool {
    if number != 0 { return reserve(inContext: number) }
    return (outstanding < transmitLimit || mayExceedLimit())
      && binding.transmitQueue._withUnsafeGuaranteedRef { $0.reserve() }
  }

  private func unreserve(_ number: UInt64) {
    if number != 0 { return unreserve(inContext: number) }
    binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() }
  }

  /// About what a frame has beside its payload.
  @inline(__always) private static var frameHeader: Int { 16 }

  /// For programs that try again without ever polling, which is what frees resources.
  @inline(never)
  func tryAgain() -> Int {
    binding.engine._withUnsafeGuaranteedRef { $0.progressAside() }
    return Int(-FI_EAGAIN)
  }
}
