import Containers
import Packet

// Operations from `post` to `operationCompleted`.
extension TransportEndpoint {
  /// Queues an operation towards a peer; it is sent by `pollTransmit`. O(1).
  ///
  /// Returns `.again` when `transmitQueueSize` operations are in flight.
  package mutating func post(_ operation: Operation, on connectionIndex: ConnectionIndex) -> PostResult {
    precondition(operation.sliceCount <= maximumSlices && operation.segmentCount <= RemoteSegment.maximumCount)
    guard postedCount < configuration.transmitQueueSize, let slot = operations.allocate() else { return .again }
    let connection = self[connectionIndex]
    let entry = operations[slot]
    entry.initialize(
      to: OutboundOperation(
        kind: operation.kind, flags: operation.flags, connection: connectionIndex,
        sequence: connection.pointee.nextSequence, length: 0, cookie: operation.cookie))
    adoptMemory(of: operation, slot)
    entry.pointee.tag = operation.tag
    entry.pointee.data = operation.data
    postedCount += 1
    connection.pointee.nextSequence &+= 1
    connection.pointee.operations.append(slot, in: operations)
    if connection.pointee.nextStart == .max { connection.pointee.nextStart = slot }
    markReady(connection)
    return .queued
  }

  /// Takes over slices and segments, and copies an injected payload.
  private mutating func adoptMemory(of operation: Operation, _ slot: UInt32) {
    let entry = operations[slot]
    entry.pointee.memory = adopt(operation.slices, operation.sliceCount)
    entry.pointee.segmentCount = UInt8(operation.segmentCount)
    if let segments = operation.segments, operation.segmentCount > 0 { entry.pointee.segment = segments[0] }
    if operation.segmentCount > 1 {
      // As many scatter lists exist as operations and transfers.
      if entry.pointee.memory.scatter == .max { entry.pointee.memory.scatter = scatters.allocate()! }
      let scatter = scatters[entry.pointee.memory.scatter]
      for index in 0..<operation.segmentCount { scatter.pointee.segments[index] = operation.segments![index] }
    }
    entry.pointee.length = entry.pointee.memory.length(scatters)
    if operation.flags.contains(.inject) { inject(slot) }
  }

  /// Copies the payload, so that the program may reuse its memory.
  private mutating func inject(_ slot: UInt32) {
    let entry = operations[slot]
    let length = Int(entry.pointee.length)
    let copy = buffers.allocate(max(length, 1))
    var position = copy
    entry.pointee.memory.forEachPiece(0, length, scatters) { piece, count in
      position.copyMemory(from: piece, byteCount: count)
      position += count
    }
    entry.pointee.injected = copy
    entry.pointee.memory.first = Slice(base: copy, count: length)
    entry.pointee.memory.count = 1
  }

  /// The remote segment at `index` of an operation.
  @inline(__always)
  func segment(_ operation: UnsafeMutablePointer<OutboundOperation>, _ index: Int) -> RemoteSegment {
    operation.pointee.segmentCount <= 1
      ? operation.pointee.segment : scatters[operation.pointee.memory.scatter].pointee.segments[index]
  }

  // MARK: Completion

  /// Ends an operation: it leaves its connection, and `pollEvent` tells.
  mutating func complete(_ slot: UInt32, _ status: TransportStatus) {
    let entry = operations[slot]
    let connection = self[entry.pointee.connection]
    entry.pointee.status = status
    if entry.pointee.kind == .readResponse {
      connection.pointee.responses.remove(slot, in: operations)
    } else {
      if connection.pointee.nextStart == slot { connection.pointee.nextStart = entry.pointee.next }
      connection.pointee.operations.remove(slot, in: operations)
      if entry.pointee.kind == .read && entry.pointee.isStarted { connection.pointee.readsOutstanding -= 1 }
    }
    if entry.pointee.isInBulk { removeFromBulk(slot, connection) }
    // Frames that still name the slot find it over and are dropped when they come up.
    entry.pointee.isLive = false
    if status == .ok && entry.pointee.flags.contains(.silent) {
      silentCompletions += 1
      return release(slot)
    }
    completedOperations.append(slot, in: operations)
  }

  /// Frees a completed operation; its event has been built.
  mutating func release(_ slot: UInt32) {
    let entry = operations[slot]
    if let injected = entry.pointee.injected {
      buffers.deallocate(injected, count: max(Int(entry.pointee.length), 1))
    }
    if entry.pointee.memory.scatter != .max { scatters.free(entry.pointee.memory.scatter) }
    entry.pointee.received.removeAll(in: &ranges)
    if entry.pointee.kind != .readResponse { postedCount -= 1 }
    operations.free(slot)
  }

  /// The live operation that a frame names; nil when it is over. O(1).
  @inline(__always)
  func liveOperation(
    _ slot: UInt32, _ sequence: UInt32, _ connection: ConnectionIndex
  ) -> UnsafeMutablePointer<OutboundOperation>? {
    guard operations.contains(slot) else { return nil }
    let entry = operations[slot]
    guard entry.pointee.isLive, entry.pointee.sequence == sequence, entry.pointee.connection == connection else {
      return nil
    }
    return entry
  }

  /// The live operation that a frame of this side belongs to; nil when it is over. A slot may serve a posted operation
  /// and then an answer whose number, the peer's, happens to be the same.
  @inline(__always)
  func liveOperation(
    _ frame: SentFrame, _ connection: UnsafeMutablePointer<Connection>
  ) -> UnsafeMutablePointer<OutboundOperation>? {
    guard let entry = liveOperation(frame.slot, frame.sequence, connection.pointee.index),
      (entry.pointee.kind == .readResponse) == frame.isResponse
    else { return nil }
    return entry
  }

  /// Ends an operation whose every byte was sent and acknowledged, unless its end is the peer's to tell.
  @inline(__always)
  mutating func completeIfAcknowledged(_ slot: UInt32) {
    let entry = operations[slot]
    guard entry.pointee.frames == 0, entry.pointee.isStarted, entry.pointee.sent == entry.pointee.length else { return }
    switch entry.pointee.kind {
    case .message:
      if !entry.pointee.isPulled && !entry.pointee.flags.waitsForTarget { complete(slot, .ok) }
    case .readResponse: complete(slot, .ok)
    case .write, .read: break
    }
  }

  /// OPERATION_DONE: `count` operations from `sequence` on are over at the peer.
  mutating func operationsDone(
    _ connection: UnsafeMutablePointer<Connection>, _ sequence: UInt32, _ count: UInt16, _ status: TransportStatus
  ) {
    var slot = connection.pointee.operations.first
    while slot != .max {
      let entry = operations[slot]
      let next = entry.pointee.next
      let position = distance(entry.pointee.sequence, from: sequence)
      if position >= Int32(count) { break }
      // What was not even started cannot be over: such a claim is not believed.
      if position >= 0 && entry.pointee.isStarted { complete(slot, status) }
      slot = next
    }
  }

  // MARK: The bulk queue: pulled operations with granted bytes

  mutating func appendToBulk(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = operations[slot]
    guard !entry.pointee.isInBulk else { return }
    entry.pointee.isInBulk = true
    entry.pointee.nextBulk = .max
    if connection.pointee.lastBulk == .max {
      connection.pointee.firstBulk = slot
    } else {
      operations[connection.pointee.lastBulk].pointee.nextBulk = slot
    }
    connection.pointee.lastBulk = slot
    markReady(connection)
  }

  mutating func removeFromBulk(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    var previous: UInt32 = .max
    var current = connection.pointee.firstBulk
    while current != slot && current != .max {
      previous = current
      current = operations[current].pointee.nextBulk
    }
    guard current == slot else { return }
    let next = operations[slot].pointee.nextBulk
    if previous == .max { connection.pointee.firstBulk = next } else { operations[previous].pointee.nextBulk = next }
    if connection.pointee.lastBulk == slot { connection.pointee.lastBulk = previous }
    operations[slot].pointee.isInBulk = false
  }

  /// PULL_REQUEST: the peer wants the bytes below `limit`.
  mutating func pulled(_ connection: UnsafeMutablePointer<Connection>, _ frame: PullRequestFrame) {
    guard let entry = liveOperation(frame.token, frame.operation, connection.pointee.index),
      frame.isRead == (entry.pointee.kind == .readResponse), entry.pointee.isPulled, entry.pointee.isStarted
    else { return }
    entry.pointee.remoteSlot = frame.isRead ? entry.pointee.remoteSlot : frame.transfer
    let limit = min(frame.limit, entry.pointee.length)
    guard limit > entry.pointee.limit else { return }
    entry.pointee.limit = limit
    if entry.pointee.sent < limit { appendToBulk(frame.token, connection) }
  }
}
