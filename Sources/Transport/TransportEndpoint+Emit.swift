import Containers
import Packet

// The frames of a packet, most urgent first.
extension TransportEndpoint {
  /// Payload is not split into pieces smaller than this.
  static var smallestPiece: Int { 64 }

  /// Fills a packet. Returns whether it is full: something is left that did not fit.
  mutating func fill(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Bool {
    fillFlags(connection, &builder)
    if fillControl(connection, &builder) { return true }
    // Bulk takes turns with what starts, so that neither starves the other, and also with what is sent again: a receiver
    // without room for that may be waiting for the bulk.
    connection.pointee.prefersBulk.toggle()
    let isFull: Bool
    if connection.pointee.prefersBulk {
      isFull =
        fillBulk(connection, &builder, &batch) || fillRetransmissions(connection, &builder, &batch)
        || fillStarts(connection, &builder, &batch)
    } else {
      isFull =
        fillRetransmissions(connection, &builder, &batch) || fillStarts(connection, &builder, &batch)
        || fillBulk(connection, &builder, &batch)
    }
    if !isFull { fillClose(connection, &builder) }
    if !builder.isEliciting && connection.pointee.probesDue > 0 && builder.room >= ShortFrame.size {
      ShortFrame.encode(.probe, &builder.writer)
      builder.isEliciting = true
    }
    return isFull
  }

  // MARK: Frames about the connection

  private mutating func fillFlags(_ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder) {
    if connection.pointee.needsAccept, builder.room >= AcceptFrame.size, append(SentFrame(.accept), &builder) {
      AcceptFrame(
        connection: connection.pointee.index, session: connection.pointee.session, parameters: localParameters
      ).encode(&builder.writer)
      connection.pointee.needsAccept = false
    }
    if connection.pointee.needsCredit, builder.room >= CreditFrame.size, append(SentFrame(.credit), &builder) {
      connection.pointee.creditAdvertised =
        connection.pointee.creditConsumed &+ UInt64(configuration.creditWindow)
      connection.pointee.operationsAdvertised =
        connection.pointee.operationsConsumed &+ UInt32(configuration.operationWindow)
      CreditFrame(
        operations: connection.pointee.operationsAdvertised, bytes: connection.pointee.creditAdvertised
      ).encode(&builder.writer)
      connection.pointee.needsCredit = false
    }
  }

  /// Adds a new frame to the packet's; false when the slab is exhausted.
  @inline(__always)
  mutating func append(_ frame: SentFrame, _ builder: inout PacketBuilder) -> Bool {
    guard let index = sentFrames.allocate() else { return false }
    sentFrames[index].initialize(to: frame)
    builder.frames.append(index, in: sentFrames)
    builder.isEliciting = true
    return true
  }

  /// CLOSE, once nothing of this side's is left to say. Before it stands which of the peer's operations are over: what it
  /// has sent again, and does not know to have arrived the first time, would otherwise end with the session.
  private mutating func fillClose(_ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder) {
    guard connection.pointee.needsClose, connection.pointee.operations.isEmpty, connection.pointee.responses.isEmpty,
      connection.pointee.sent.isEmpty, !builder.isEliciting,
      builder.room >= OperationDoneFrame.size + ShortFrame.size, append(SentFrame(.close), &builder)
    else { return }
    // Those that ended otherwise have been told, and that was acknowledged.
    let count = UInt16.max
    let first = firstUnfinished(connection) &- UInt32(count)
    OperationDoneFrame(status: OperationStatus.ok.rawValue, count: count, operation: first).encode(&builder.writer)
    ShortFrame.encode(.close, &builder.writer)
    connection.pointee.needsClose = false
  }

  /// The first of the peer's operations that has not started, is not all here, or whose end is still to be told.
  private func firstUnfinished(_ connection: UnsafeMutablePointer<Connection>) -> UInt32 {
    var first = connection.pointee.expectedSequence
    var slot = connection.pointee.inbound.first
    while slot != .max {
      let entry = inbound[slot]
      let isOver = !entry.pointee.isPulled && !entry.pointee.isIncomplete && !entry.pointee.wantsDone
      if !entry.pointee.isDetached && !isOver {
        first = entry.pointee.sequence
        break
      }
      slot = entry.pointee.next
    }
    // Writes that are in place but not persistent yet.
    slot = finishedTransfers.first
    while slot != .max {
      let entry = inbound[slot]
      if entry.pointee.connection == connection.pointee.index && !entry.pointee.isDetached
        && awaitsPersistence(entry, entry.pointee.status) && distance(entry.pointee.sequence, from: first) < 0
      {
        first = entry.pointee.sequence
      }
      slot = entry.pointee.next
    }
    return first
  }

  // MARK: Frames that are due

  /// OPERATION_DONE and PULL_REQUEST. Returns whether the packet is full.
  private mutating func fillControl(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder
  ) -> Bool {
    while !connection.pointee.control.isEmpty {
      guard builder.room >= PullRequestFrame.size else { return true }
      let index = connection.pointee.control.popFirst(in: sentFrames)
      guard encodeControl(sentFrames[index].pointee, connection, &builder) else {
        sentFrames.free(index)
        continue
      }
      builder.frames.append(index, in: sentFrames)
      builder.isEliciting = true
    }
    return false
  }

  /// Returns false when the frame means nothing any more.
  private func encodeControl(
    _ frame: SentFrame, _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder
  ) -> Bool {
    switch frame.kind {
    case .done:
      OperationDoneFrame(
        status: frame.status, count: UInt16(truncatingIfNeeded: frame.length), operation: frame.sequence
      ).encode(&builder.writer)
    case .pull:
      let entry = inbound[frame.slot]
      guard entry.pointee.state == .accepted, entry.pointee.sequence == frame.sequence,
        entry.pointee.connection == connection.pointee.index, !entry.pointee.isDetached
      else { return false }
      PullRequestFrame(
        isRead: false, operation: frame.sequence, token: entry.pointee.token, transfer: frame.slot,
        limit: entry.pointee.granted
      ).encode(&builder.writer)
    case .pullRead:
      guard let entry = liveOperation(frame, connection) else { return false }
      PullRequestFrame(
        isRead: true, operation: frame.sequence, token: entry.pointee.remoteSlot, transfer: frame.slot,
        limit: entry.pointee.limit
      ).encode(&builder.writer)
    case .payload, .run, .announcement, .accept, .credit, .close: return false
    }
    return true
  }

  /// What was lost. Returns whether the packet is full.
  private mutating func fillRetransmissions(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Bool {
    while !connection.pointee.retransmit.isEmpty {
      let index = connection.pointee.retransmit.popFirst(in: sentFrames)
      let frame = sentFrames[index].pointee
      if frame.kind == .run {
        guard resendRun(index, connection, &builder) else {
          connection.pointee.retransmit.prepend(index, in: sentFrames)
          return true
        }
        builder.frames.append(index, in: sentFrames)
        builder.isEliciting = true
        continue
      }
      guard liveOperation(frame, connection) != nil else {
        sentFrames.free(index)
        continue
      }
      if frame.kind == .announcement {
        guard encodeAnnouncement(frame.slot, &builder) else {
          connection.pointee.retransmit.prepend(index, in: sentFrames)
          return true
        }
      } else {
        guard !builder.isEliciting || builder.room >= encodedSize(frame) else {
          connection.pointee.retransmit.prepend(index, in: sentFrames)
          return true
        }
        let sent = encodePayload(frame.slot, frame.offset, Int(frame.length), &builder, &batch)
        guard let sent, sent == Int(frame.length) || splitFrame(index, at: sent, &builder) else {
          connection.pointee.retransmit.prepend(index, in: sentFrames)
          return true
        }
        if sent < Int(frame.length) {
          connection.pointee.retransmit.prepend(index, in: sentFrames)
          return true
        }
      }
      builder.frames.append(index, in: sentFrames)
      builder.isEliciting = true
    }
    return false
  }

  /// What a payload frame takes in a packet. One that is sent again is only torn apart when it is the first of its packet:
  /// otherwise its pieces would become ever smaller, and use up the slab.
  private func encodedSize(_ frame: SentFrame) -> Int {
    let entry = operations[frame.slot]
    if entry.pointee.isPulled { return chunkOverhead(entry) + Int(frame.length) }
    let type = eagerType(entry, isWhole: UInt64(frame.length) == entry.pointee.length)
    return OrderedFrame.overhead(type, flags(entry)) + Int(frame.length)
  }

  /// The packet took the first `count` bytes of a frame: they become a frame of their own, the rest stays due.
  private mutating func splitFrame(_ index: UInt32, at count: Int, _ builder: inout PacketBuilder) -> Bool {
    var head = sentFrames[index].pointee
    head.length = UInt32(count)
    guard append(head, &builder) else { return false }
    sentFrames[index].pointee.offset += UInt64(count)
    sentFrames[index].pointee.length -= UInt32(count)
    operations[head.slot].pointee.frames += 1
    return true
  }

  // MARK: Operations that start

  /// Posted operations in sequence: eager ones whole or in fragments, others announced. Returns whether the packet is
  /// full.
  private mutating func fillStarts(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Bool {
    while connection.pointee.nextStart != .max {
      if connection.pointee.nextStart != connection.pointee.operations.last { fillRun(connection, &builder) }
      let slot = connection.pointee.nextStart
      let entry = operations[slot]
      if !entry.pointee.isStarted && !mayStart(slot, connection) { return false }
      guard hasFrameSlots else {
        noteShortage(connection)
        return false
      }
      if entry.pointee.kind == .read || entry.pointee.isPulled {
        guard encodeAnnouncement(slot, &builder) else { return true }
        started(slot, connection)
        var frame = SentFrame(.announcement)
        frame.slot = slot
        frame.sequence = entry.pointee.sequence
        _ = append(frame, &builder)
        entry.pointee.frames += 1
        connection.pointee.nextStart = entry.pointee.next
        continue
      }
      let length = Int(entry.pointee.length - entry.pointee.sent)
      guard let sent = encodePayload(slot, entry.pointee.sent, length, &builder, &batch) else { return true }
      started(slot, connection)
      appendPayloadFrame(slot, entry.pointee.sent, sent, &builder)
      entry.pointee.sent += UInt64(sent)
      if entry.pointee.sent < entry.pointee.length { return true }
      connection.pointee.nextStart = entry.pointee.next
    }
    return false
  }

  @inline(__always)
  private mutating func appendPayloadFrame(
    _ slot: UInt32, _ offset: UInt64, _ length: Int, _ builder: inout PacketBuilder
  ) {
    var frame = SentFrame(.payload)
    frame.slot = slot
    frame.isResponse = operations[slot].pointee.kind == .readResponse
    frame.sequence = operations[slot].pointee.sequence
    frame.offset = offset
    frame.length = UInt32(length)
    _ = append(frame, &builder)
    operations[slot].pointee.frames += 1
  }

  /// Whether fences and the peer's credit permit the operation; decides how it will travel.
  mutating func mayStart(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let entry = operations[slot]
    guard distance(entry.pointee.sequence, from: connection.pointee.operationLimit) < 0 else { return false }
    if entry.pointee.flags.contains(.fence) && connection.pointee.operations.first != slot { return false }
    if entry.pointee.awaitsResponse && connection.pointee.readsOutstanding >= connection.pointee.peer.maximumReads {
      return false
    }
    // An atomic operation is over with its turn, so that it takes no credit.
    if entry.pointee.kind == .read || entry.pointee.kind == .atomic { return true }
    guard entry.pointee.length <= UInt64(configuration.eagerLimit) else {
      entry.pointee.isPulled = true
      return true
    }
    if connection.pointee.creditUsed &+ entry.pointee.length <= connection.pointee.creditLimit { return true }
    // More credit may be on its way as long as something is in flight. When nothing is, the receiver keeps what it has
    // until its program asks, and payload must wait here; that the operation exists is told all the same, since it may
    // be what that program asks for.
    guard connection.pointee.sent.isEmpty, connection.pointee.state == .established else { return false }
    entry.pointee.isPulled = true
    return true
  }

  @inline(__always)
  private func started(_ slot: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = operations[slot]
    guard !entry.pointee.isStarted else { return }
    entry.pointee.isStarted = true
    if entry.pointee.flags.contains(.fence) { connection.pointee.fences -= 1 }
    if entry.pointee.awaitsResponse {
      connection.pointee.readsOutstanding += 1
    } else if !entry.pointee.isPulled && entry.pointee.kind != .atomic {
      connection.pointee.creditUsed &+= entry.pointee.length
    }
  }

  /// Granted bytes of pulled operations. Returns whether the packet is full.
  private mutating func fillBulk(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Bool {
    while connection.pointee.firstBulk != .max {
      let slot = connection.pointee.firstBulk
      let entry = operations[slot]
      guard hasFrameSlots else {
        noteShortage(connection)
        return false
      }
      let length = Int(clamping: entry.pointee.limit - entry.pointee.sent)
      guard let sent = encodePayload(slot, entry.pointee.sent, length, &builder, &batch) else { return true }
      appendPayloadFrame(slot, entry.pointee.sent, sent, &builder)
      entry.pointee.sent += UInt64(sent)
      if entry.pointee.sent < entry.pointee.limit { return true }
      removeFromBulk(slot, connection)
    }
    return false
  }

  // MARK: Encoding

  @inline(__always)
  func flags(_ entry: UnsafeMutablePointer<OutboundOperation>) -> FrameFlags {
    var flags = FrameFlags.segments(Int(entry.pointee.segmentCount))
    if entry.pointee.flags.contains(.tagged) { flags.insert(.tagged) }
    if entry.pointee.flags.contains(.remoteData) { flags.insert(.remoteData) }
    if entry.pointee.flags.waitsForTarget { flags.insert(.wantsDone) }
    if entry.pointee.flags.contains(.matchComplete) { flags.insert(.wantsMatch) }
    if entry.pointee.flags.contains(.persistent) { persist(entry, &flags) }
    if entry.pointee.flags.contains(.fetch) { flags.insert(.fetch) }
    if entry.pointee.context != 0 { flags.insert(.context) }
    return flags
  }

  @inline(never)
  private func persist(_ entry: UnsafeMutablePointer<OutboundOperation>, _ flags: inout FrameFlags) {
    flags.insert(.persistent)
    if entry.pointee.flags.contains(.fence) { flags.insert(.wantsDone) } else { flags.remove(.wantsDone) }
  }

  /// TRANSFER_NOTIFY or READ_REQUEST. Returns false when it does not fit.
  private mutating func encodeAnnouncement(_ slot: UInt32, _ builder: inout PacketBuilder) -> Bool {
    let entry = operations[slot]
    let isRead = entry.pointee.kind == .read
    var flags = flags(entry)
    if entry.pointee.kind == .write { flags.insert(.write) }
    let type: FrameType = isRead ? .readRequest : .transferNotify
    guard builder.room >= OrderedFrame.overhead(type, flags) else { return false }
    if isRead && entry.pointee.limit == 0 {
      entry.pointee.limit = nextGrant(0, 0, entry.pointee.length, self[entry.pointee.connection])
    }
    encodeFixedPart(type, flags, length: 0, entry, &builder.writer)
    builder.writer.write(slot)
    builder.writer.write(UInt32(0))
    builder.writer.write(entry.pointee.length)
    if isRead { builder.writer.write(entry.pointee.limit) }
    encodeOptionalParts(entry, &builder.writer)
    return true
  }

  @inline(__always)
  func encodeFixedPart(
    _ type: FrameType, _ flags: FrameFlags, length: Int, _ entry: UnsafeMutablePointer<OutboundOperation>,
    _ writer: inout ByteWriter
  ) {
    writer.write(type.rawValue)
    writer.write(flags.rawValue)
    writer.write(UInt16(truncatingIfNeeded: length))
    writer.write(entry.pointee.sequence)
  }

  @inline(__always)
  func encodeOptionalParts(_ entry: UnsafeMutablePointer<OutboundOperation>, _ writer: inout ByteWriter) {
    if entry.pointee.flags.contains(.tagged) { writer.write(entry.pointee.tag) }
    if entry.pointee.flags.contains(.remoteData) { writer.write(entry.pointee.data) }
    if entry.pointee.context != 0 { writer.write(entry.pointee.context) }
    for index in 0..<Int(entry.pointee.segmentCount) { segment(entry, index).encode(&writer) }
  }

  /// As many bytes of `offset ..< offset + length` as fit, in the frame that suits the operation. Returns how many, nil
  /// when it is better to begin another packet.
  @inline(__always)
  private func encodePayload(
    _ slot: UInt32, _ offset: UInt64, _ length: Int, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Int? {
    let entry = operations[slot]
    if entry.pointee.kind == .atomic { return encodeAtomic(slot, offset, length, &builder, &batch) }
    let count: Int
    if entry.pointee.isPulled {
      count = min(
        length, builder.room - chunkOverhead(entry), builder.pieceLimit(entry.pointee.memory.first.base, offset))
      guard count > 0, count >= min(length, Self.smallestPiece) else { return nil }
      encodeChunkHeader(slot, offset, count, &builder.writer)
    } else {
      guard let fitting = encodeEagerHeader(entry, offset, length, &builder) else { return nil }
      count = fitting
    }
    entry.pointee.memory.forEachPiece(offset, count, scatters) { bytes, size in
      builder.append(bytes, size, to: &batch)
    }
    builder.hasPayload = true
    return count
  }

  private func encodeChunkHeader(_ slot: UInt32, _ offset: UInt64, _ count: Int, _ writer: inout ByteWriter) {
    let entry = operations[slot]
    if entry.pointee.kind == .readResponse {
      ReadResponseFrame.encode(
        token: entry.pointee.remoteSlot, operation: entry.pointee.sequence, responder: slot, offset: offset,
        length: count, &writer)
    } else {
      DataChunkFrame.encode(
        transfer: entry.pointee.remoteSlot, operation: entry.pointee.sequence, offset: offset, length: count, &writer)
    }
  }

  /// MESSAGE, MESSAGE_FRAGMENT or WRITE_DATA up to the payload. Returns how many bytes of it to append, nil when the
  /// packet has no room for a piece worth its header.
  @inline(__always)
  private func encodeEagerHeader(
    _ entry: UnsafeMutablePointer<OutboundOperation>, _ offset: UInt64, _ length: Int, _ builder: inout PacketBuilder
  ) -> Int? {
    let flags = flags(entry)
    let isWhole = offset == 0 && UInt64(length) == entry.pointee.length
    var type = eagerType(entry, isWhole: isWhole)
    var count = length
    if !isWhole || builder.room < OrderedFrame.overhead(type, flags) + length {
      // What fits into a packet of its own is not torn apart.
      if builder.hasPayload && isWhole && length <= configuration.baseDatagram / 2 { return nil }
      type = eagerType(entry, isWhole: false)
      count = min(
        length, builder.room - OrderedFrame.overhead(type, flags),
        builder.pieceLimit(entry.pointee.memory.first.base, offset))
      guard count > 0, count >= min(length, Self.smallestPiece) else { return nil }
    }
    encodeFixedPart(type, flags, length: count, entry, &builder.writer)
    if type != .message { encodeExtent(entry, offset, &builder.writer) }
    encodeOptionalParts(entry, &builder.writer)
    return count
  }

  /// The frame that payload of an eager operation travels in.
  @inline(__always)
  private func eagerType(_ entry: UnsafeMutablePointer<OutboundOperation>, isWhole: Bool) -> FrameType {
    switch entry.pointee.kind {
    case .write: .writeData
    case .atomic: .atomic
    default: isWhole ? .message : .messageFragment
    }
  }

  /// Bytes before the payload of a pulled operation.
  @inline(__always)
  private func chunkOverhead(_ entry: UnsafeMutablePointer<OutboundOperation>) -> Int {
    entry.pointee.kind == .readResponse ? ReadResponseFrame.overhead : DataChunkFrame.overhead
  }

  func encodeExtent(
    _ entry: UnsafeMutablePointer<OutboundOperation>, _ offset: UInt64, _ writer: inout ByteWriter
  ) {
    writer.write(UInt32(truncatingIfNeeded: entry.pointee.length))
    writer.write(UInt32(truncatingIfNeeded: offset))
  }
}
