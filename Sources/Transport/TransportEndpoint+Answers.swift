import Containers
import Packet

// What the layer above says to an event, and what follows from it until the transfer is over.
extension TransportEndpoint {
  // MARK: Answers to the event handed out last

  /// Gives the operation just announced its local memory: the target of a message or write, the source of a read.
  ///
  /// Memory smaller than a message truncates it: what lies beyond is dropped, and the layer above reports that.
  /// `slices` need only be valid during the call, the memory they name until the transfer's event.
  package mutating func accept(_ slices: UnsafePointer<Slice>?, count: Int, cookie: Cookies) {
    switch cursor.answer {
    case .transfer: break
    case .persistence: preconditionFailure("what is over takes no memory")
    case .wholeMessage, .wholeWrite: makeTransfer(orderedFrame, cursor.eventConnection, isPulled: false)
    case .read: return answerRead(slices, count, cookie)
    case .none, .atomic: preconditionFailure("accept answers no event")
    }
    accept(transfer: cursor.transfer, slices, count, cookie)
  }

  /// Peers' reads are being answered from this side's memory: who places whole messages and writes by himself has to
  /// `accept` them for now, lest they change what is read (FI_ORDER_WAR, SAR).
  @inline(__always)
  package var isAnsweringReads: Bool { Int(operations.count) != postedCount + copiedAnswers }

  /// Memory for what the atomic operation just announced returns, `count` bytes, at least one; to be filled before the
  /// next `pollEvent`.
  package mutating func respond(_ count: Int) -> UnsafeMutableRawPointer {
    precondition(cursor.answer == .atomic && cursor.transfer == .max && count > 0)
    let copy = buffers.allocate(count)
    var memory = LocalMemory()
    memory.first = Slice(base: copy, count: count)
    memory.count = 1
    cursor.transfer = startResponse(memory, length: UInt64(count), limit: UInt64(count), Cookies())
    operations[cursor.transfer].pointee.injected = copy
    copiedAnswers += 1
    return copy
  }

  /// Keeps a message that nobody waits for yet, until `acceptHeld` or `discardHeld`.
  package mutating func hold(cookie: Cookies) -> MessageHandle {
    precondition(event.pointee.kind == .message && cursor.answer != .none)
    if cursor.answer == .wholeMessage { makeTransfer(orderedFrame, cursor.eventConnection, isPulled: false) }
    let entry = inbound[cursor.transfer]
    entry.pointee.state = .held
    entry.pointee.cookie = cookie
    if !entry.pointee.isPulled { entry.pointee.staging = buffers.allocate(max(Int(entry.pointee.length), 1)) }
    return cursor.transfer
  }

  /// Turns a write, read or atomic operation down, or drops a message; its initiator's operation ends with `status` if it
  /// waits for this side at all.
  package mutating func refuse(_ status: OperationStatus) {
    precondition(cursor.answer != .none && status != .ok)
    cursor.refusal = status
  }

  /// Carries the answer out; what was not answered is done.
  mutating func settle() {
    let connection = cursor.eventConnection!
    let frame = UnsafePointer(orderedFrame)
    let answer = cursor.answer
    cursor.answer = .none
    switch answer {
    case .wholeMessage:
      consume(connection, eager: frame.pointee.total)
      if frame.pointee.flags.contains(.wantsDone) { queueDone(connection, frame.pointee.operation, cursor.refusal) }
    case .wholeWrite:
      consume(connection, eager: frame.pointee.total)
      queueDone(connection, frame.pointee.operation, cursor.refusal)
    case .transfer: settleTransfer(frame, connection)
    case .read:
      consume(connection, eager: 0)
      if cursor.refusal != .ok { queueDone(connection, frame.pointee.operation, cursor.refusal) }
    case .persistence: endPersistence(cursor.transfer)
    case .atomic:
      consume(connection, eager: 0)
      assert(cursor.refusal != .ok || (cursor.transfer != .max) == frame.pointee.flags.contains(.fetch))
      if cursor.transfer == .max { queueDone(connection, frame.pointee.operation, cursor.refusal) }
      endGathering(connection)
    case .none: break
    }
  }

  private mutating func settleTransfer(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>
  ) {
    let slot = cursor.transfer
    let entry = inbound[slot]
    if cursor.refusal != .ok {
      entry.pointee.isDiscarded = true
      finish(slot, TransportStatus(wire: cursor.refusal.rawValue))
      return
    }
    precondition(entry.pointee.state != .offered, "accept, hold or refuse answers this event")
    guard !entry.pointee.isPulled else { return }
    place(started: slot, frame)
  }

  /// The fragment that started an eager transfer. It lies at the prefix or takes one node, which the slab was seen to
  /// have.
  private mutating func place(started slot: UInt32, _ frame: UnsafePointer<OrderedFrame>) {
    if !place(slot, frame.pointee.offset, frame.pointee.payload, frame.pointee.payloadLength) { dropForRoom() }
  }

  // MARK: Held messages

  /// Gives a held message its memory. Its `messageReceived` comes from `pollEvent`, at once when the bytes are here.
  package mutating func acceptHeld(
    _ handle: MessageHandle, _ slices: UnsafePointer<Slice>?, count: Int, cookie: Cookies, now: Instant
  ) {
    let entry = inbound[handle]
    precondition(entry.pointee.state == .held)
    accept(transfer: handle, slices, count, cookie)
    if !entry.pointee.isPulled && !entry.pointee.isDeferred { unstage(handle) }
  }

  /// Drops a held message as if it had been received. No event follows.
  package mutating func discardHeld(_ handle: MessageHandle, now: Instant) {
    let entry = inbound[handle]
    precondition(entry.pointee.state == .held)
    entry.pointee.isDiscarded = true
    acceptHeld(handle, nil, count: 0, cookie: Cookies(), now: now)
  }

  // MARK: Transfers

  private mutating func accept(
    transfer slot: UInt32, _ slices: UnsafePointer<Slice>?, _ count: Int, _ cookie: Cookies
  ) {
    let entry = inbound[slot]
    let connection = self[entry.pointee.connection]
    entry.pointee.state = .accepted
    entry.pointee.cookie = cookie
    entry.pointee.memory = adopt(slices, count)
    if entry.pointee.isPulled {
      entry.pointee.wanted = min(entry.pointee.length, entry.pointee.memory.length(scatters))
      if entry.pointee.wanted == 0 { return finish(slot, .ok) }
    }
    if !entry.pointee.isDetached && overlapsEarlierAccess(slot, connection) {
      postpone(slot, connection)
    } else if entry.pointee.isPulled {
      startPull(slot, connection)
    }
  }

  /// Takes over the memory that slices name.
  mutating func adopt(_ slices: UnsafePointer<Slice>?, _ count: Int) -> LocalMemory {
    var memory = LocalMemory()
    hold(slices, count, in: &memory)
    return memory
  }

  /// Has `memory` name the memory that slices do; a scatter list of it stays its own.
  mutating func hold(_ slices: UnsafePointer<Slice>?, _ count: Int, in memory: inout LocalMemory) {
    precondition(count <= maximumSlices)
    memory.count = UInt8(count)
    guard let slices, count > 0 else { return }
    memory.first = slices[0]
    guard count > 1 else { return }
    // As many scatter lists exist as operations and transfers.
    if memory.scatter == .max { memory.scatter = scatters.allocate()! }
    for index in 0..<count { scatters[memory.scatter].pointee.slices[index] = slices[index] }
  }

  /// How far a transfer may go: a window beyond what is complete, shared between the transfers of the connection.
  func nextGrant(
    _ granted: UInt64, _ complete: UInt64, _ wanted: UInt64, _ connection: UnsafeMutablePointer<Connection>
  ) -> UInt64 {
    let share = UInt64(max(configuration.receiveBuffer, 1024 * 1024)) / UInt64(max(connection.pointee.activePulls, 1))
    let window = max(share, 256 * 1024)
    guard granted < wanted, granted &- complete < window / 2 || granted == 0 else { return granted }
    let (limit, overflow) = complete.addingReportingOverflow(window)
    return overflow ? wanted : min(wanted, limit)
  }

  mutating func extendGrant(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = inbound[slot]
    guard entry.pointee.state == .accepted else { return }
    let limit = nextGrant(
      entry.pointee.granted, entry.pointee.received.completePrefix, entry.pointee.wanted, connection)
    guard limit > entry.pointee.granted else { return }
    entry.pointee.granted = limit
    queuePull(.pull, slot, entry.pointee.sequence, connection)
  }

  /// Ends a transfer: its peer is told, and `pollEvent` tells.
  mutating func finish(_ slot: UInt32, _ status: TransportStatus) {
    let entry = inbound[slot]
    let connection = self[entry.pointee.connection]
    let wasPulling = entry.pointee.isPulled && entry.pointee.granted > 0 && !entry.pointee.isDetached
    connection.pointee.inbound.remove(slot, in: inbound)
    if entry.pointee.isDeferred { connection.pointee.deferredTransfers -= 1 }
    if !entry.pointee.isDetached {
      if entry.pointee.isIncomplete { noteComplete(slot) }
      consume(connection, eager: entry.pointee.isPulled ? 0 : entry.pointee.length)
      if entry.pointee.wantsDone && !awaitsPersistence(entry, status) {
        queueDone(connection, entry.pointee.sequence, OperationStatus(status))
      }
      if wasPulling { connection.pointee.activePulls -= 1 }
      if entry.pointee.isWrite {
        connection.pointee.activeWrites -= 1
        if connection.pointee.deferredTransfers > 0 { startDeferred(connection) }
        cursor.draining = connection
      }
    }
    entry.pointee.state = .finished
    entry.pointee.status = status
    if entry.pointee.isDiscarded {
      free(transfer: slot)
    } else {
      hasNews = true
      finishedTransfers.append(slot, in: inbound)
    }
  }

  /// Whether the layer above is to make a write persistent before its initiator hears of its end.
  @inline(__always)
  func awaitsPersistence(_ entry: UnsafeMutablePointer<InboundTransfer>, _ status: TransportStatus) -> Bool {
    status == .ok && entry.pointee.flags.contains(.persistent)
  }

  /// Tells the initiator of a write that it is persistent, or that this failed.
  private mutating func endPersistence(_ slot: UInt32) {
    let entry = inbound[slot]
    if !entry.pointee.isDetached {
      queueDone(self[entry.pointee.connection], entry.pointee.sequence, cursor.refusal)
    }
    free(transfer: slot)
  }

  /// Of a `writeReceived` with `.persistent`: stores the memory that was written at `slices`, of which there are
  /// `maximumSlices`, and returns how many it takes.
  package func writtenMemory(_ slices: UnsafeMutablePointer<Slice>) -> Int {
    precondition(cursor.answer == .persistence)
    let memory = inbound[cursor.transfer].pointee.memory
    for index in 0..<Int(memory.count) { (slices + index).initialize(to: memory.slice(index, scatters)) }
    return Int(memory.count)
  }

  /// Gives a slot back that is in no list any more.
  mutating func free(transfer slot: UInt32) {
    let entry = inbound[slot]
    if let staging = entry.pointee.staging { buffers.deallocate(staging, count: max(Int(entry.pointee.length), 1)) }
    if entry.pointee.memory.scatter != .max { scatters.free(entry.pointee.memory.scatter) }
    entry.pointee.received.removeAll(in: &ranges)
    entry.pointee.state = .free
    inbound.free(slot)
  }

  /// Regions or buffers go away: transfers to and from them, which `uses` tells by the cookie, end as aborted, at both
  /// sides.
  package mutating func abortTransfers(now: Instant, where uses: (Cookies) -> Bool) {
    for index in 0..<connectionCount {
      let connection = self[ConnectionIndex(index)]
      var slot = connection.pointee.inbound.first
      while slot != .max {
        let next = inbound[slot].pointee.next
        if inbound[slot].pointee.state == .accepted, uses(inbound[slot].pointee.cookie) {
          finish(slot, .aborted)
        }
        slot = next
      }
      slot = connection.pointee.responses.first
      while slot != .max {
        let next = operations[slot].pointee.next
        // What an atomic operation returns is a copy already.
        if operations[slot].pointee.injected == nil && uses(operations[slot].pointee.cookie) {
          queueDone(connection, operations[slot].pointee.sequence, .aborted)
          complete(slot, .aborted)
        }
        slot = next
      }
    }
  }

  // MARK: Reads and atomic operations of peers

  private mutating func answerRead(_ slices: UnsafePointer<Slice>?, _ count: Int, _ cookie: Cookies) {
    let connection = cursor.eventConnection!
    let frame = UnsafePointer(orderedFrame)
    let limit = min(frame.pointee.limit, frame.pointee.total)
    let slot = startResponse(adopt(slices, count), length: frame.pointee.total, limit: limit, cookie)
    connection.pointee.activeReads += 1
    if frame.pointee.total == 0 {
      // Nothing to send but the news that the access is permitted.
      queueDone(connection, frame.pointee.operation, .ok)
      complete(slot, .ok)
    }
  }

  /// Has READ_RESPONSEs sent from `memory`, `limit` bytes for now, for the operation of the event.
  private mutating func startResponse(
    _ memory: LocalMemory, length: UInt64, limit: UInt64, _ cookie: Cookies
  ) -> UInt32 {
    let connection = cursor.eventConnection!
    // hasRoomToStart has seen to it that there is one.
    let slot = operations.allocate()!
    var response = OutboundOperation(
      kind: .readResponse, flags: [], connection: connection.pointee.index,
      sequence: orderedFrame.pointee.operation, length: length, cookie: cookie)
    response.isStarted = true
    response.isPulled = true
    response.remoteSlot = orderedFrame.pointee.token
    response.limit = limit
    response.memory = memory
    operations[slot].initialize(to: response)
    connection.pointee.responses.append(slot, in: operations)
    if limit > 0 { appendToBulk(slot, connection) }
    return slot
  }

  // MARK: Credit

  /// An operation of the peer is over at this side: it may start another, and send as many bytes.
  @inline(__always)
  private mutating func consume(_ connection: UnsafeMutablePointer<Connection>, eager bytes: UInt64) {
    connection.pointee.creditConsumed &+= bytes
    connection.pointee.operationsConsumed &+= 1
    let operations = connection.pointee.operationsConsumed &+ UInt32(configuration.operationWindow)
    let limit = connection.pointee.creditConsumed &+ UInt64(configuration.creditWindow)
    if limit &- connection.pointee.creditAdvertised >= UInt64(configuration.creditWindow / 4)
      || distance(operations, from: connection.pointee.operationsAdvertised) >= Int32(configuration.operationWindow / 4)
    {
      connection.pointee.needsCredit = true
      markReady(connection)
    }
  }

  // MARK: Frames that are due

  /// Makes OPERATION_DONE due, joined to the one before when that says the same of the operation before.
  mutating func queueDone(
    _ connection: UnsafeMutablePointer<Connection>, _ sequence: UInt32, _ status: OperationStatus
  ) {
    markReady(connection)
    let last = connection.pointee.control.last
    if last != .max {
      let frame = sentFrames[last]
      if frame.pointee.kind == .done, frame.pointee.status == status.rawValue,
        frame.pointee.sequence &+ frame.pointee.length == sequence, frame.pointee.length < 0xFFFF
      {
        frame.pointee.length += 1
        return
      }
    }
    // Payload leaves controlReserve frames free.
    var frame = SentFrame(.done)
    frame.status = status.rawValue
    frame.sequence = sequence
    frame.length = 1
    queueControl(frame, connection)
  }

  /// Makes PULL_REQUEST due; it tells the grant as it is when it leaves.
  mutating func queuePull(
    _ kind: SentFrameKind, _ slot: UInt32, _ sequence: UInt32, _ connection: UnsafeMutablePointer<Connection>
  ) {
    markReady(connection)
    var frame = SentFrame(kind)
    frame.slot = slot
    frame.sequence = sequence
    queueControl(frame, connection)
  }

  private mutating func queueControl(_ frame: SentFrame, _ connection: UnsafeMutablePointer<Connection>) {
    // Payload leaves controlReserve frames free, more than slots can ask for.
    guard let index = sentFrames.allocate() else { return statistics.droppedForRoom += 1 }
    sentFrames[index].initialize(to: frame)
    connection.pointee.control.append(index, in: sentFrames)
  }
}

extension OperationStatus {
  init(_ status: TransportStatus) {
    switch status {
    case .ok: self = .ok
    case .accessDenied: self = .accessDenied
    case .outOfBounds: self = .outOfBounds
    case .notPersistent: self = .notPersistent
    case .unsupported: self = .unsupported
    default: self = .aborted
    }
  }
}
