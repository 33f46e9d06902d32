import Containers
import Packet

// Runs: small messages in a row that this side keeps a copy of, so that they are over once they were sent.
//
// A run is the encoded frames of one packet, and one `SentFrame` however many messages it holds: it is acknowledged, or
// sent again, as a whole. Each run is charged to the operation that was posted last when it was sent, which ends when its
// peer has acknowledged that operation and the runs before it. So whoever waits for all of his operations, the last one
// among them, knows that everything has arrived.
extension TransportEndpoint {
  /// Longest payload of a message in a run: its frame fits every datagram alone.
  package var longestInRun: Int {
    configuration.baseDatagram - DataHeader.size - OrderedFrame.overhead(.message, Self.allParts)
  }

  private static var allParts: FrameFlags { [.tagged, .remoteData, .context] }

  /// Begins the packet's operations with as many messages as fit and need not be waited for, and ends them.
  @inline(never)
  mutating func fillRun(
    _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder
  ) {
    // What is over before it is acknowledged would let a fence pass.
    guard connection.pointee.state == .established, connection.pointee.fences == 0, hasFrameSlots else { return }
    let holder = connection.pointee.operations.last
    let longest = longestInRun
    let start = builder.writer.position
    var slot = connection.pointee.nextStart
    while slot != holder {
      let entry = operations[slot]
      let next = entry.pointee.next
      guard isForRun(entry, longest), mayStart(slot, connection), !entry.pointee.isPulled,
        encodeWhole(entry, &builder)
      else { break }
      connection.pointee.creditUsed &+= entry.pointee.length
      complete(slot, .ok)
      slot = next
    }
    connection.pointee.nextStart = slot
    let count = builder.writer.position - start
    if count > 0 { keepRun(start, count, holder, &builder) }
  }

  @inline(__always)
  private func isForRun(_ entry: UnsafeMutablePointer<OutboundOperation>, _ longest: Int) -> Bool {
    entry.pointee.flags.contains(.buffered) && entry.pointee.kind == .message && !entry.pointee.isStarted
      && entry.pointee.frames == 0 && entry.pointee.length <= UInt64(longest)
  }

  /// MESSAGE with its payload beside it. Returns false when it does not fit.
  @inline(__always)
  private func encodeWhole(_ entry: UnsafeMutablePointer<OutboundOperation>, _ builder: inout PacketBuilder) -> Bool {
    let flags = flags(entry)
    let length = Int(entry.pointee.length)
    guard builder.room >= OrderedFrame.overhead(.message, flags) + length else { return false }
    encodeFixedPart(.message, flags, length: length, entry, &builder.writer)
    encodeOptionalParts(entry, &builder.writer)
    entry.pointee.memory.forEachPiece(0, length, scatters) { bytes, count in builder.writer.write(bytes, count: count) }
    return true
  }

  private mutating func keepRun(
    _ start: UnsafeMutableRawPointer, _ count: Int, _ holder: UInt32, _ builder: inout PacketBuilder
  ) {
    var frame = makeRun(start, count)
    frame.slot = holder
    frame.sequence = operations[holder].pointee.sequence
    operations[holder].pointee.frames += 1
    builder.hasPayload = true
    // hasFrameSlots has seen to it that there is one.
    _ = append(frame, &builder)
  }

  private mutating func makeRun(_ bytes: UnsafeRawPointer, _ count: Int) -> SentFrame {
    var frame = SentFrame(.run)
    let copy = buffers.allocate(count)
    copy.copyMemory(from: bytes, byteCount: count)
    frame.run = copy
    frame.length = UInt32(count)
    return frame
  }

  /// The peer has it, or nobody will want it any more.
  mutating func freeRun(_ frame: SentFrame) { buffers.deallocate(frame.run, count: Int(frame.length)) }

  mutating func runAcknowledged(_ frame: SentFrame, _ connection: UnsafeMutablePointer<Connection>) {
    freeRun(frame)
    guard let holder = liveOperation(frame, connection) else { return }
    holder.pointee.frames -= 1
    completeIfAcknowledged(frame.slot)
  }

  /// Sends a run again, or as much of it as fits where it is the first of its packet. Returns false when some of it is
  /// still due.
  mutating func resendRun(
    _ index: UInt32, _ connection: UnsafeMutablePointer<Connection>, _ builder: inout PacketBuilder
  ) -> Bool {
    let frame = sentFrames[index].pointee
    if builder.room >= Int(frame.length) {
      builder.writer.write(frame.run, count: Int(frame.length))
      builder.hasPayload = true
      return true
    }
    guard !builder.isEliciting else { return false }
    let count = wholeFrames(of: frame, within: builder.room)
    guard count > 0, sentFrames.available > 0 else {
      // A long acknowledgement may leave no room: without it there is.
      connection.pointee.acknowledgeNow = true
      return false
    }
    var head = makeRun(frame.run, count)
    head.slot = frame.slot
    head.sequence = frame.sequence
    var rest = makeRun(frame.run + count, Int(frame.length) - count)
    rest.slot = frame.slot
    rest.sequence = frame.sequence
    freeRun(frame)
    sentFrames[index].initialize(to: rest)
    liveOperation(frame, connection)?.pointee.frames += 1
    builder.writer.write(head.run, count: count)
    builder.hasPayload = true
    _ = append(head, &builder)
    return false
  }

  /// Bytes of the run's first frames that fit into `room`.
  private func wholeFrames(of frame: SentFrame, within room: Int) -> Int {
    var reader = ByteReader(UnsafeRawBufferPointer(start: frame.run, count: Int(frame.length)))
    var count = 0
    while let next = OrderedFrame(.message, &reader), count + next.encodedSize <= room { count += next.encodedSize }
    return count
  }
}
