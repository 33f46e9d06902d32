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
    guard outstanding < options.transmitQueueSize, binding.transmitQueue._withUnsafeGuaranteedRef({ $0.reserve() })
    else { return tryAgain() }
    guard transport.post(operation, on: connection) == .queued else {
      binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() }
      return tryAgain()
    }
    outstanding &+= 1
    queuedBytes &+= length &+ Self.frameHeader
    queuedOperations &+= 1
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

  // MARK: Receives

  /// Whom a receive wants messages from: one connection if it is directed, else any; nil for an address that is not
  /// there.
  @inline(__always)
  private func wantedConnection(_ address: UInt64, _ kind: UInt64) -> ConnectionIndex? {
    guard address != unspecifiedAddress && (kind == FI_TAGGED ? directsTagged : directsMessages) else {
      return PostedReceive.anyConnection
    }
    return connection(to: address)
  }

  /// Posts a receive. `kind` is FI_MSG or FI_TAGGED; an untagged one has tag 0 and ignores none of it.
  @inline(__always)
  package func receive(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    guard options.hasReceiveQueue else { return -Int(FI_ENOCQ) }
    lock()
    defer { unlock() }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    guard let index = prepareReceive(pieces, kind, tag, context, flags) else { return tryAgain() }
    let entry = receives[index]
    entry.pointee.connection = wanted
    entry.pointee.ignore = ignore
    let isTagged = kind == FI_TAGGED
    if !unexpected.isEmpty(tagged: isTagged),
      let message = unexpected.find(tagged: isTagged, tag: tag, ignore: ignore, from: wanted)
    {
      deliver(message, to: index)
    } else {
      receives.append(index, tagged: isTagged)
    }
    return 0
  }

  @inline(__always)
  private func prepareReceive(_ pieces: Pieces, _ kind: UInt64, _ tag: UInt64, _ context: UInt, _ flags: UInt64)
    -> UInt32?
  {
    guard let index = receives.allocate(pieces.first, count: pieces.count) else { return nil }
    guard binding.receiveQueue._withUnsafeGuaranteedRef({ $0.reserve() }) else {
      receives.free(index)
      return nil
    }
    let entry = receives[index]
    entry.pointee.connection = PostedReceive.anyConnection
    entry.pointee.flags = UInt32(truncatingIfNeeded: kind | FI_RECV | flags & FI_COMPLETION)
    entry.pointee.tag = tag
    entry.pointee.ignore = 0
    entry.pointee.context = context
    return index
  }

  /// Lets a receive take a message that came before it.
  @inline(never)
  private func deliver(_ message: UInt32, to index: UInt32) {
    let found = unexpected[message].pointee
    unexpected.unlink(message)
    unexpected.free(message)
    assign(index, connection: found.connection, flags: found.flags, tag: found.tag, data: found.data)
    let now = Clock.now()
    transport.acceptHeld(
      found.handle, receives.slices(index), count: Int(receives[index].pointee.sliceCount),
      cookie: TransferName.receive(index), now: now)
    // Most such messages are here in full.
    if batch.isEmpty { drain(now) }
    if transport.wantsTransmit && binding.engine._withUnsafeGuaranteedRef({ $0.isSomebodyAsleep }) { flush(now) }
  }

  /// FI_PEEK, FI_CLAIM and FI_DISCARD of fi_trecvmsg(3), and of fi_recvmsg(3).
  ///
  /// A peek ends at once, with the message's description or FI_ENOMSG. A claim takes the message that a peek with the
  /// same context kept; -FI_ENOMSG if there is none.
  @inline(never)
  package func receiveKept(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    guard options.hasReceiveQueue else { return -Int(FI_ENOCQ) }
    lock()
    defer { unlock() }
    if flags & FI_PEEK == 0 { return claim(pieces, kind, context, flags) }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    // Room for the answer comes first: a message must not be claimed or dropped without the program knowing.
    guard binding.receiveQueue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return tryAgain() }
    guard let message = unexpected.find(tagged: kind == FI_TAGGED, tag: tag, ignore: ignore, from: wanted) else {
      binding.receiveQueue._withUnsafeGuaranteedRef {
        $0.pushError(
          context: context, flags: kind | FI_RECV, length: 0, buffer: 0, data: 0, tag: tag, olen: 0, err: FI_ENOMSG,
          provErrno: FI_ENOMSG, source: UInt64.max)
      }
      return 0
    }
    describe(message, kind, context, flags)
    if flags & FI_DISCARD != 0 {
      discard(message)
    } else if flags & FI_CLAIM != 0 {
      unexpected.claim(message, context: context)
    }
    return 0
  }

  private func claim(_ pieces: Pieces, _ kind: UInt64, _ context: UInt, _ flags: UInt64) -> Int {
    guard let message = unexpected.find(claimedBy: context) else { return Int(-FI_ENOMSG) }
    if flags & FI_DISCARD != 0 {
      guard binding.receiveQueue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return tryAgain() }
      describe(message, kind, context, flags)
      discard(message)
      return 0
    }
    guard let index = prepareReceive(pieces, kind, 0, context, flags) else { return tryAgain() }
    deliver(message, to: index)
    return 0
  }

  /// Completes a peek, or the discarding of a claimed message.
  private func describe(_ message: UInt32, _ kind: UInt64, _ context: UInt, _ flags: UInt64) {
    let found = unexpected[message].pointee
    guard flags & FI_COMPLETION != 0 else {
      return binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() }
    }
    let source = source(of: found.connection)
    let remoteData = found.flags.contains(.remoteData) ? FI_REMOTE_CQ_DATA : 0
    binding.receiveQueue._withUnsafeGuaranteedRef {
      $0.push(
        context: context, flags: kind | FI_RECV | remoteData, length: Int(truncatingIfNeeded: found.length), buffer: 0,
        data: found.data, tag: found.tag, source: source)
    }
  }

  private func discard(_ message: UInt32) {
    let handle = unexpected[message].pointee.handle
    unexpected.unlink(message)
    unexpected.free(message)
    transport.discardHeld(handle, now: Clock.now())
  }

  /// Cancels the oldest waiting receive with a context; what is already being received cannot be stopped.
  package func cancel(context: UInt) {
    lock()
    defer { unlock() }
    guard let index = receives.take(context: context) else { return }
    receives[index].pointee.connection = PostedReceive.anyConnection
    failReceive(index, length: 0, overflow: 0, code: FI_ECANCELED, providerCode: FI_ECANCELED)
  }
}
