import CFabric
import CPlatform
import Datagram
import Transport

// Buffers that take one message after the other: FI_MULTI_RECV of fi_msg(3) and fi_tagged(3).
//
// Such a buffer waits among the other receives, and keeps its place there until less than FI_OPT_MIN_MULTI_RECV is free of
// it. Each message has a completion of its own; FI_MULTI_RECV is set in the one after which nothing touches the buffer any
// more, which is not the one of its last part when an earlier one takes longer to arrive.
extension Port {
  /// Posts a buffer for many messages. Where the flag is an endpoint's default, tagged receives have it only with
  /// FI_TAGGED_MULTI_RECV.
  @inline(never)
  func receiveMany(
    _ pieces: Pieces, from address: UInt64, kind: UInt64, tag: UInt64, ignore: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let isTagged = kind == FI_TAGGED
    if options.capabilities & (isTagged ? FI_TAGGED_MULTI_RECV : FI_MULTI_RECV) == 0 {
      guard isTagged && receiveFlags & FI_MULTI_RECV != 0 else { return Int(-FI_EOPNOTSUPP) }
      return receive(
        pieces, from: address, kind: kind, tag: tag, ignore: ignore, context: context, flags: flags & ~FI_MULTI_RECV)
    }
    guard options.hasReceiveQueue else { return -Int(FI_ENOCQ) }
    guard pieces.count == 1 else { return Int(-FI_EINVAL) }
    lock()
    defer { unlock() }
    guard let wanted = wantedConnection(address, kind) else { return Int(-FI_EINVAL) }
    guard let index = prepareReceive(pieces, kind, tag, context, flags) else { return tryAgain() }
    if multi == nil { multi = MultiReceives(capacity: transport.configuration.inboundTransfers) }
    needsSpareCompletion = true
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
    var isChanged = false
    while entry.pointee.bufferState == .open,
      let message = unexpected.find(
        tagged: isTagged, tag: entry.pointee.tag, ignore: entry.pointee.ignore, from: entry.pointee.connection)
    {
      guard hand(message, to: index, now) else {
        multi.isBacklogged = true
        break
      }
      isChanged = true
    }
    if isChanged { acceptedHeld(now) }
  }

  /// Gives a held message to a receive; false when a buffer for many has no room for its completion.
  func hand(_ message: UInt32, to index: UInt32, _ now: Instant) -> Bool {
    let found = unexpected[message].pointee
    guard receives[index].pointee.isMulti else {
      unexpected.unlink(message)
      unexpected.free(message)
      assign(index, connection: found.connection, flags: found.flags, tag: found.tag, data: found.data)
      transport.acceptHeld(
        found.handle, receives.slices(index), count: Int(receives[index].pointee.sliceCount),
        cookie: TransferName.receive(index), now: now)
      return true
    }
    guard let multi, hasRoom(index, for: found.length) else { return false }
    unexpected.unlink(message)
    unexpected.free(message)
    let packed = place(
      index, PackedMessage(
        buffer: index, connection: found.connection, flags: found.flags, place: Slice(base: nil, count: 0),
        tag: found.tag, data: found.data), found.length)
    let name = TransferName.packed(multi.add(packed))
    withUnsafePointer(to: packed.place) { transport.acceptHeld(found.handle, $0, count: 1, cookie: name, now: now) }
    return true
  }

  /// A message that starts, and the buffer it goes into.
  @inline(never)
  func pack(_ event: UnsafePointer<Event>, into index: UInt32) {
    guard let multi else { return }
    let length = event.pointee.length
    let packed = place(
      index, PackedMessage(
        buffer: index, connection: event.pointee.connection, flags: event.pointee.flags,
        place: Slice(base: nil, count: 0), tag: event.pointee.tag, data: event.pointee.data), length)
    guard let payload = event.pointee.payload else {
      let name = TransferName.packed(multi.add(packed))
      return withUnsafePointer(to: packed.place) { transport.accept($0, count: 1, cookie: name) }
    }
    if packed.place.count > 0 { memcpy(packed.place.base!, payload, packed.place.count) }
    finish(packed, length, .ok)
  }

  /// Whether a message uses a buffer up.
  private func usesUp(_ index: UInt32, _ length: UInt64) -> Bool {
    let free = UInt64(truncatingIfNeeded: receives[index].pointee.slice.count)
    return length >= free || free - length < UInt64(UInt(bitPattern: minimumMultiReceive))
  }

  /// Sees to it that the completion queue has room for a message's entry. What uses its buffer up has the buffer's own.
  private func hasRoom(_ index: UInt32, for length: UInt64) -> Bool {
    if !hasSpareCompletion && !usesUp(index, length) {
      hasSpareCompletion = binding.receiveQueue._withUnsafeGuaranteedRef { $0.reserveUncounted() }
      return hasSpareCompletion
    }
    return true
  }

  /// Takes a message's part of a buffer, and the room of its completion, which is there.
  private func place(_ index: UInt32, _ message: PackedMessage, _ length: UInt64) -> PackedMessage {
    let entry = receives[index]
    let isUsedUp = usesUp(index, length)
    let count = min(Int(clamping: length), entry.pointee.slice.count)
    var message = message
    message.place = Slice(base: entry.pointee.slice.base, count: count)
    entry.pointee.slice.base = entry.pointee.slice.base.map { $0 + count }
    entry.pointee.slice.count -= count
    entry.pointee.messages += 1
    if isUsedUp {
      entry.pointee.bufferState = .used
      multi?.usedBuffers += 1
      receives.unlink(index)
    } else {
      hasSpareCompletion = false
    }
    return message
  }

  /// The rest of a message has arrived, or never will.
  @inline(never)
  func packedReceived(_ event: UnsafePointer<Event>) {
    guard let packed = multi?.remove(TransferName.index(event.pointee.cookie)) else { return }
    finish(packed, event.pointee.length, event.pointee.status)
  }

  /// Reports a message, and with the last one that its buffer is the program's again.
  private func finish(_ message: PackedMessage, _ length: UInt64, _ status: TransportStatus) {
    let entry = receives[message.buffer]
    entry.pointee.messages -= 1
    let state = entry.pointee.bufferState
    let isLast = entry.pointee.messages == 0 && state != .open
    var flags = UInt64(entry.pointee.flags) & ~(FI_COMPLETION | FI_MULTI_RECV)
    if message.flags.contains(.remoteData) { flags |= FI_REMOTE_CQ_DATA }
    if isLast && state == .used { flags |= FI_MULTI_RECV }
    report(
      message, length, status, context: entry.pointee.context, flags: flags,
      isWanted: UInt64(entry.pointee.flags) & FI_COMPLETION != 0)
    guard isLast else { return }
    if state == .cancelled { return endCancelled(message.buffer) }
    multi?.usedBuffers -= 1
    receives.free(message.buffer)
  }

  private func report(
    _ message: PackedMessage, _ length: UInt64, _ status: TransportStatus, context: UInt, flags: UInt64, isWanted: Bool
  ) {
    let buffer = UInt(bitPattern: message.place.base)
    let source = source(of: message.connection)
    let overflow = max(Int(clamping: length) - message.place.count, 0)
    let isUnknown = source == UInt64.max && reportsUnknownSources
    if status == .ok && overflow == 0 && !(isUnknown && isWanted) {
      // The release of a buffer is told although its completions are not wanted (fi_msg(3)).
      guard isWanted || flags & FI_MULTI_RECV != 0 else {
        return binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() }
      }
      return binding.receiveQueue._withUnsafeGuaranteedRef {
        $0.push(
          context: context, flags: flags, length: message.place.count, buffer: buffer, data: message.data,
          tag: message.tag, source: source)
      }
    }
    let isComplete = status == .ok
    let code = isComplete ? overflow > 0 ? Int32(FI_ETRUNC) : FI_EADDRNOTAVAIL : TransferError.code(status)
    let errorData = errorData(source, message.connection)
    binding.receiveQueue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: context, flags: flags, length: isComplete ? message.place.count : 0, buffer: buffer,
        data: message.data, tag: message.tag, olen: isComplete ? overflow : 0, err: code,
        provErrno: isComplete ? code : TransferError.providerCode(status), source: source, errorData: errorData)
    }
  }

  /// fi_cancel of a buffer that was just taken out of its list: it is the program's when its last message is over.
  func cancelBuffer(_ index: UInt32) {
    let entry = receives[index]
    entry.pointee.bufferState = .cancelled
    if entry.pointee.messages == 0 { endCancelled(index) }
  }

  private func endCancelled(_ index: UInt32) {
    receives[index].pointee.connection = PostedReceive.anyConnection
    failReceive(index, length: 0, overflow: 0, code: FI_ECANCELED, providerCode: FI_ECANCELED)
  }

  // MARK: Room in the completion queue

  /// Sets room aside for the next completion that no receive has room for; false when there is none. What came before
  /// goes first: messages that wait for their completions' room.
  @inline(never)
  func findSpareCompletion() -> Bool {
    hasSpareCompletion = binding.receiveQueue._withUnsafeGuaranteedRef { $0.reserveUncounted() }
    guard hasSpareCompletion, let multi, multi.isBacklogged else { return hasSpareCompletion }
    let now = Clock.now()
    multi.isBacklogged = !matchHeld(tagged: false, now) || !matchHeld(tagged: true, now)
    if !hasSpareCompletion { hasSpareCompletion = binding.receiveQueue._withUnsafeGuaranteedRef { $0.reserveUncounted() } }
    return hasSpareCompletion
  }

  /// Matches held messages with receives, in the order of arrival; false when one lacks room for its completion.
  private func matchHeld(tagged isTagged: Bool, _ now: Instant) -> Bool {
    var message = unexpected.first(tagged: isTagged)
    while message != .max {
      let held = unexpected[message].pointee
      if let index = receives.take(tagged: isTagged, tag: held.tag, from: held.connection),
        !hand(message, to: index, now)
      {
        return false
      }
      message = held.next
    }
    return true
  }
}
