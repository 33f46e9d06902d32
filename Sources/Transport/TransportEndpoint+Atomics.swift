import Containers
import Packet

// Atomic operations: those of peers are offered whole, in their turn, and carried out by the layer above.
//
// Where one does not fit a datagram its fragments are gathered here first. Its turn is not over before that: what comes
// behind it waits as for a frame that is missing.
extension TransportEndpoint {
  /// ATOMIC with as many bytes of the operands from `offset` on as fit. Returns how many, nil when it is better to begin
  /// another packet.
  @inline(never)
  func encodeAtomic(
    _ slot: UInt32, _ offset: UInt64, _ length: Int, _ builder: inout PacketBuilder, _ batch: inout TransmitBatch
  ) -> Int? {
    let entry = operations[slot]
    let flags = flags(entry)
    let room = builder.room - OrderedFrame.overhead(.atomic, flags)
    let count = min(length, room)
    // What fits into a packet of its own is not torn apart.
    let mayTear = !builder.hasPayload || length > configuration.baseDatagram / 2
    guard count >= min(length, mayTear ? Self.smallestPiece : length) else { return nil }
    encodeFixedPart(.atomic, flags, length: count, entry, &builder.writer)
    encodeExtent(entry, offset, &builder.writer)
    builder.writer.write(slot)
    builder.writer.write(entry.pointee.atomic.operation)
    builder.writer.write(entry.pointee.atomic.datatype)
    builder.writer.write(UInt16(0))
    encodeOptionalParts(entry, &builder.writer)
    builder.append(entry.pointee.injected.unsafelyUnwrapped + Int(offset), count, to: &batch)
    builder.hasPayload = true
    return count
  }

  /// Whether there is a slot to answer the operation from, and one to gather it in unless it is whole or has one.
  @inline(never)
  func hasRoomForAtomic(
    _ connection: UnsafeMutablePointer<Connection>, _ frame: UnsafePointer<OrderedFrame>
  ) -> Bool {
    let isWhole = UInt64(frame.pointee.payloadLength) == frame.pointee.total
    return (isWhole || connection.pointee.gathering != .max || inbound.available > 0)
      && (!frame.pointee.flags.contains(.fetch) || hasRoomToAnswer(connection))
  }

  /// Offers the operation that starts to the layer above; `length` bytes of memory.
  @inline(never)
  mutating func describeAtomic(_ length: UInt64, _ connection: UnsafeMutablePointer<Connection>) {
    var flags = OperationFlags(UnsafePointer(orderedFrame))
    if orderedFrame.pointee.flags.contains(.fetch) { flags.insert(.fetch) }
    describe(
      .atomic, .ok, flags, connection.pointee.index, tag: 0, data: orderedFrame.pointee.data, length: length, Cookies())
    event.pointee.atomic = orderedFrame.pointee.atomic
    event.pointee.operandLength = UInt32(truncatingIfNeeded: orderedFrame.pointee.total)
    event.pointee.payload = orderedFrame.pointee.payload
    event.pointee.segmentCount = UInt8(orderedFrame.pointee.segmentCount)
    event.pointee.encodedSegments = orderedFrame.pointee.segments
    cursor.eventConnection = connection
    cursor.transfer = .max
    cursor.refusal = .ok
    cursor.answer = .atomic
  }

  /// Takes in the fragment at hand. When it was the last that was missing it becomes the whole operation, and this
  /// returns true.
  @inline(never)
  mutating func gather(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    let frame = orderedFrame
    if connection.pointee.gathering != .max && !isGathered(frame, connection) { endGathering(connection) }
    if connection.pointee.gathering == .max { startGathering(frame, connection) }
    let entry = inbound[connection.pointee.gathering]
    let staging = entry.pointee.staging!
    let end = frame.pointee.offset + UInt64(frame.pointee.payloadLength)
    // hasRoomToStart has seen to it that there is a node.
    guard entry.pointee.received.insert(frame.pointee.offset, end, in: &ranges) else { return false }
    (staging + Int(frame.pointee.offset)).copyMemory(
      from: frame.pointee.payload, byteCount: frame.pointee.payloadLength)
    guard entry.pointee.received.isComplete(entry.pointee.length) else { return false }
    // Each fragment has all that is known of the operation beside its payload.
    frame.pointee.payload = UnsafeRawPointer(staging)
    frame.pointee.payloadLength = Int(entry.pointee.length)
    frame.pointee.offset = 0
    return true
  }

  private func isGathered(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>
  ) -> Bool {
    let entry = inbound[connection.pointee.gathering]
    return entry.pointee.sequence == frame.pointee.operation && entry.pointee.length == frame.pointee.total
  }

  private mutating func startGathering(
    _ frame: UnsafePointer<OrderedFrame>, _ connection: UnsafeMutablePointer<Connection>
  ) {
    // hasRoomToStart has seen to it that there is one.
    let slot = inbound.allocate()!
    inbound[slot].initialize(
      to: InboundTransfer(
        flags: [], isWrite: false, isPulled: false, wantsDone: true, connection: connection.pointee.index,
        sequence: frame.pointee.operation, token: frame.pointee.token, length: frame.pointee.total,
        wanted: frame.pointee.total, tag: 0, data: 0))
    inbound[slot].pointee.staging = buffers.allocate(max(Int(frame.pointee.total), 1))
    connection.pointee.gathering = slot
    touch(connection)
  }

  /// The operation was carried out, or its session is over.
  mutating func endGathering(_ connection: UnsafeMutablePointer<Connection>) {
    guard connection.pointee.gathering != .max else { return }
    free(transfer: connection.pointee.gathering)
    connection.pointee.gathering = .max
  }
}
