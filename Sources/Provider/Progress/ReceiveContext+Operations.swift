import CFabric
import Datagram
import Transport

// Receives from post to match. All return 0 or a negative FI_E value, as their C functions do.
extension ReceiveContext {
  /// Whom a receive wants messages from: one connection if it is directed, else any; nil for an address that is not
  /// there, or none where one must be given.
  @inline(__always)
  func wantedConnection(_ address: UInt64, _ kind: UInt64) -> ConnectionIndex? {
    let isDirected = kind == FI_TAGGED ? directsTagged : directsMessages
    guard address != unspecifiedAddress && isDirected else {
      return isDirected && demandsSource ? nil : PostedReceive.anyConnection
    }
    if isShared { return wantedSender(address) }
    return port.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.connection(to: address) }
  }

  /// Posts a receive. `kind` is FI_MSG or FI_TAGGED; an untagged one has tag 0 and ignores none of it.
  @inline(__always)
  package func receive(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    if flags & FI_MULTI_RECV != 0 {
      return receiveMany(
        pieces, from: address, kind: kind, tag: tag, ignore: ignore, context: context, flags: flags)
    }
    lock()
    defer { unlock() }
    let result = begin(
      pieces, from: address, kind: kind, tag: tag, ignore: ignore, context: context, flags: flags & FI_COMPLETION)
    return result == Int(-FI_EAGAIN) ? tryAgain() : result
  }

  /// Starts deferred work, with the lock held. Returns -FI_EAGAIN while there is no room for it.
  func begin(_ work: DeferredWork) -> Int {
    let reported = work.reported(0)
    return begin(
      work.pieces, from: work.address, kind: work.kind, tag: work.tag, ignore: work.ignore, context: reported.context,
      flags: reported.flags)
  }

  /// `flags`: FI_COMPLETION, or FI_TRIGGER of deferred work whose end is its own affair.
  @inline(__always)
  private func begin(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    guard obstacle == 0 || isHere(kind, tag, ignore) else { return -Int(obstacle) }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    guard let index = prepareReceive(pieces, kind, tag, context, flags, in: queue) else { return Int(-FI_EAGAIN) }
    let entry = receives[index]
    entry.pointee.connection = wanted
    entry.pointee.ignore = ignore
    let isTagged = kind == FI_TAGGED
    if !unexpected.isEmpty(tagged: isTagged),
      let message = unexpected.find(tagged: isTagged, tag: tag, ignore: ignore, from: wanted)
    {
      guard !isShared || reserve(for: message) else {
        receives.free(index)
        return Int(-FI_EAGAIN)
      }
      deliver(message, to: index)
    } else {
      receives.append(index, tagged: isTagged)
    }
    return 0
  }

  /// Whether the message that a receive is for came before the connection was gone.
  @inline(never)
  private func isHere(_ kind: UInt64, _ tag: UInt64, _ ignore: UInt64) -> Bool {
    obstacle == FI_ENOTCONN
      && unexpected.find(tagged: kind == FI_TAGGED, tag: tag, ignore: ignore, from: PostedReceive.anyConnection) != nil
  }

  /// A receive that waits for nothing yet, and room for its completion in `queue`, if that is known.
  @inline(__always)
  func prepareReceive(
    _ pieces: Pieces, _ kind: UInt64, _ tag: UInt64, _ context: UInt, _ flags: UInt64,
    in queue: Unmanaged<CompletionQueue>?
  ) -> UInt32? {
    guard let index = receives.allocate(pieces.first, count: pieces.count) else { return nil }
    if let queue, !queue._withUnsafeGuaranteedRef({ $0.reserve() }) {
      receives.free(index)
      return nil
    }
    let entry = receives[index]
    entry.pointee.connection = PostedReceive.anyConnection
    entry.pointee.flags = UInt32(truncatingIfNeeded: kind | FI_RECV | flags & (FI_COMPLETION | FI_TRIGGER))
    entry.pointee.tag = tag
    entry.pointee.ignore = 0
    entry.pointee.context = context
    return index
  }

  /// Lets a receive take a message that came before it.
  @inline(never)
  private func deliver(_ message: UInt32, to index: UInt32) {
    let port = unexpected[message].pointee.port.unsafelyUnwrapped
    let now = Clock.now()
    if let multi, multi.isBacklogged, !unexpected[message].pointee.isClaimed {
      // The message belongs to a buffer that was posted earlier.
      if isShared {
        port._withUnsafeGuaranteedRef { $0.binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
      }
      receives.append(index, tagged: receives[index].pointee.flags & UInt32(FI_TAGGED) != 0)
    } else {
      _ = hand(message, to: index, hasRoom: true, now)
    }
    port._withUnsafeGuaranteedRef { $0.acceptedHeld(now) }
  }

  /// Gives a held message to a receive, which was taken out of its list unless it is a buffer for many; false when the
  /// completion queue `hasRoom` neither yet nor now.
  func hand(_ message: UInt32, to index: UInt32, hasRoom: Bool, _ now: Instant) -> Bool {
    let found = unexpected[message].pointee
    let port = found.port.unsafelyUnwrapped
    if !hasRoom && !port._withUnsafeGuaranteedRef({ $0.findRoom(for: self) }) { return false }
    if receives[index].pointee.isMulti {
      port._withUnsafeGuaranteedRef { pack(message, into: index, at: $0, now) }
      return true
    }
    if !hasRoom { port._withUnsafeGuaranteedRef { $0.spendSpareCompletion(of: self) } }
    unexpected.unlink(message)
    unexpected.free(message)
    assign(index, connection: found.sender, flags: found.flags, tag: found.tag, data: found.data)
    port._withUnsafeGuaranteedRef {
      $0.noteUnexpected(isNew: false)
      if isShared { $0.receiveBegins(index, in: self) }
      $0.transport.acceptHeld(
        found.handle, receives.slices(index), count: Int(receives[index].pointee.sliceCount),
        cookie: TransferName.receive(index, of: self), now: now)
    }
    return true
  }

  /// FI_PEEK, FI_CLAIM and FI_DISCARD of fi_trecvmsg(3), and of fi_recvmsg(3).
  ///
  /// A peek ends at once, with the message's description or FI_ENOMSG. A claim takes the message that a peek with the
  /// same context kept; -FI_ENOMSG if there is none.
  @inline(never)
  package func receiveKept(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    lock()
    defer { unlock() }
    guard obstacle != Int32(FI_ENOCQ) else { return -Int(FI_ENOCQ) }
    if flags & FI_PEEK == 0 && flags & FI_MULTI_RECV != 0 { return Int(-FI_EINVAL) }
    if flags & FI_PEEK == 0 { return claim(pieces, kind, context, flags) }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    if let multi, multi.isBacklogged { return tryAgain() }
    let found = unexpected.find(tagged: kind == FI_TAGGED, tag: tag, ignore: ignore, from: wanted)
    guard let queue = answerQueue(for: found) else { return -Int(FI_ENOCQ) }
    // Room for the answer comes first: a message must not be claimed or dropped without the program knowing.
    guard queue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return tryAgain() }
    guard let message = found else {
      queue._withUnsafeGuaranteedRef {
        $0.pushError(
          context: context, flags: kind | FI_RECV, length: 0, buffer: 0, data: 0, tag: tag, olen: 0, err: FI_ENOMSG,
          provErrno: FI_ENOMSG, source: UInt64.max)
      }
      return 0
    }
    describe(message, kind, context, flags, to: queue)
    if flags & FI_DISCARD != 0 {
      discard(message)
    } else if flags & FI_CLAIM != 0 {
      unexpected.claim(message, context: context)
    }
    return 0
  }

  private func claim(_ pieces: Pieces, _ kind: UInt64, _ context: UInt, _ flags: UInt64) -> Int {
    guard let message = unexpected.find(claimedBy: context), let queue = answerQueue(for: message) else {
      return Int(-FI_ENOMSG)
    }
    if flags & FI_DISCARD != 0 {
      guard queue._withUnsafeGuaranteedRef({ $0.reserve() }) else { return tryAgain() }
      describe(message, kind, context, flags, to: queue)
      discard(message)
      return 0
    }
    guard let index = prepareReceive(pieces, kind, 0, context, flags, in: queue) else { return tryAgain() }
    deliver(message, to: index)
    return 0
  }

  /// Completes a peek, or the discarding of a claimed message.
  private func describe(
    _ message: UInt32, _ kind: UInt64, _ context: UInt, _ flags: UInt64, to queue: Unmanaged<CompletionQueue>
  ) {
    let found = unexpected[message].pointee
    guard flags & FI_COMPLETION != 0 else {
      return queue._withUnsafeGuaranteedRef { $0.unreserve() }
    }
    let source = found.port.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.source(of: found.sender) }
    let remoteData = found.flags.contains(.remoteData) ? FI_REMOTE_CQ_DATA : 0
    queue._withUnsafeGuaranteedRef {
      $0.push(
        context: context, flags: kind | FI_RECV | remoteData, length: Int(truncatingIfNeeded: found.length), buffer: 0,
        data: found.data, tag: found.tag, source: source)
    }
  }

  func discard(_ message: UInt32) {
    let found = unexpected[message].pointee
    unexpected.unlink(message)
    unexpected.free(message)
    found.port.unsafelyUnwrapped._withUnsafeGuaranteedRef {
      $0.noteUnexpected(isNew: false)
      $0.transport.discardHeld(found.handle, now: Clock.now())
    }
  }

  /// Cancels the oldest waiting receive with a context; what is already being received cannot be stopped.
  package func cancel(context: UInt) {
    lock()
    defer { unlock() }
    let queue = isShared ? answerQueue(for: nil) : queue
    if isShared, let queue, !queue._withUnsafeGuaranteedRef({ $0.reserve() }) { return }
    guard let index = receives.take(context: context) else {
      if isShared { queue?._withUnsafeGuaranteedRef { $0.unreserve() } }
      return cancelTriggered(context)
    }
    if receives[index].pointee.isMulti { return cancelBuffer(index) }
    guard let queue else { return receives.free(index) }
    fail(index, length: 0, overflow: 0, code: FI_ECANCELED, providerCode: FI_ECANCELED, at: nil, to: queue)
  }

  /// Cancels the oldest triggered operation with a context: a receive, or what its endpoint sends if it is the only context.
  private func cancelTriggered(_ context: UInt) {
    let port = port?.takeUnretainedValue()
    let isWhole = !isShared && port?.contexts == nil
    engine._withUnsafeGuaranteedRef {
      _ = $0.cancelTriggered(context: context) { work in
        if isWhole, let port { work.isAt(port) } else { work.isAt(self) }
      }
    }
  }

  // MARK: Shared contexts

  /// Where something about an unexpected message is told, or, without one, about a receive that met none: of a shared
  /// context the queue of the message's port; its own if it has one, or that of the port that has shared it longest.
  func answerQueue(for message: UInt32?) -> Unmanaged<CompletionQueue>? {
    guard isShared else { return queue }
    let place = message.map { unexpected[$0].pointee.port.unsafelyUnwrapped } ?? port
    if message == nil, let boundQueue { return boundQueue }
    return place?._withUnsafeGuaranteedRef { $0.binding.receiveQueue }
  }

  @inline(never)
  private func reserve(for message: UInt32) -> Bool {
    answerQueue(for: message).map { $0._withUnsafeGuaranteedRef { $0.reserve() } } ?? false
  }

  /// What a receive from an entry of the address vector looks for; nil for one that is not there.
  @inline(never)
  private func wantedSender(_ address: UInt64) -> ConnectionIndex? {
    guard address < UInt64(Self.unknownSender) else { return nil }
    guard let port else { return ConnectionIndex(address) }
    guard port._withUnsafeGuaranteedRef({ $0.isInserted(address) }) else { return nil }
    if hasUnknownSenders { resolveSenders(port) }
    return ConnectionIndex(address)
  }

  /// Messages from peers that were inserted meanwhile may be what a receive is for.
  private func resolveSenders(_ port: Unmanaged<Port>) {
    let generation = port._withUnsafeGuaranteedRef { $0.addressGeneration }
    guard generation != resolvedGeneration else { return }
    resolvedGeneration = generation
    hasUnknownSenders = false
    unexpected.forEach { queue, index in
      guard queue[index].pointee.connection == Self.unknownSender else { return }
      let sender = queue[index].pointee.sender
      let number = queue[index].pointee.port.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.senderNumber(of: sender) }
      queue[index].pointee.connection = number
      if number == Self.unknownSender { hasUnknownSenders = true }
    }
    unexpected.sendersChanged()
  }

  /// Stands for a peer that is not in the address vector.
  static var unknownSender: ConnectionIndex { .max - 1 }

  /// For programs that try again without ever polling, which is what frees resources.
  @inline(never)
  func tryAgain() -> Int {
    engine._withUnsafeGuaranteedRef { $0.progressAside() }
    return Int(-FI_EAGAIN)
  }
}
