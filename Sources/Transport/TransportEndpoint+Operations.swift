import Containers
import Packet

// Operations from `post` to `operationCompleted`.
extension TransportEndpoint {
  /// Queues an operation towards a peer; it is sent by `pollTransmit`. O(1).
  ///
  /// Returns `.again` when `transmitQueueSize` operations are in flight.
  package mutating func post(_ operation: Operation, on connectionIndex: ConnectionIndex) -> PostResult {
    precondition(operation.sliceCount <= maximumSlices && operation.segmentCount <= RemoteSegment.maximumCount)
    assert(operation.context == 0 || operation.kind == .message)
    guard postedCount < configuration.transmitQueueSize, let slot = operations.allocate() else { return .again }
    let connection = self[connectionIndex]
    prepare(slot, operation, connection)
    postedCount += 1
    connection.pointee.nextSequence &+= 1
    connection.pointee.operations.append(slot, in: operations)
    if connection.pointee.nextStart == .max { connection.pointee.nextStart = slot }
    if operation.flags.contains(.fence) { connection.pointee.fences += 1 }
    markReady(connection)
    return .queued
  }

  /// Fills a slot in, field by field: what only other kinds of operations use is left as it is.
  @inline(__always)
  private mutating func prepare(
    _ slot: UInt32, _ operation: Operation, _ connection: UnsafeMutablePointer<Connection>
  ) {
    let entry = operations[slot]
    entry.pointee.kind = operation.kind
    entry.pointee.flags = operation.flags
    entry.pointee.isLive = true
    entry.pointee.isStarted = false
    entry.pointee.isPulled = false
    entry.pointee.isInBulk = false
    entry.pointee.status = .ok
    entry.pointee.segmentCount = UInt8(truncatingIfNeeded: operation.segmentCount)
    entry.pointee.connection = connection.pointee.index
    entry.pointee.sequence = connection.pointee.nextSequence
    entry.pointee.frames = 0
    entry.pointee.sent = 0
    entry.pointee.cookie = operation.cookie
    entry.pointee.tag = operation.tag
    entry.pointee.data = operation.data
    entry.pointee.context = operation.context
    entry.pointee.limit = 0
    entry.pointee.injected = nil
    entry.pointee.nextBulk = .max
    entry.pointee.remoteSlot = .max
    if operation.sliceCount == 1 && operation.kind == .message, let slices = operation.slices {
      entry.pointee.hasExtras = false
      entry.pointee.memory.first = slices[0]
      entry.pointee.memory.count = 1
      entry.pointee.memory.scatter = .max
      entry.pointee.length = UInt64(slices[0].count)
      if operation.flags.contains(.inject) { inject(slot) }
    } else {
      adoptMemory(of: operation, slot)
    }
  }

  /// Takes over slices and segments, and copies an injected payload.
  @inline(never)
  private mutating func adoptMemory(of operation: Operation, _ slot: UInt32) {
    let entry = operations[slot]
    entry.pointee.hasExtras = true
    entry.pointee.received = RangeList()
    entry.pointee.memory = adopt(operation.slices, operation.sliceCount)
    if let segments = operation.segments, operation.segmentCount > 0 { entry.pointee.segment = segments[0] }
    if operation.segmentCount > 1 {
      // As many scatter lists exist as operations and transfers.
      if entry.pointee.memory.scatter == .max { entry.pointee.memory.scatter = scatters.allocate()! }
      let scatter = scatters[entry.pointee.memory.scatter]
      for index in 0..<operation.segmentCount { scatter.pointee.segments[index] = operation.segments![index] }
    }
    entry.pointee.length = entry.pointee.memory.length(scatters)
    if operation.kind == .atomic {
      adoptResults(of: operation, slot)
    } else if operation.flags.contains(.inject) {
      inject(slot)
    }
  }

  /// Of an atomic operation: copies what goes out, so that the operation's memory is what comes back.
  private mutating func adoptResults(of operation: Operation, _ slot: UInt32) {
    inject(slot)
    let entry = operations[slot]
    entry.pointee.atomic = operation.atomic
    hold(operation.results, operation.resultCount, in: &entry.pointee.memory)
    entry.pointee.limit = entry.pointee.memory.length(scatters)
  }

  /// Copies the payload, so that the program may reuse its memory.
  private mutating func inject(_ slot: UInt32) {
    let entry = operations[slot]
    let length = Int(entry.pointee.length)
    let copy = buffer(max(length, 1))
    var position = copy
    entry.pointee.memory.forEachPiece(0, length, scatters) { piece, count in
      position.copyMemory(from: piece, byteCount: count)
      position += count
    }
    entry.pointee.injected = copy
    entry.pointee.hasExtras = true
    entry.pointee.memory.first = Slice(base: copy, count: length)
    entry.pointee.memory.count = 1
  }

  // MARK: Without the program

  /// The program gives operations up, which `belongs` tells by the cookie, and with them its memory: they go on with
  /// copies of what they have to send, and what they receive is dropped. Their ends come with `cookie`. Nothing that names
  /// the program's memory may wait to be sent.
  package mutating func disown(as cookie: Cookies, where belongs: (Cookies) -> Bool) {
    var slot = completedOperations.first
    while slot != .max {
      if belongs(operations[slot].pointee.cookie) { operations[slot].pointee.cookie = cookie }
      slot = operations[slot].pointee.next
    }
    for index in 0..<connectionCount {
      slot = self[ConnectionIndex(index)].pointee.operations.first
      while slot != .max {
        if belongs(operations[slot].pointee.cookie) {
          operations[slot].pointee.cookie = cookie
          releaseMemory(slot)
        }
        slot = operations[slot].pointee.next
      }
    }
  }

  private mutating func releaseMemory(_ slot: UInt32) {
    let entry = operations[slot]
    if entry.pointee.awaitsResponse {
      // Its scatter list may hold segments.
      entry.pointee.memory.first = Slice(base: nil, count: 0)
      entry.pointee.memory.count = 0
    } else if entry.pointee.injected == nil {
      inject(slot)
    }
  }

  /// From the pool, which has no buffers beyond its largest.
  private mutating func buffer(_ count: Int) -> UnsafeMutableRawPointer {
    count <= BufferPool.largest ? buffers.allocate(count) : .allocate(byteCount: count, alignment: 64)
  }

  private mutating func giveBack(_ buffer: UnsafeMutableRawPointer, _ count: Int) {
    if count <= BufferPool.largest { buffers.deallocate(buffer, count: count) } else { buffer.deallocate() }
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
    // The layer above is done with an atomic operation once it has been carried out.
    var isUntold = false
    if entry.pointee.kind == .readResponse {
      connection.pointee.responses.remove(slot, in: operations)
      isUntold = entry.pointee.injected != nil
      if !isUntold { endRead(connection) }
      if connection.pointee.deferredTransfers > 0 { startDeferred(connection) }
    } else {
      if connection.pointee.nextStart == slot { connection.pointee.nextStart = entry.pointee.next }
      connection.pointee.operations.remove(slot, in: operations)
      if entry.pointee.awaitsResponse && entry.pointee.isStarted { connection.pointee.readsOutstanding -= 1 }
      if connection.pointee.fences > 0 { passFence(entry, connection) }
    }
    if entry.pointee.isInBulk { removeFromBulk(slot, connection) }
    // Frames that still name the slot find it over and are dropped when they come up.
    entry.pointee.isLive = false
    if isUntold { return release(slot) }
    hasNews = true
    if status == .ok && entry.pointee.flags.contains(.silent) {
      silentCompletions += 1
      return release(slot)
    }
    completedOperations.append(slot, in: operations)
  }

  /// An operation has ended on a connection where fenced ones wait: it may have been the last before one of them, or one
  /// of them itself.
  @inline(never)
  private mutating func passFence(
    _ entry: UnsafeMutablePointer<OutboundOperation>, _ connection: UnsafeMutablePointer<Connection>
  ) {
    if entry.pointee.flags.contains(.fence) && !entry.pointee.isStarted { connection.pointee.fences -= 1 }
    markReady(connection)
  }

  /// Frees a completed operation; its event has been built.
  @inline(__always)
  mutating func release(_ slot: UInt32) {
    let entry = operations[slot]
    if entry.pointee.hasExtras { releaseExtras(entry) }
    if entry.pointee.kind != .readResponse { postedCount -= 1 }
    operations.free(slot)
  }

  @inline(__always)
  private mutating func releaseExtras(_ entry: UnsafeMutablePointer<OutboundOperation>) {
    if let injected = entry.pointee.injected {
      giveBack(injected, max(Int(entry.pointee.length), 1))
      if entry.pointee.kind == .readResponse { copiedAnswers -= 1 }
    }
    if entry.pointee.memory.scatter != .max { scatters.free(entry.pointee.memory.scatter) }
    if entry.pointee.awaitsResponse { entry.pointee.received.removeAll(in: &ranges) }
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
    case .write, .read, .atomic: break
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
