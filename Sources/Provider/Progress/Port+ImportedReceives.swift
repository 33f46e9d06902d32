import CFabric
import CPlatform
import Datagram
import Packet
import Transport

// A port whose messages meet the receives of another provider, the owner: fi_peer(3), "Peer SRX".
//
// As with shared contexts, the port keeps room for one completion, and hands no event out without.
extension Port {
  /// Lets a message meet a receive of the owner's, or be one of its unexpected messages; or has it wait until the owner
  /// may be asked.
  func matchImported(_ event: UnsafePointer<Event>, in receives: ImportedReceives) {
    guard receives.isUpToDate else { return keep(event, in: receives) }
    let isTagged = event.pointee.flags.contains(.tagged)
    let answer = receives.ask(
      tagged: isTagged, tag: event.pointee.tag, from: source(of: event.pointee.connection),
      length: event.pointee.length)
    switch answer {
    case .later: keep(event, in: receives)
    case .never: transport.refuse(.aborted)
    case .unexpected(let entry):
      let message = hold(event, in: receives)
      receives.file(message, receives.queue(message, as: entry) ? .queued : .arrived)
    case .receive(let entry): receive(event, into: entry, in: receives)
    }
  }

  private func receive(
    _ event: UnsafePointer<Event>, into entry: UnsafeMutablePointer<fi_peer_rx_entry>, in receives: ImportedReceives
  ) {
    let slices = Self.slices(of: entry)
    let count = Self.sliceCount(of: entry)
    if event.pointee.flags.contains(.remoteData) { entry.pointee.cq_data = event.pointee.data }
    hasSpareCompletion = false
    guard let payload = event.pointee.payload else {
      let message = receives.makeMessage(event, at: self)
      message.pointee.entry = entry
      receives.file(message, .arriving)
      return transport.accept(slices, count: count, cookie: TransferName.imported(message))
    }
    if let slices { scatter(payload, Int(truncatingIfNeeded: event.pointee.length), slices, count) }
    complete(
      entry, event.pointee.flags, event.pointee.tag, event.pointee.data, length: event.pointee.length, .ok,
      from: event.pointee.connection)
    receives.free(entry)
  }

  /// Keeps a message that starts, without asking the owner.
  private func keep(_ event: UnsafePointer<Event>, in receives: ImportedReceives) {
    receives.file(hold(event, in: receives), .arrived)
    // Who sleeps is to poll.
    binding.receiveQueue._withUnsafeGuaranteedRef { $0.wakeToPoll() }
  }

  private func hold(_ event: UnsafePointer<Event>, in receives: ImportedReceives) -> ImportedMessages.Pointer {
    let message = receives.makeMessage(event, at: self)
    message.pointee.handle = transport.hold(cookie: TransferName.imported(message))
    return message
  }

  // MARK: In calls that poll

  /// Puts a message to the owner that came earlier; false if it must wait on.
  func ask(_ message: ImportedMessages.Pointer, in receives: ImportedReceives) -> Bool {
    let answer = receives.ask(
      tagged: message.pointee.flags.contains(.tagged), tag: message.pointee.tag,
      from: source(of: message.pointee.connection), length: message.pointee.length)
    switch answer {
    case .later: return false
    case .never:
      receives.unfile(message)
      transport.discardHeld(message.pointee.handle, now: Clock.now())
      message.deallocate()
      return true
    case .unexpected(let entry):
      guard receives.queue(message, as: entry) else { return false }
      receives.refile(message, .queued)
      return true
    case .receive(let entry):
      message.pointee.entry = entry
      receives.refile(message, .started)
      resume(message, in: receives)
      return true
    }
  }

  /// Lets a message go on for which there is a receive, once there is room for its completion; tells of one that is over.
  func resume(_ message: ImportedMessages.Pointer, in receives: ImportedReceives) {
    if message.pointee.stage == .started {
      guard findRoom() else { return }
      hasSpareCompletion = false
      return start(message, in: receives)
    }
    receives.unfile(message)
    finish(message, in: receives)
  }

  private func start(_ message: ImportedMessages.Pointer, in receives: ImportedReceives) {
    guard let entry = message.pointee.entry else { return }
    guard message.pointee.status == .ok else { return receives.refile(message, .finished) }
    receives.refile(message, .arriving)
    let now = Clock.now()
    transport.acceptHeld(
      message.pointee.handle, Self.slices(of: entry), count: Self.sliceCount(of: entry),
      cookie: TransferName.imported(message), now: now)
    acceptedHeld(now)
  }

  /// Tells of a message that is over. It is in no list, and room for its completion is set aside.
  private func finish(_ message: ImportedMessages.Pointer, in receives: ImportedReceives) {
    if let entry = message.pointee.entry {
      complete(
        entry, message.pointee.flags, message.pointee.tag, message.pointee.data, length: message.pointee.length,
        message.pointee.status, from: message.pointee.connection)
      receives.free(entry)
    }
    message.deallocate()
  }

  // MARK: The transport's events

  /// An accepted message is over.
  @inline(never)
  func importedReceived(_ event: UnsafePointer<Event>) {
    let message = TransferName.imported(event.pointee.cookie)
    message.pointee.length = event.pointee.length
    message.pointee.status = event.pointee.status
    message.pointee.receives._withUnsafeGuaranteedRef { receives in
      if binding.engine._withUnsafeGuaranteedRef({ $0.mayCallOwners }) {
        receives.unfile(message)
        return finish(message, in: receives)
      }
      receives.refile(message, .finished)
      binding.receiveQueue._withUnsafeGuaranteedRef { $0.wakeToPoll() }
    }
  }

  /// A held message is lost with its connection. One that the owner has is told when the owner starts it.
  @inline(never)
  func importedLost(_ event: UnsafePointer<Event>) {
    let message = TransferName.imported(event.pointee.cookie)
    message.pointee.status = event.pointee.status == .ok ? .reset : event.pointee.status
    guard message.pointee.entry == nil else { return }
    message.pointee.receives._withUnsafeGuaranteedRef { $0.unfile(message) }
    message.deallocate()
  }

  // MARK: Completions

  /// Reports the end of a receive of the owner's, in room that was set aside, and counts it.
  private func complete(
    _ entry: UnsafeMutablePointer<fi_peer_rx_entry>, _ flags: OperationFlags, _ tag: UInt64, _ data: UInt64,
    length: UInt64, _ status: TransportStatus, from connection: ConnectionIndex
  ) {
    let slices = Self.slices(of: entry)
    var capacity = 0
    for index in 0..<Self.sliceCount(of: entry) { capacity += slices?[index].count ?? 0 }
    let kind = flags.contains(.tagged) ? FI_TAGGED | FI_RECV : FI_MSG | FI_RECV
    var completion = Completion(
      context: UInt(bitPattern: entry.pointee.context), flags: kind | entry.pointee.flags & FI_MULTI_RECV,
      length: min(Int(clamping: length), capacity), buffer: UInt(bitPattern: slices?.pointee.base),
      data: data, tag: tag, source: source(of: connection))
    if flags.contains(.remoteData) { completion.flags |= FI_REMOTE_CQ_DATA }
    let overflow = max(Int(clamping: length) - capacity, 0)
    var code = TransferError.code(status)
    if status == .ok && overflow > 0 { code = Int32(FI_ETRUNC) }
    if status == .ok && entry.pointee.count > maximumSlices { code = FI_EINVAL }
    report(completion, entry.pointee.flags, overflow: overflow, code, status, from: connection)
    context._withUnsafeGuaranteedRef {
      if $0.isCounted { $0.countEnd(length, isError: code != 0, at: self) }
    }
  }

  private func report(
    _ completion: Completion, _ entryFlags: UInt64, overflow: Int, _ code: Int32, _ status: TransportStatus,
    from connection: ConnectionIndex
  ) {
    let isWanted = (entryFlags | options.messageReceiveFlags) & FI_COMPLETION != 0
    let errorData = errorData(completion.source, connection)
    binding.receiveQueue._withUnsafeGuaranteedRef {
      if code != 0 {
        $0.pushError(
          context: completion.context, flags: completion.flags, length: status == .ok ? completion.length : 0,
          buffer: completion.buffer, data: completion.data, tag: completion.tag, olen: status == .ok ? overflow : 0,
          err: code, provErrno: status == .ok ? code : TransferError.providerCode(status), source: completion.source,
          errorData: errorData)
      } else if isWanted {
        $0.push(
          context: completion.context, flags: completion.flags, length: completion.length, buffer: completion.buffer,
          data: completion.data, tag: completion.tag, source: completion.source)
      } else {
        $0.unreserve()
      }
    }
  }

  /// Where a receive goes; nowhere if it has more pieces than any operation.
  private static func slices(of entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> UnsafePointer<Slice>? {
    guard let iov = entry.pointee.iov, (1...maximumSlices).contains(entry.pointee.count) else { return nil }
    return UnsafeRawPointer(iov).assumingMemoryBound(to: Slice.self)
  }

  private static func sliceCount(of entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> Int {
    slices(of: entry) == nil ? 0 : entry.pointee.count
  }

  // MARK: The owner's calls, and the end

  /// The owner has a receive for a message among its unexpected ones: start_msg and start_tag of fi_peer(3).
  package static func start(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> Int32 {
    withMessage(entry) { port, message, receives in
      receives.refile(message, .started)
      port.resume(message, in: receives)
    }
  }

  /// The owner has no use for such a message: discard_msg and discard_tag of fi_peer(3). The entry is the owner's.
  package static func discard(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> Int32 {
    withMessage(entry) { port, message, receives in
      receives.unfile(message)
      if message.pointee.status == .ok {
        port.transport.discardHeld(message.pointee.handle, now: Clock.now())
      }
      message.deallocate()
    }
  }

  /// Whom an unexpected message comes from, as the address vector has it now; FI_ADDR_UNSPEC for an entry of another
  /// peer's.
  package static func source(of entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> UInt64 {
    var result = unspecifiedAddress
    _ = withMessage(entry) { port, message, _ in result = port.source(of: message.pointee.connection) }
    return result
  }

  /// Calls `body` with the message of an entry, the engine's lock held. Returns 0; -FI_EINVAL for an entry that the owner
  /// did not get from here.
  private static func withMessage(
    _ entry: UnsafeMutablePointer<fi_peer_rx_entry>, _ body: (Port, ImportedMessages.Pointer, ImportedReceives) -> Void
  ) -> Int32 {
    guard let message = entry.pointee.peer_context?.assumingMemoryBound(to: ImportedMessage.self),
      message.pointee.signature == ImportedMessage.signature
    else { return -FI_EINVAL }
    message.pointee.port._withUnsafeGuaranteedRef { port in
      message.pointee.receives._withUnsafeGuaranteedRef { receives in
        port.lock()
        defer { port.unlock() }
        if message.pointee.stage == .queued { body(port, message, receives) }
      }
    }
    return 0
  }

  /// The port goes away, and a message with it.
  func end(_ message: ImportedMessages.Pointer, in receives: ImportedReceives) {
    receives.unfile(message)
    switch message.pointee.stage {
    case .arrived: message.deallocate()
    case .queued:
      if let entry = message.pointee.entry { receives.free(entry) }
      message.deallocate()
    case .started, .arriving:
      let hasRoom = message.pointee.stage == .arriving
      message.pointee.status = .closed
      if hasRoom || findRoom() {
        if !hasRoom { hasSpareCompletion = false }
        finish(message, in: receives)
      } else {
        if let entry = message.pointee.entry { receives.free(entry) }
        message.deallocate()
      }
    case .finished: finish(message, in: receives)
    }
  }
}
