import CFabric
import CPlatform
import Datagram
import Transport

// Buffers that take one message after the other: FI_MULTI_RECV of fi_msg(3) and fi_tagged(3).
//
// Such a buffer waits among the other receives, and keeps its place there until less than FI_OPT_MIN_MULTI_RECV is free of
// it. Each message has a completion of its own; FI_MULTI_RECV is set in the one after which nothing touches the buffer any
// more, which is not the one of its last part when an earlier one takes longer to arrive.
extension ReceiveContext {
  /// Posts a buffer for many messages.
  @inline(never)
  func receiveMany(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let isTagged = kind == FI_TAGGED
    if isTagged && capabilities & FI_TAGGED_MULTI_RECV == 0 { return Int(-FI_EOPNOTSUPP) }
    guard pieces.count == 1 else { return Int(-FI_EINVAL) }
    lock()
    defer { unlock() }
    guard obstacle == 0 else { return -Int(obstacle) }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    guard let index = prepareReceive(pieces, kind, tag, context, flags, in: queue) else { return tryAgain() }
    if multi == nil { multi = MultiReceives(capacity: unexpected.capacity) }
    port?._withUnsafeGuaranteedRef { $0.needSpareCompletion(for: self) }
    let entry = receives[index]
    entry.pointee.flags |= UInt32(FI_MULTI_RECV)
    entry.pointee.connection = wanted
    entry.pointee.ignore = ignore
    entry.pointee.bufferState = .open
    entry.pointee.messages = 0
    receives.append(index, tagged: isTagged)
    takeUnexpected(index, isTagged)
    return 0
  }

  /// Lets a buffer take the messages that came before it.
  private func takeUnexpected(_ index: UInt32, _ isTagged: Bool) {
    guard let multi, !unexpected.isEmpty(tagged: isTagged), !multi.isBacklogged else { return }
    let entry = receives[index]
    let now = Clock.now()
    var source: Unmanaged<Port>?
    while entry.pointee.bufferState == .open,
      let message = unexpected.find(
        tagged: isTagged, tag: entry.pointee.tag, ignore: entry.pointee.ignore, from: entry.pointee.connection)
    {
      let port = unexpected[message].pointee.port
      guard hand(message, to: index, hasRoom: false, now) else {
        multi.isBacklogged = true
        break
      }
      source = port
    }
    source?._withUnsafeGuaranteedRef { $0.acceptedHeld(now) }
  }

  /// Matches messages that waited for room with receives, in the order of arrival.
  func takeBacklog() {
    if multi?.isBacklogged ?? false { matchBacklog() }
  }

  @inline(never)
  private func matchBacklog() {
    let now = Clock.now()
    let isDone = matchHeld(tagged: false, now) && matchHeld(tagged: true, now)
    multi?.isBacklogged = !isDone
  }

  /// False when a message lacks room for its completion. Those behind it lack it too, but for those of other ports of a
  /// shared context.
  private func matchHeld(tagged isTagged: Bool, _ now: Instant) -> Bool {
    var message = unexpected.first(tagged: isTagged)
    var isDone = true
    while message != .max {
      let held = unexpected[message].pointee
      if let index = receives.find(tagged: isTagged, tag: held.tag, from: held.connection) {
        let isMulti = receives[index].pointee.isMulti
        let hasRoom = !isMulti && !isShared
        if hasRoom || held.port.unsafelyUnwrapped._withUnsafeGuaranteedRef({ $0.findRoom(for: self) }) {
          if !isMulti { receives.unlink(index) }
          _ = hand(message, to: index, hasRoom: hasRoom, now)
        } else {
          isDone = false
        }
      }
      message = held.next
    }
    return isDone
  }

  // MARK: Messages

  /// Puts a held message into a buffer. Its completion has room: the port's spare one.
  func pack(_ message: UInt32, into index: UInt32, at port: Port, _ now: Instant) {
    guard let multi else { return }
    let found = unexpected[message].pointee
    unexpected.unlink(message)
    unexpected.free(message)
    port.noteUnexpected(isNew: false)
    var packed = PackedMessage(
      buffer: index, port: .passUnretained(port), connection: found.sender, flags: found.flags, tag: found.tag,
      data: found.data)
    place(&packed, found.length, at: port)
    let name = TransferName.packed(multi.add(packed), of: self)
    withUnsafePointer(to: packed.place) {
      port.transport.acceptHeld(found.handle, $0, count: 1, cookie: name, now: now)
    }
  }

  /// Puts a message that starts into a buffer. Its completion has room: the port's spare one.
  @inline(never)
  func pack(
    _ event: UnsafePointer<Event>, into index: UInt32, at port: Port, to queue: Unmanaged<CompletionQueue>
  ) {
    guard let multi else { return }
    let length = event.pointee.length
    var packed = PackedMessage(
      buffer: index, port: .passUnretained(port), connection: event.pointee.connection, flags: event.pointee.flags,
      tag: event.pointee.tag, data: event.pointee.data)
    place(&packed, length, at: port)
    guard let payload = port.placeablePayload(event) else {
      let name = TransferName.packed(multi.add(packed), of: self)
      return withUnsafePointer(to: packed.place) { port.transport.accept($0, count: 1, cookie: name) }
    }
    if packed.place.count > 0 { memcpy(packed.place.base!, payload, packed.place.count) }
    finish(packed, length, .ok, at: port, to: queue)
  }

  /// Takes a message's part of its buffer, and the room of its completion.
  private func place(_ message: inout PackedMessage, _ length: UInt64, at port: Port) {
    let entry = receives[message.buffer]
    let count = min(Int(clamping: length), entry.pointee.slice.count)
    message.place = Slice(base: entry.pointee.slice.base, count: count)
    entry.pointee.slice.base = entry.pointee.slice.base.map { $0 + count }
    entry.pointee.slice.count -= count
    entry.pointee.messages += 1
    port.spendSpareCompletion(of: self)
    if entry.pointee.slice.count == 0 || UInt(entry.pointee.slice.count) < UInt(bitPattern: minimumMultiReceive) {
      entry.pointee.bufferState = .used
      receives.unlink(message.buffer)
    }
  }

  /// The rest of a message has arrived, or never will.
  @inline(never)
  func packedReceived(
    _ index: UInt32, _ length: UInt64, _ status: TransportStatus, at port: Port, to queue: Unmanaged<CompletionQueue>
  ) {
    guard let packed = multi?.remove(index) else { return }
    finish(packed, length, status, at: port, to: queue)
  }

  /// A port leaves a shared context: what was arriving at it is cancelled.
  func endPacked(at port: Port) {
    guard let multi else { return }
    let place = Unmanaged.passUnretained(port).toOpaque()
    while let packed = multi.removeFirst(at: place) {
      finish(packed, 0, .closed, at: port, to: port.binding.receiveQueue)
    }
  }

  /// Reports a message, and with the last one that its buffer is the program's again.
  private func finish(
    _ message: PackedMessage, _ length: UInt64, _ status: TransportStatus, at port: Port,
    to queue: Unmanaged<CompletionQueue>
  ) {
    let entry = receives[message.buffer]
    entry.pointee.messages -= 1
    let state = entry.pointee.bufferState
    let isLast = entry.pointee.messages == 0 && state != .open
    var completion = Completion(
      context: entry.pointee.context, flags: UInt64(entry.pointee.flags) & ~FI_MULTI_RECV,
      length: message.place.count, buffer: UInt(bitPattern: message.place.base), data: message.data, tag: message.tag,
      source: port.source(of: message.connection))
    if message.flags.contains(.remoteData) { completion.flags |= FI_REMOTE_CQ_DATA }
    if isLast && state == .used { completion.flags |= FI_MULTI_RECV }
    report(completion, message, length, status, at: port, to: queue)
    if isCounted {
      countEnd(length, isError: status != .ok || length > UInt64(message.place.count), at: port)
    }
    guard isLast else { return }
    if state == .cancelled { return failUnmatched(message.buffer) }
    receives.free(message.buffer)
    self.queue?._withUnsafeGuaranteedRef { $0.unreserve() }
  }

  private func report(
    _ completion: Completion, _ message: PackedMessage, _ length: UInt64, _ status: TransportStatus, at port: Port,
    to queue: Unmanaged<CompletionQueue>
  ) {
    let flags = completion.flags & ~FI_COMPLETION
    let isWanted = completion.flags & FI_COMPLETION != 0
    let overflow = max(Int(clamping: length) - completion.length, 0)
    let isUnknown = completion.source == UInt64.max && port.reportsUnknownSources
    if status == .ok && overflow == 0 && !(isUnknown && isWanted) {
      return queue._withUnsafeGuaranteedRef {
        // The release of a buffer is told although its completions are not wanted (fi_msg(3)).
        guard isWanted || flags & FI_MULTI_RECV != 0 else { return $0.unreserve() }
        $0.push(
          context: completion.context, flags: flags, length: completion.length, buffer: completion.buffer,
          data: completion.data, tag: completion.tag, source: completion.source)
      }
    }
    let isComplete = status == .ok
    let code = isComplete ? overflow > 0 ? Int32(FI_ETRUNC) : FI_EADDRNOTAVAIL : TransferError.code(status)
    let errorData = port.errorData(completion.source, message.connection)
    queue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: completion.context, flags: flags, length: isComplete ? completion.length : 0,
        buffer: completion.buffer, data: completion.data, tag: completion.tag, olen: isComplete ? overflow : 0,
        err: code, provErrno: isComplete ? code : TransferError.providerCode(status), source: completion.source,
        errorData: errorData)
    }
  }

  // MARK: Cancelling

  /// fi_cancel of a buffer that was just taken out of its list: it is the program's when its last message is over.
  func cancelBuffer(_ index: UInt32) {
    receives[index].pointee.bufferState = .cancelled
    if receives[index].pointee.messages == 0 { failUnmatched(index) }
  }
}
