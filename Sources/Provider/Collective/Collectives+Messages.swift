import CFabric
import Containers
import Datagram
import Packet
import Transport

// Messages of peers, on their way to the receives of operations.
extension Collectives {
  /// A message for the receive context of collective operations: takes, keeps or refuses it.
  func messageArrived(_ event: UnsafePointer<Event>) {
    guard event.pointee.flags.contains(.tagged) else { return refuse() }
    switch CollectiveTag(bits: event.pointee.tag) {
    case .step(let handle, let sequence):
      guard let group = group(handle), group.pointee.failure == 0, group.pointee.state != .left else { return refuse() }
      match(event, with: waitingReceive(in: group, sequence, from: event.pointee.connection))
    case .join(let key): joinMessageArrived(event, key)
    case .failure(let handle, let code): peerFailed(event, handle, code)
    case .probe(let handle):
      let isHopeful = handle == .none || group(handle).map { $0.pointee.failure == 0 } ?? false
      if !isHopeful || event.pointee.payload == nil { refuse() }
    }
  }

  private func refuse() { withPort { $0.transport.refuse(.aborted) } }

  /// The receive of an operation that waits for a message from a peer.
  private func waitingReceive(
    in group: UnsafeMutablePointer<CollectiveGroup>, _ sequence: UInt32, from connection: ConnectionIndex
  ) -> UInt32? {
    var index = group.pointee.operations.first
    while index != .max && operations[index].pointee.sequence != sequence { index = operations[index].pointee.next }
    return index == .max ? nil : waitingReceive(of: index, from: connection)
  }

  private func waitingReceive(of operation: UInt32, from connection: ConnectionIndex) -> UInt32? {
    var index = operations[operation].pointee.receives.first
    while index != .max {
      if !receives[index].pointee.isAccepted && receives[index].pointee.connection == connection { return index }
      index = receives[index].pointee.next
    }
    return nil
  }

  /// Steps of joins that have not begun are kept, and those of a failed one refused. That a member's join has failed is of
  /// use at once, whatever step of the own one waits for it.
  private func joinMessageArrived(_ event: UnsafePointer<Event>, _ key: UInt64) {
    let message = OwedJoin(key: key, connection: event.pointee.connection)
    if let index = owed.firstIndex(of: message) {
      owed.remove(at: index)
      return refuse()
    }
    let receive = waitingJoin(key, from: event.pointee.connection)
    match(event, with: receive)
    if receive == nil, event.pointee.length == 0,
      let handle = joining.first(where: {
        groups[$0.slot].pointee.key == key && groups[$0.slot].pointee.failure == 0
      })
    {
      noteFailure(of: handle, FI_EREMOTEIO)
    }
  }

  /// A join fails: what it has not received of a member is dropped, now or when it comes. Each member sends one message in
  /// a join, also when that fails there; none comes of who is gone, which a question finds out.
  func disown(joinOf handle: CollectiveHandle) {
    let group = groups[handle.slot]
    let index = group.pointee.operations.first
    guard index != .max else { return }
    var receive = operations[index].pointee.receives.first
    while receive != .max {
      let entry = receives[receive]
      if !entry.pointee.isAccepted && !entry.pointee.isLost { disown(from: entry.pointee.connection, handle) }
      receive = entry.pointee.next
    }
    var position = operations[index].pointee.step + (operations[index].pointee.isSending ? 1 : 0)
    while let step = operations[index].pointee.schedule.step(position) {
      if let peer = step.receive?.peer,
        let connection = withPort({ $0.connection(to: group.pointee.addresses[peer]) })
      {
        disown(from: connection, handle)
      }
      position += 1
    }
  }

  private func disown(from connection: ConnectionIndex, _ handle: CollectiveHandle) {
    let group = groups[handle.slot]
    let tag = CollectiveTag.join(group.pointee.key).bits
    if let message = unexpected.find(tagged: true, tag: tag, ignore: 0, from: connection) {
      return discard(message, from: &unexpected)
    }
    owed.append(OwedJoin(key: group.pointee.key, connection: connection))
    let name = SendName(handle, .probe)
    if post(.probe(.none), nil, 0, .deliveryComplete, name, on: connection) { group.pointee.probes += 1 }
  }

  /// The same of the oldest join of a list of members.
  private func waitingJoin(_ key: UInt64, from connection: ConnectionIndex) -> UInt32? {
    for handle in joining {
      let group = groups[handle.slot]
      guard group.pointee.key == key, group.pointee.failure == 0, !group.pointee.operations.isEmpty else { continue }
      if let found = waitingReceive(of: group.pointee.operations.first, from: connection) { return found }
    }
    return nil
  }

  private func match(_ event: UnsafePointer<Event>, with receive: UInt32?) {
    guard let receive else { return hold(event) }
    let entry = receives[receive]
    entry.pointee.isAccepted = true
    let length = event.pointee.length
    guard let payload = event.pointee.payload else {
      let cookie = TransferName.receive(receive, ofInternal: ReceiveContext.collectives)
      return withSlices(entry) { slices in
        withPort { $0.transport.accept(slices, count: entry.pointee.sliceCount, cookie: cookie) }
      }
    }
    withSlices(entry) { scatter(payload, Int(truncatingIfNeeded: length), $0, entry.pointee.sliceCount) }
    received(receive, length, .ok)
  }

  private func hold(_ event: UnsafePointer<Event>) {
    // There is an element for every message that the transport can hold.
    let index = unexpected.allocate()!
    let entry = unexpected[index]
    entry.initialize(
      to: UnexpectedMessage(
        connection: event.pointee.connection, flags: event.pointee.flags, tag: event.pointee.tag,
        data: event.pointee.data, length: event.pointee.length))
    let cookie = TransferName.unexpected(index, ofInternal: ReceiveContext.collectives)
    entry.pointee.handle = withPort { $0.transport.hold(cookie: cookie) }
    unexpected.append(index)
  }

  /// Gives a held message to a receive; the transport tells when it is all there.
  func take(_ message: UInt32, for receive: UInt32) {
    let handle = unexpected[message].pointee.handle
    unexpected.unlink(message)
    unexpected.free(message)
    let entry = receives[receive]
    entry.pointee.isAccepted = true
    let cookie = TransferName.receive(receive, ofInternal: ReceiveContext.collectives)
    withSlices(entry) { slices in
      withPort {
        $0.transport.acceptHeld(handle, slices, count: entry.pointee.sliceCount, cookie: cookie, now: Clock.now())
      }
    }
  }

  /// A message that a receive has taken is over.
  func received(_ receive: UInt32, _ length: UInt64, _ status: TransportStatus) {
    let entry = receives[receive]
    let index = entry.pointee.operation
    let expected = UInt64(truncatingIfNeeded: entry.pointee.length)
    operations[index].pointee.receives.remove(receive, in: receives)
    receives.free(receive)
    markReady(index)
    let handle = operations[index].pointee.group
    if status != .ok {
      noteFailure(of: handle, TransferError.code(status))
    } else if length != expected {
      // Members do not agree on the operation; or a peer's join has failed.
      noteFailure(of: handle, length > expected ? Int32(FI_ETRUNC) : FI_EREMOTEIO)
    }
  }

  /// A held message is lost with its session.
  func messageLost(_ message: UInt32) {
    unexpected.unlink(message)
    unexpected.free(message)
  }

  /// A message that was posted is over.
  func sendEnded(_ name: SendName, _ status: TransportStatus) {
    switch name.purpose {
    case .copied: break
    case .counted(let operation):
      operations[operation].pointee.sends -= 1
      markReady(operation)
    case .probe: if let group = group(name.group) { group.pointee.probes -= 1 }
    }
    if let group = group(name.group) {
      group.pointee.messages -= 1
      // Between operations members may come to their ends: whoever waits for one notices.
      if status != .ok && !group.pointee.operations.isEmpty { noteFailure(of: name.group, TransferError.code(status)) }
      freeIfOver(name.group)
    }
    retryStalled()
  }

  // MARK: Held messages that nobody wants

  /// Drops messages for a group that is over.
  func discardUnexpected(of handle: CollectiveHandle) {
    discardUnexpected { message in
      guard case .step(let group, _) = CollectiveTag(bits: message.tag) else { return false }
      return group == handle
    }
  }

  /// Drops what a process that is gone sent of joins: a new one at its address may join again. What it sent of
  /// operations has its use.
  func discardJoins(from connection: ConnectionIndex) {
    discardUnexpected { message in
      guard message.sender == connection, case .join = CollectiveTag(bits: message.tag) else { return false }
      return true
    }
  }

  private func discardUnexpected(_ isUnwanted: (UnexpectedMessage) -> Bool) {
    unexpected.forEach { queue, index in
      if isUnwanted(queue[index].pointee) { discard(index, from: &queue) }
    }
  }

  private func discard(_ message: UInt32, from queue: inout UnexpectedQueue) {
    let handle = queue[message].pointee.handle
    queue.unlink(message)
    queue.free(message)
    withPort { $0.transport.discardHeld(handle, now: Clock.now()) }
  }
}
