import Containers
import Packet

// Operations of peers: they start in sequence, wait when they must, and end once.
extension TransportEndpoint {
  /// An ordered frame of the datagram under way. Returns whether it made an event.
  @inline(__always)
  mutating func process(_ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let position = distance(frame.pointee.operation, from: connection.pointee.expectedSequence)
    if position == 0 && canStart(frame, connection) {
      guard hasRoomToStart(connection, frame) else {
        // Kept rather than dropped: what else the packet brings, say the bytes that free a slot at its sender, would have
        // to come again with it.
        noteStarved(connection)
        stage(frame, connection, position: 0)
        return false
      }
      return start(frame, connection)
    }
    if position < 0 {
      if !continueStarted(frame, connection) { dropForRoom() }
    } else {
      stage(frame, connection, position: position)
    }
    return false
  }

  /// Whether order permits an operation to start, all before it having started.
  ///
  /// Messages, reads and eager writes wait until earlier writes are in place (FI_ORDER_SAW, RAW, WAW). A pulled write
  /// waits in `accept`, and only when it overlaps; so does what would change memory that is still being read
  /// (FI_ORDER_WAR, SAR). An atomic operation waits for all of that.
  @inline(__always)
  private func canStart(_ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    if connection.pointee.activeWrites == 0 {
      return frame.pointee.type != .atomic || connection.pointee.activeReads == 0
    }
    return frame.pointee.type == .transferNotify && frame.pointee.flags.contains(.write)
  }

  /// Whether slabs have what the operation may need until it is over.
  @inline(__always)
  private func hasRoomToStart(_ connection: UnsafeMutablePointer<Connection>, _ frame: UnsafePointer<OrderedFrame>)
    -> Bool
  {
    guard sentFrames.available > 64, ranges.available > 64 else { return false }
    guard frame.pointee.type != .atomic else { return hasRoomForAtomic(connection, frame) }
    return inbound.available > 0 && (frame.pointee.type != .readRequest || hasRoomToAnswer(connection))
  }

  /// Whether there is a slot for READ_RESPONSEs.
  func hasRoomToAnswer(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    Int(connection.pointee.responses.count) < configuration.maximumReads
      && operations.available > UInt32(configuration.transmitQueueSize - postedCount)
  }

  /// Starts the operation that is next. Returns whether it made an event.
  @inline(__always)
  private mutating func start(_ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>)
    -> Bool
  {
    let isWhole = frame.pointee.payloadLength == Int(truncatingIfNeeded: frame.pointee.total)
    switch frame.pointee.type {
    case .message, .messageFragment:
      guard admitEager(frame, connection) else { return rejectStart() }
      describe(.message, frame, connection)
      if isWhole {
        event.pointee.payload = frame.pointee.payload
        cursor.answer = .wholeMessage
      } else {
        makeTransfer(frame, connection, isPulled: false)
      }
    case .writeData:
      guard segmentsMatch(frame), admitEager(frame, connection) else { return rejectStart() }
      describe(.write, frame, connection)
      if isWhole {
        event.pointee.payload = frame.pointee.payload
        cursor.answer = .wholeWrite
      } else {
        makeTransfer(frame, connection, isPulled: false)
      }
    case .transferNotify:
      let isWrite = frame.pointee.flags.contains(.write)
      guard !isWrite || segmentsMatch(frame) else { return rejectStart() }
      describe(isWrite ? .write : .message, frame, connection)
      makeTransfer(frame, connection, isPulled: true)
    case .atomic:
      guard let length = segmentTotal(frame), length <= UInt64(AtomicCode.maximumSize),
        frame.pointee.total <= UInt64(2 * AtomicCode.maximumSize)
      else { return rejectStart() }
      guard isWhole || gather(connection) else { return false }
      describeAtomic(length, connection)
    default:
      guard segmentsMatch(frame) else { return rejectStart() }
      describe(.read, frame, connection)
      cursor.answer = .read
    }
    connection.pointee.expectedSequence &+= 1
    return true
  }

  /// A frame that no correct peer sends: the packet is not acknowledged, and the peer gives up in time.
  private mutating func rejectStart() -> Bool {
    malformed()
    cursor.isAbandoned = true
    return false
  }

  /// Counts an eager operation against what its peer was granted.
  @inline(__always)
  private func admitEager(_ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>) -> Bool
  {
    let received = connection.pointee.creditReceived &+ frame.pointee.total
    guard received <= connection.pointee.creditAdvertised, frame.pointee.total <= UInt64(BufferPool.largest) else {
      return false
    }
    connection.pointee.creditReceived = received
    return true
  }

  /// Whether the remote segments add up to the operation's length.
  private func segmentsMatch(_ frame: UnsafePointer<OrderedFrame>) -> Bool {
    segmentTotal(frame) == frame.pointee.total
  }

  /// Bytes of all remote segments; nil where there are none, or too many bytes to count.
  @inline(never)
  private func segmentTotal(_ frame: UnsafePointer<OrderedFrame>) -> UInt64? {
    var total: UInt64 = 0
    guard frame.pointee.segmentCount > 0 else { return nil }
    for index in 0..<frame.pointee.segmentCount {
      let (sum, overflow) = total.addingReportingOverflow(
        RemoteSegment(encoded: frame.pointee.segments, at: index).length)
      if overflow { return nil }
      total = sum
    }
    return total
  }

  /// Fills the event in from the frame.
  @inline(__always)
  private mutating func describe(
    _ kind: EventKind, _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>
  ) {
    describe(
      kind, .ok, OperationFlags(frame), connection.pointee.index, tag: frame.pointee.tag,
      data: frame.pointee.data,
      length: frame.pointee.total, Cookies())
    if kind == .message {
      event.pointee.context = frame.pointee.context
    } else {
      event.pointee.segmentCount = UInt8(frame.pointee.segmentCount)
      event.pointee.encodedSegments = frame.pointee.segments
    }
    cursor.eventConnection = connection
    cursor.transfer = .max
    cursor.refusal = .ok
  }

  /// Takes a slot for an operation of several packets, or one that is held.
  mutating func makeTransfer(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>, isPulled: Bool
  ) {
    // hasRoomToStart has seen to it that there is one.
    let slot = inbound.allocate()!
    let isWrite = event.pointee.kind == .write
    inbound[slot].initialize(
      to: InboundTransfer(
        flags: OperationFlags(frame), isWrite: isWrite, isPulled: isPulled,
        wantsDone: isPulled || isWrite || frame.pointee.flags.contains(.wantsDone),
        connection: connection.pointee.index,
        sequence: frame.pointee.operation, token: frame.pointee.token, length: frame.pointee.total,
        wanted: frame.pointee.total, tag: frame.pointee.tag,
        data: frame.pointee.data))
    connection.pointee.inbound.append(slot, in: inbound)
    if isWrite { connection.pointee.activeWrites += 1 }
    if !isPulled {
      inbound[slot].pointee.isIncomplete = true
      connection.pointee.incompleteEager += 1
      touch(connection)
    }
    cursor.transfer = slot
    cursor.answer = .transfer
  }

  // MARK: Frames of operations that have started

  /// A fragment of an operation that has started, or a duplicate. Returns false when there is no room to take it.
  private mutating func continueStarted(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>
  ) -> Bool {
    switch frame.pointee.type {
    case .message, .messageFragment, .writeData: break
    default: return true
    }
    // The most recent is the likeliest.
    var slot = connection.pointee.inbound.last
    while slot != .max {
      let entry = inbound[slot]
      if entry.pointee.sequence == frame.pointee.operation && !entry.pointee.isDetached {
        guard !entry.pointee.isPulled, frame.pointee.total == entry.pointee.length,
          entry.pointee.isWrite == (frame.pointee.type == .writeData)
        else { return true }
        return place(slot, frame.pointee.offset, frame.pointee.payload, frame.pointee.payloadLength)
      }
      slot = entry.pointee.previous
    }
    return true
  }

  /// DATA_CHUNK: part of a pulled message or write.
  mutating func receiveChunk(_ connection: UnsafeMutablePointer<Connection>, _ frame: DataChunkFrame) {
    guard inbound.contains(frame.transfer) else { return malformed() }
    let entry = inbound[frame.transfer]
    guard entry.pointee.state == .accepted, entry.pointee.isPulled,
      entry.pointee.connection == connection.pointee.index, entry.pointee.sequence == frame.operation,
      !entry.pointee.isDetached
    else { return }
    let (end, overflow) = frame.offset.addingReportingOverflow(UInt64(frame.payloadLength))
    guard !overflow, end <= entry.pointee.granted else { return malformed() }
    predict(frame.transfer, frame.operation, isRead: false)
    if !place(frame.transfer, frame.offset, frame.payload, frame.payloadLength) { return dropForRoom() }
    extendGrant(frame.transfer, connection)
    if inbound[frame.transfer].pointee.state != .accepted { predictNext(connection, isRead: false) }
  }

  /// READ_RESPONSE: part of what this side reads, or an atomic operation of its returns.
  mutating func receiveReadResponse(_ connection: UnsafeMutablePointer<Connection>, _ frame: ReadResponseFrame) {
    guard let entry = liveOperation(frame.token, frame.operation, connection.pointee.index),
      entry.pointee.awaitsResponse, entry.pointee.isStarted
    else { return }
    let (end, overflow) = frame.offset.addingReportingOverflow(UInt64(frame.payloadLength))
    guard !overflow, end <= entry.pointee.limit else { return malformed() }
    guard entry.pointee.received.insert(frame.offset, end, in: &ranges) else { return dropForRoom() }
    scatter(frame.payload, frame.payloadLength, to: entry.pointee.memory, at: frame.offset)
    entry.pointee.remoteSlot = frame.responder
    if entry.pointee.received.isComplete(entry.pointee.responseLength) {
      complete(frame.token, .ok)
      return predictNext(connection, isRead: true)
    }
    guard entry.pointee.kind == .read else { return }
    predict(frame.token, frame.operation, isRead: true)
    let limit = nextGrant(
      entry.pointee.limit, entry.pointee.received.completePrefix, entry.pointee.length, connection)
    guard limit > entry.pointee.limit else { return }
    entry.pointee.limit = limit
    queuePull(.pullRead, frame.token, frame.operation, connection)
  }

  /// Takes bytes of a transfer in. Returns false, with nothing done, when there is no room to note them.
  mutating func place(_ slot: UInt32, _ offset: UInt64, _ payload: UnsafeRawPointer, _ length: Int) -> Bool {
    let entry = inbound[slot]
    guard entry.pointee.received.insert(offset, offset + UInt64(length), in: &ranges) else { return false }
    if let staging = entry.pointee.staging {
      (staging + Int(offset)).copyMemory(from: payload, byteCount: length)
    } else {
      scatter(payload, length, to: entry.pointee.memory, at: offset)
    }
    if entry.pointee.isIncomplete && entry.pointee.received.isComplete(entry.pointee.length) { noteComplete(slot) }
    if entry.pointee.state == .accepted && entry.pointee.received.isComplete(entry.pointee.wanted) {
      if !entry.pointee.isDeferred { finish(slot, .ok) }
    } else if entry.pointee.state == .held && entry.pointee.wantsDone && !entry.pointee.flags.contains(.matchComplete)
      && entry.pointee.received.isComplete(entry.pointee.length)
    {
      // Delivered, if not asked for yet: the program will find it (fi_cq(3), FI_DELIVERY_COMPLETE).
      entry.pointee.wantsDone = false
      queueDone(self[entry.pointee.connection], entry.pointee.sequence, .ok)
    }
    return true
  }

  /// Nothing more is awaited for an eager transfer.
  mutating func noteComplete(_ slot: UInt32) {
    inbound[slot].pointee.isIncomplete = false
    self[inbound[slot].pointee.connection].pointee.incompleteEager -= 1
  }

  /// Copies to `offset` of local memory; what lies beyond its end is dropped.
  @inline(__always)
  func scatter(_ payload: UnsafeRawPointer, _ length: Int, to memory: LocalMemory, at offset: UInt64) {
    let placed = payload == cursor.placedPayload ? min(cursor.placed, length) : 0
    guard placed < length else { return }
    var source = payload + placed
    memory.forEachPiece(offset + UInt64(placed), length - placed, scatters) { piece, count in
      piece.copyMemory(from: source, byteCount: count)
      source += count
    }
  }

  // MARK: Frames before their turn

  /// Keeps a frame whose predecessors are missing.
  private mutating func stage(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>, position: Int32
  ) {
    guard Int(position) < 2 * configuration.operationWindow,
      connection.pointee.stagedBytes + frame.pointee.encodedSize <= 2 * configuration.creditWindow + 256 * 1024
    else { return dropForRoom() }
    var block = cursor.stagingBlock
    if block == .max || distance(frame.pointee.operation, from: staged[block].pointee.lastOperation) < 0 {
      guard let fresh = staged.allocate() else { return dropForRoom() }
      let capacity = frame.pointee.encodedSize + cursor.reader.remaining
      staged[fresh].initialize(
        to: StagedBlock(
          firstOperation: frame.pointee.operation, lastOperation: frame.pointee.operation, capacity: capacity,
          bytes: buffers.allocate(capacity)))
      insertStaged(fresh, connection)
      cursor.stagingBlock = fresh
      block = fresh
    }
    let entry = staged[block]
    (entry.pointee.bytes + entry.pointee.used).copyMemory(
      from: frame.pointee.start, byteCount: frame.pointee.encodedSize)
    entry.pointee.used += frame.pointee.encodedSize
    entry.pointee.lastOperation = frame.pointee.operation
    connection.pointee.stagedBytes += frame.pointee.encodedSize
    statistics.stagedFrames += 1
  }

  /// Keeps the blocks sorted by their first operation.
  private func insertStaged(_ block: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let first = staged[block].pointee.firstOperation
    var successor: UInt32 = .max
    var candidate = connection.pointee.staged.last
    while candidate != .max && distance(staged[candidate].pointee.firstOperation, from: first) > 0 {
      successor = candidate
      candidate = staged[candidate].pointee.previous
    }
    connection.pointee.staged.insert(block, before: successor, in: staged)
  }

  /// Processes one staged frame whose turn has come. Returns whether it made an event; sets `cursor.draining` to nil
  /// when none has.
  mutating func drainStaged(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let block = connection.pointee.staged.first
    guard block != .max else {
      cursor.draining = nil
      return false
    }
    let entry = staged[block]
    var reader = ByteReader(
      UnsafeRawBufferPointer(
        start: entry.pointee.bytes + entry.pointee.position, count: entry.pointee.used - entry.pointee.position))
    guard reader.remaining > 0, let type = FrameType(rawValue: reader.peek(0, as: UInt8.self)),
      let parsed = OrderedFrame(type, &reader)
    else {
      freeStaged(block, connection)
      return false
    }
    orderedFrame.pointee = parsed
    let frame = UnsafePointer(orderedFrame)
    let position = distance(frame.pointee.operation, from: connection.pointee.expectedSequence)
    if position > 0 || (position == 0 && !canStart(frame, connection)) {
      waitStaged(block, frame.pointee.operation, connection)
      return false
    }
    if position == 0 && !hasRoomToStart(connection, frame) {
      noteStarved(connection)
      // Another block may have what is missing of an operation that holds a slot.
      waitStaged(block, frame.pointee.operation, connection)
      return false
    }
    cursor.isAbandoned = false
    let isEvent = position == 0 ? start(frame, connection) : false
    if position < 0 && !continueStarted(frame, connection) {
      noteStarved(connection)
      cursor.draining = nil
      return false
    }
    entry.pointee.position += frame.pointee.encodedSize
    connection.pointee.stagedBytes -= frame.pointee.encodedSize
    if entry.pointee.position == entry.pointee.used {
      // The event's payload lies in the block.
      if isEvent {
        connection.pointee.staged.remove(block, in: staged)
        cursor.replayedBlock = block
      } else {
        freeStaged(block, connection)
      }
    }
    return isEvent
  }

  /// The block's next frame has to wait; another block may come before it now.
  private mutating func waitStaged(
    _ block: UInt32, _ operation: UInt32, _ connection: UnsafeMutablePointer<Connection>
  ) {
    guard staged[block].pointee.firstOperation != operation else {
      cursor.draining = nil
      return
    }
    staged[block].pointee.firstOperation = operation
    connection.pointee.staged.remove(block, in: staged)
    insertStaged(block, connection)
  }

  private mutating func freeStaged(_ block: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.staged.remove(block, in: staged)
    freeBlock(block)
  }

  private mutating func freeBlock(_ block: UInt32) {
    buffers.deallocate(staged[block].pointee.bytes, count: staged[block].pointee.capacity)
    staged.free(block)
    if cursor.stagingBlock == block { cursor.stagingBlock = .max }
  }

  mutating func freeReplayedBlock() {
    freeBlock(cursor.replayedBlock)
    cursor.replayedBlock = .max
  }

  /// Staged frames of the connection wait for room.
  mutating func noteStarved(_ connection: UnsafeMutablePointer<Connection>) {
    starved.append(connection, in: connections)
  }

  /// There may be room again: the staged frames of whoever has waited longest may go on.
  mutating func feedStarved() {
    while let connection = starved.popFirst(in: connections) {
      guard connection.pointee.staged.isEmpty else { return cursor.draining = connection }
    }
  }

  /// Drops what is staged; the session is over.
  mutating func freeAllStaged(_ connection: UnsafeMutablePointer<Connection>) {
    while connection.pointee.staged.first != .max { freeStaged(connection.pointee.staged.first, connection) }
    connection.pointee.stagedBytes = 0
  }
}

extension OperationFlags {
  @inline(__always)
  init(_ frame: UnsafePointer<OrderedFrame>) {
    let flags = frame.pointee.flags
    self = []
    if flags.contains(.tagged) { insert(.tagged) }
    if flags.contains(.remoteData) { insert(.remoteData) }
    if flags.contains(.persistent) && frame.pointee.isWrite {
      insert(.persistent)
      if flags.contains(.wantsDone) { insert(.fence) }
      return
    }
    if flags.contains(.wantsDone) { insert(flags.contains(.wantsMatch) ? .matchComplete : .deliveryComplete) }
  }
}
