import Containers
import Packet

// From what is due to datagrams. The frames of operations are written in TransportEndpoint+Emit.swift.
extension TransportEndpoint {
  /// Fills the batch with what may be sent now. Returns whether anything was added; call again until it is not.
  package mutating func pollTransmit(into batch: inout TransmitBatch, now: Instant) -> Bool {
    let before = batch.count
    if isShortOfSlots && hasSlots { endShortage() }
    while batch.hasRoom {
      if let answer = answers.popFirst() {
        emit(answer, &batch)
        continue
      }
      guard let connection = popReady() else { break }
      // Round robin: who had something goes to the end of the queue.
      if transmit(connection, &batch, now: now) { markReady(connection) }
    }
    return batch.count > before
  }

  /// Builds one transmit of a connection. Returns whether there was something to send.
  private mutating func transmit(
    _ connection: UnsafeMutablePointer<Connection>, _ batch: inout TransmitBatch, now: Instant
  ) -> Bool {
    if connection.pointee.state == .idle && !connection.pointee.operations.isEmpty {
      startHandshake(connection, now: now)
    }
    if connection.pointee.needsInitial {
      emitInitial(connection, &batch)
      return true
    }
    guard connection.pointee.state == .established || connection.pointee.state == .confirming else { return false }
    if connection.pointee.state == .established && connection.pointee.hasWorkUnderWay,
      let size = connection.pointee.mtu.nextProbe(now: now), sentPackets.available > 0
    {
      emitPathProbe(connection, size, &batch, now: now)
      return true
    }
    // A repeated probe is small: if it alone is acknowledged, large datagrams vanish on the path; a peer that was merely
    // busy acknowledges all. So is one where datagrams are so large that asking costs less than sending again.
    let isSmall =
      connection.pointee.state != .established
      || connection.pointee.probesDue > 0
        && (connection.pointee.probeCount > 1 || connection.pointee.mtu.current > Self.cheapProbe)
    let datagram = isSmall ? configuration.baseDatagram : connection.pointee.mtu.current
    let maximumSegments = max(1, min(configuration.maximumSegments, 65_507 / datagram))
    var transmit = Transmit(
      destination: connection.pointee.address, firstSlice: batch.sliceCount, sliceCount: 0, segmentSize: 0,
      totalLength: 0, connection: connection.pointee.index)
    var segments = 0
    while segments < maximumSegments {
      let limit = segments == 0 ? datagram : transmit.segmentSize
      let size = buildPacket(
        connection, &batch, firstSlice: transmit.firstSlice, limit: limit,
        padsWhenFull: maximumSegments > 1, now: now)
      if size == 0 { break }
      segments += 1
      transmit.totalLength += size
      if segments == 1 { transmit.segmentSize = size }
      if size < transmit.segmentSize || size < datagram { break }
      if batch.sliceCount - transmit.firstSlice >= TransmitBatch.maximumSlicesPerTransmit - 8 { break }
    }
    guard segments > 0 else { return false }
    transmit.sliceCount = batch.sliceCount - transmit.firstSlice
    batch.append(transmit)
    return true
  }

  /// Builds one packet into the batch. Returns its size, 0 when nothing is to be sent.
  private mutating func buildPacket(
    _ connection: UnsafeMutablePointer<Connection>, _ batch: inout TransmitBatch, firstSlice: Int, limit: Int,
    padsWhenFull: Bool, now: Instant
  ) -> Int {
    var mayElicit = hasWindow(connection) || connection.pointee.probesDue > 0
    if mayElicit && sentPackets.available == 0 {
      mayElicit = false
      if hasFrames(connection) { noteShortage(connection) }
    }
    guard connection.pointee.acknowledgeNow || (mayElicit && hasFrames(connection)) else { return 0 }
    var builder = PacketBuilder(
      batch, firstSlice: firstSlice, limit: limit, pageSize: configuration.pageSize)
    encodeHeader(connection, &builder.writer)
    let carriesAck = connection.pointee.unacknowledged > 0 && connection.pointee.received.count > 0
    if carriesAck {
      let delay = min((now &- connection.pointee.largestReceivedTime) / 1_000, UInt64(UInt16.max))
      RangeAckFrame.encode(&connection.pointee.received, delay: UInt16(delay), &builder.writer)
      builder.acknowledges = connection.pointee.received.largest
    }
    var isFull = false
    if mayElicit {
      isFull = fill(connection, &builder, &batch)
      if sentFrames.available == 0 { noteShortage(connection) }
    }
    guard builder.isEliciting || (carriesAck && connection.pointee.acknowledgeNow) else {
      builder.cancel(&batch)
      connection.pointee.acknowledgeNow = connection.pointee.acknowledgeNow && carriesAck
      return 0
    }
    // Segments of one call have one size: a packet that is nearly full is filled up, so that others may follow.
    if isFull && padsWhenFull && builder.room <= limit / 4 { builder.pad(to: limit) }
    if carriesAck { acknowledgementSent(connection) }
    record(connection, &builder, isMoreDue: isFull, now: now)
    builder.finish(&batch)
    statistics.packetsSent += 1
    statistics.bytesSent += UInt64(builder.size)
    return builder.size
  }

  /// Whether the congestion window and the receiver's socket buffer permit more bytes in flight.
  @inline(__always)
  private func hasWindow(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    connection.pointee.bytesInFlight
      < min(connection.pointee.congestion.window, max(Int(connection.pointee.peer.receiveBuffer) / 2, 8 * 1024))
  }

  /// Whether a frame is due that wants to be acknowledged.
  @inline(__always)
  func hasFrames(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    connection.pointee.nextStart != .max || connection.pointee.firstBulk != .max
      || !connection.pointee.control.isEmpty || !connection.pointee.retransmit.isEmpty
      || connection.pointee.needsAccept || connection.pointee.needsCredit || connection.pointee.needsClose
      || connection.pointee.probesDue > 0
  }

  @inline(__always)
  private func encodeHeader(_ connection: UnsafeMutablePointer<Connection>, _ writer: inout ByteWriter) {
    let number = UInt32(truncatingIfNeeded: connection.pointee.nextPacketNumber)
    if connection.pointee.state == .established {
      DataHeader(
        flags: [], connection: connection.pointee.peerIndex, session: connection.pointee.peerSession,
        packetNumber: number
      ).encode(&writer)
    } else {
      ConfirmHeader(
        flags: [], connection: connection.pointee.index, session: connection.pointee.session, packetNumber: number,
        ended: UInt32(truncatingIfNeeded: connection.pointee.endedSession), cookie: connection.pointee.cookie,
        parameters: localParameters, authorization: connection.pointee.authorization
      ).encode(&writer)
    }
  }

  /// Counts the packet out: number, flight, timers.
  @inline(__always)
  private mutating func record(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder, isMoreDue: Bool,
    now: Instant
  ) {
    let number = connection.pointee.nextPacketNumber
    connection.pointee.nextPacketNumber &+= 1
    guard builder.isEliciting else { return }
    if connection.pointee.probesDue > 0 { connection.pointee.probesDue -= 1 }
    // mayElicit has seen to it that there is one.
    let packet = sentPackets.allocate()!
    sentPackets[packet].initialize(to: SentPacket(size: UInt32(builder.size), number: number, time: now))
    sentPackets[packet].pointee.frames = builder.frames
    sentPackets[packet].pointee.acknowledges = builder.acknowledges
    connection.pointee.sent.append(packet, in: sentPackets)
    connection.pointee.bytesInFlight += builder.size
    sentEliciting(connection, now: now)
    if !isMoreDue || !hasWindow(connection) {
      builder.flags.storeBytes(of: PacketFlags.acknowledgeSoon.rawValue, as: UInt8.self)
    }
  }

  @inline(__always)
  private mutating func sentEliciting(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    connection.pointee.lastElicitingSent = now
    if connection.pointee.awaitingSince == never { connection.pointee.awaitingSince = now }
    touch(connection)
  }

  // MARK: Packets of one kind

  private mutating func emit(_ answer: Answer, _ batch: inout TransmitBatch) {
    emitAlone(to: answer.address, connection: .max, &batch) { writer in
      if answer.kind == .challenge {
        ChallengePacket(connection: answer.connection, session: answer.session, cookie: answer.cookie).encode(&writer)
      } else {
        ResetPacket(
          connection: answer.connection, session: answer.session, mayRetry: answer.mayRetry,
          isUnauthorized: answer.isUnauthorized
        ).encode(answer.kind, &writer)
      }
    }
  }

  private mutating func emitInitial(_ connection: UnsafeMutablePointer<Connection>, _ batch: inout TransmitBatch) {
    connection.pointee.needsInitial = false
    let packet = InitialPacket(connection: connection.pointee.index, session: connection.pointee.session)
    emitAlone(to: connection.pointee.address, connection: connection.pointee.index, &batch) { packet.encode(&$0) }
  }

  /// A PROBE padded to `size`, to see whether the path carries it.
  private mutating func emitPathProbe(
    _ connection: UnsafeMutablePointer<Connection>, _ size: Int, _ batch: inout TransmitBatch, now: Instant
  ) {
    connection.pointee.mtu.onProbeSent(size)
    let packet = sentPackets.allocate()!
    sentPackets[packet].initialize(
      to: SentPacket(size: UInt32(size), number: connection.pointee.nextPacketNumber, time: now))
    sentPackets[packet].pointee.isProbe = true
    connection.pointee.sent.append(packet, in: sentPackets)
    let header = DataHeader(
      flags: .acknowledgeSoon, connection: connection.pointee.peerIndex, session: connection.pointee.peerSession,
      packetNumber: UInt32(truncatingIfNeeded: connection.pointee.nextPacketNumber))
    connection.pointee.nextPacketNumber &+= 1
    sentEliciting(connection, now: now)
    emitAlone(to: connection.pointee.address, connection: connection.pointee.index, &batch) { writer in
      header.encode(&writer)
      ShortFrame.encode(.probe, &writer)
      writer.pad(size - DataHeader.size - ShortFrame.size)
    }
  }

  /// A datagram of its own.
  private mutating func emitAlone(
    to address: PeerAddress, connection: ConnectionIndex, _ batch: inout TransmitBatch,
    _ encode: (inout ByteWriter) -> Void
  ) {
    let start = batch.arena + batch.arenaUsed
    var writer = ByteWriter(start: start, end: start + 65_536)
    encode(&writer)
    let count = writer.position - start
    let firstSlice = batch.sliceCount
    batch.gather(start, count, from: firstSlice)
    batch.arenaUsed += count
    batch.append(
      Transmit(
        destination: address, firstSlice: firstSlice, sliceCount: 1, segmentSize: count, totalLength: count,
        connection: connection))
    statistics.packetsSent += 1
    statistics.bytesSent += UInt64(count)
  }
}
