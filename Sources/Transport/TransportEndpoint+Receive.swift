import Containers
import Packet

// From a datagram to its frames. What the frames of operations do is in TransportEndpoint+Inbound.swift.
extension TransportEndpoint {
  /// Takes one datagram. Follow up with `pollEvent` until nil, before its memory is reused.
  ///
  /// Whatever the bytes are, nothing but statistics changes unless they belong to a session of this endpoint.
  ///
  /// `placed` bytes of it are not in the buffer but at the target of `placement`, which `fits`.
  package mutating func receive(
    _ datagram: UnsafeRawBufferPointer, from source: PeerAddress, now: Instant, placement: Placement? = nil,
    placed: Int = 0
  ) {
    assert(!cursor.isActive)
    cursor.placed = placed
    if let placement, let base = datagram.baseAddress { cursor.placedPayload = base + placement.headerLength }
    guard let first = datagram.first else { return malformed() }
    statistics.packetsReceived += 1
    statistics.bytesReceived += UInt64(datagram.count)
    guard first & 0x0F == protocolVersion else { return receiveOtherVersion(datagram, first, from: source) }
    var reader = ByteReader(datagram)
    switch PacketKind(rawValue: first >> 4) {
    case .data: receiveData(&reader, from: source, size: datagram.count, now: now)
    case .confirm:
      guard let header = ConfirmHeader(&reader) else { return malformed() }
      guard let connection = receiveConfirm(header, from: source, now: now) else { return }
      begin(connection, header.packetNumber, header.flags, reader, size: datagram.count, now: now)
    case .initial: receiveInitial(&reader, from: source, now: now)
    case .challenge: receiveChallenge(&reader, from: source, now: now)
    case .reset: receiveReset(&reader, from: source, now: now)
    // Nothing but version 1 exists; a peer that speaks only later ones cannot be helped.
    case .version: unknown()
    case nil: malformed()
    }
  }

  /// A version this side does not speak: an INITIAL is told which it speaks, so that its sender need not wait.
  private mutating func receiveOtherVersion(
    _ datagram: UnsafeRawBufferPointer, _ first: UInt8, from source: PeerAddress
  ) {
    unknown()
    var reader = ByteReader(datagram)
    guard PacketKind(rawValue: first >> 4) == .initial, let packet = InitialPacket(&reader) else { return }
    answers.append(
      Answer(
        kind: .version, address: source, connection: packet.connection, session: packet.session))
  }

  @inline(__always)
  private mutating func receiveData(_ reader: inout ByteReader, from source: PeerAddress, size: Int, now: Instant) {
    guard let header = DataHeader(&reader) else { return malformed() }
    guard Int(header.connection) < connectionCount else { return resetUnknown(header, source) }
    let connection = self[header.connection]
    guard connection.pointee.session == header.session, connection.pointee.address == source,
      connection.pointee.state == .established || connection.pointee.state == .confirming
    else { return resetUnknown(header, source) }
    begin(connection, header.packetNumber, header.flags, reader, size: size, now: now)
  }

  private mutating func resetUnknown(_ header: DataHeader, _ source: PeerAddress) {
    unknown()
    answers.append(
      Answer(
        kind: .reset, address: source, connection: header.connection, session: header.session))
  }

  /// Lays a packet of a known session out for `pollEvent`.
  @inline(__always)
  private mutating func begin(
    _ connection: UnsafeMutablePointer<Connection>, _ truncated: UInt32, _ flags: PacketFlags, _ reader: ByteReader,
    size: Int, now: Instant
  ) {
    let number = PacketNumber.expand(truncated, expected: connection.pointee.received.largest &+ 1)
    if number == 0 || AckRanges.contains(&connection.pointee.received, number) {
      statistics.duplicates += 1
      heard(connection, now: now)
      // The acknowledgement may have been lost.
      oweAcknowledgement(connection, eliciting: true, size: 0, now: now)
      acknowledgeSoon(connection)
      return
    }
    cursor.isActive = true
    cursor.isAbandoned = false
    cursor.lacksRoom = false
    cursor.isEliciting = false
    cursor.connection = connection
    cursor.reader = reader
    cursor.packetNumber = number
    cursor.flags = flags
    cursor.size = size
    cursor.stagingBlock = .max
    cursor.orderedFrames = 0
    cursor.now = now
  }

  /// The peer lives.
  @inline(__always)
  func heard(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    connection.pointee.lastReceived = now
    connection.pointee.awaitingSince = never
    connection.pointee.unreachableSince = never
    connection.pointee.unreachableCount = 0
  }

  // MARK: Events

  /// The next event, nil when there is none. The answer to the event before, if it was due, has been given by now.
  package mutating func pollEvent(now: Instant) -> UnsafePointer<Event>? {
    cursor.now = now
    if cursor.answer != .none { settle() }
    if cursor.replayedBlock != .max { freeReplayedBlock() }
    if nextCompletion() { return UnsafePointer(event) }
    while cursor.isActive {
      if processNextFrame() { return UnsafePointer(event) }
      if nextCompletion() { return UnsafePointer(event) }
    }
    // Not before the packet under way is over: its connection is drained next.
    if cursor.draining == nil && !starved.isEmpty { feedStarved() }
    while let connection = cursor.draining {
      if drainStaged(connection) { return UnsafePointer(event) }
      if nextCompletion() { return UnsafePointer(event) }
    }
    return nil
  }

  /// Turns what is over into the event. Returns false when nothing is.
  @inline(__always)
  private mutating func nextCompletion() -> Bool {
    guard hasNews else { return false }
    return nextNews()
  }

  /// What is over, the oldest of each kind first.
  @inline(never)
  private mutating func nextNews() -> Bool {
    if !completedOperations.isEmpty { return nextCompletedOperation() }
    if !finishedTransfers.isEmpty { return nextFinishedTransfer() }
    if silentCompletions > 0 {
      event.pointee = Event(.silentlyCompleted)
      event.pointee.length = UInt64(silentCompletions)
      silentCompletions = 0
      return true
    }
    if let failure = failedConnections.popFirst() {
      event.pointee = Event(.connectionFailed)
      event.pointee.connection = failure.connection
      event.pointee.status = failure.status
      return true
    }
    hasNews = false
    return false
  }

  /// Whether the packet under way has frames left.
  @inline(__always)
  package var isInPacket: Bool { cursor.isActive && cursor.reader.remaining > 0 }

  /// The cookie of a posted operation that ended well, if that is what `pollEvent` would tell next: the same news in
  /// less time.
  @inline(__always)
  package mutating func takeCompletion() -> Cookies? {
    let slot = completedOperations.first
    guard slot != .max else { return nil }
    let entry = operations[slot]
    guard entry.pointee.status == .ok && entry.pointee.kind != .readResponse else { return nil }
    _ = completedOperations.popFirst(in: operations)
    let cookie = entry.pointee.cookie
    release(slot)
    return cookie
  }

  /// How many silent operations have ended well since that was last told.
  @inline(__always)
  package mutating func takeSilentCompletions() -> Int {
    let count = silentCompletions
    silentCompletions = 0
    return count
  }

  private mutating func nextCompletedOperation() -> Bool {
    let slot = completedOperations.popFirst(in: operations)
    let entry = operations[slot]
    describe(
      entry.pointee.kind == .readResponse ? .readAnswered : .operationCompleted, entry.pointee.status,
      entry.pointee.flags, entry.pointee.connection, tag: entry.pointee.tag, data: entry.pointee.data,
      length: entry.pointee.awaitsResponse ? entry.pointee.responseLength : entry.pointee.length, entry.pointee.cookie)
    event.pointee.operationKind = entry.pointee.kind
    release(slot)
    return true
  }

  private mutating func nextFinishedTransfer() -> Bool {
    let slot = finishedTransfers.popFirst(in: inbound)
    let entry = inbound[slot]
    let kind: EventKind =
      entry.pointee.state == .held ? .heldMessageLost : entry.pointee.isWrite ? .writeReceived : .messageReceived
    describe(
      kind, entry.pointee.status, entry.pointee.flags, entry.pointee.connection, tag: entry.pointee.tag,
      data: entry.pointee.data, length: entry.pointee.length, entry.pointee.cookie)
    guard awaitsPersistence(entry, entry.pointee.status) else {
      free(transfer: slot)
      return true
    }
    cursor.answer = .persistence
    cursor.eventConnection = self[entry.pointee.connection]
    cursor.transfer = slot
    cursor.refusal = .ok
    return true
  }

  /// Fills the event in, all but its payload and segments, of which there are none.
  @inline(__always)
  func describe(
    _ kind: EventKind, _ status: TransportStatus, _ flags: OperationFlags, _ connection: ConnectionIndex, tag: UInt64,
    data: UInt64, length: UInt64, _ cookie: Cookies
  ) {
    event.pointee.kind = kind
    event.pointee.status = status
    event.pointee.flags = flags
    event.pointee.connection = connection
    event.pointee.tag = tag
    event.pointee.data = data
    event.pointee.length = length
    event.pointee.payload = nil
    event.pointee.segmentCount = 0
    event.pointee.cookie = cookie
  }

  // MARK: Frames

  /// Processes one frame, or ends the packet. Returns whether it made an event.
  @inline(__always)
  private mutating func processNextFrame() -> Bool {
    guard cursor.reader.remaining > 0, !cursor.isAbandoned else {
      endPacket()
      return false
    }
    guard let type = FrameType(rawValue: cursor.reader.peek(0, as: UInt8.self)) else {
      abandonMalformed()
      return false
    }
    if type.isOrdered {
      guard let frame = OrderedFrame(type, &cursor.reader) else {
        abandonMalformed()
        return false
      }
      orderedFrame.pointee = frame
      cursor.isEliciting = true
      cursor.orderedFrames &+= 1
      return process(orderedFrame, cursor.connection)
    }
    if !processUnordered(type) { abandonMalformed() }
    return false
  }

  private mutating func abandonMalformed() {
    malformed()
    cursor.isAbandoned = true
  }

  /// Drops what a frame brings because there is no room for it: its packet is not acknowledged, and the frame will come
  /// again. The frames after it are processed all the same, since they may be what makes room.
  mutating func dropForRoom() {
    statistics.droppedForRoom += 1
    cursor.lacksRoom = true
  }

  /// Returns false when the frame is malformed.
  private mutating func processUnordered(_ type: FrameType) -> Bool {
    let connection = cursor.connection!
    switch type {
    case .padding:
      cursor.reader.skip(1)
      skipPadding()
      return true
    case .rangeAck:
      guard let frame = RangeAckFrame(&cursor.reader) else { return false }
      return acknowledged(connection, frame, now: cursor.now)
    case .dataChunk:
      guard let frame = DataChunkFrame(&cursor.reader) else { return false }
      receiveChunk(connection, frame)
    case .readResponse:
      guard let frame = ReadResponseFrame(&cursor.reader) else { return false }
      receiveReadResponse(connection, frame)
    case .pullRequest:
      guard let frame = PullRequestFrame(&cursor.reader) else { return false }
      pulled(connection, frame)
    case .operationDone:
      guard let frame = OperationDoneFrame(&cursor.reader) else { return false }
      operationsDone(connection, frame.operation, frame.count, TransportStatus(wire: frame.status))
    case .credit:
      guard let frame = CreditFrame(&cursor.reader) else { return false }
      receiveCredit(connection, frame)
    case .accept:
      guard let frame = AcceptFrame(&cursor.reader) else { return false }
      receiveAccept(connection, frame, now: cursor.now)
    case .probe: guard ShortFrame.decode(&cursor.reader) else { return false }
    case .close:
      guard ShortFrame.decode(&cursor.reader) else { return false }
      receiveClose(connection, now: cursor.now)
      // The session is over, and with it this packet.
      cursor.isActive = false
      return true
    default: return false
    }
    if type != .rangeAck { cursor.isEliciting = true }
    return true
  }

  /// Padding fills probes and the ends of segments; nobody needs it byte by byte.
  private mutating func skipPadding() {
    while cursor.reader.remaining > 0 && cursor.reader.peek(0, as: UInt8.self) == 0 { cursor.reader.skip(1) }
  }

  private mutating func receiveCredit(_ connection: UnsafeMutablePointer<Connection>, _ frame: CreditFrame) {
    connection.pointee.creditLimit = max(connection.pointee.creditLimit, frame.bytes)
    if distance(frame.operations, from: connection.pointee.operationLimit) > 0 {
      connection.pointee.operationLimit = frame.operations
    }
    markReady(connection)
  }

  /// A packet that is not acknowledged is answered all the same, lest its sender take this side for dead.
  private mutating func answerDropped(_ connection: UnsafeMutablePointer<Connection>) {
    guard connection.pointee.received.count > 0 else { return }
    oweAcknowledgement(connection, eliciting: true, size: 0, now: cursor.now)
    acknowledgeSoon(connection)
  }

  /// Messages in one packet that show a stream, not a request.
  private static var manyFrames: Int { 8 }

  /// All frames are processed: the packet counts as received.
  private mutating func endPacket() {
    cursor.isActive = false
    let connection = cursor.connection!
    cursor.draining = connection
    guard !cursor.isAbandoned else { return }
    heard(connection, now: cursor.now)
    guard !cursor.lacksRoom else { return answerDropped(connection) }
    let isLargest = cursor.packetNumber > connection.pointee.received.largest
    let inOrder = connection.pointee.received.insert(cursor.packetNumber)
    if isLargest { connection.pointee.largestReceivedTime = cursor.now }
    guard cursor.isEliciting else { return }
    oweAcknowledgement(connection, eliciting: true, size: cursor.size, now: cursor.now)
    // A gap is news for the sender's loss detection, and so is what comes right behind it: the sender waits for a few
    // packets to be sure that it was no detour (RFC 9000 section 13.2.1).
    if (!inOrder && cursor.packetNumber > 1) || connection.pointee.received.isGapNews {
      acknowledgeAtOnce(connection)
    }
    guard cursor.flags.contains(.acknowledgeSoon) else { return }
    acknowledgeSoon(connection)
    // A stream's acknowledgement waits for what else is there, but for no answer of the program: the sender can go on
    // while that works.
    if cursor.orderedFrames >= Self.manyFrames { expectsMore = true }
  }
}

extension TransportStatus {
  /// The status byte of OPERATION_DONE.
  init(wire: UInt8) {
    switch OperationStatus(rawValue: wire) {
    case .ok: self = .ok
    case .accessDenied: self = .accessDenied
    case .outOfBounds: self = .outOfBounds
    case .notPersistent: self = .notPersistent
    case .unsupported: self = .unsupported
    case .aborted, nil: self = .aborted
    }
  }
}
