import CPlatform
import Datagram
import Transport

// From the transport to the socket.
extension Port {
  /// Sends what is queued if the moment is right.
  ///
  /// At once when nothing else is under way, so that a single message leaves within the call that posts it; at once when
  /// a datagram's worth is queued, or as much as is under way, so that this side and the peer work at the same time; or
  /// when the last flush was a while ago, so that nothing waits for a program that computes; otherwise with the next
  /// poll, many messages in one datagram.
  @inline(__always)
  func flushIfDue() {
    if outstanding == 1 || queuedBytes >= Self.flushBytes || isHalfQueued || isMomentOver
      || binding.engine._withUnsafeGuaranteedRef({ $0.isSomebodyAsleep })
    {
      flush(Clock.now())
    }
  }

  /// Whether half of what was posted waits here, and it is enough to be worth a call. What ends when it is sent does not
  /// count: the program can go on without the peer.
  @inline(__always)
  private var isHalfQueued: Bool {
    queuedWaiting >= Self.flushOperations && queuedWaiting &* 2 >= outstanding
  }

  /// Whether the last flush was a while ago. The counter is slow to read: a long row of operations looks at every
  /// eighth.
  @inline(__always)
  private var isMomentOver: Bool {
    (queuedOperations <= 4 || queuedOperations & 7 == 0) && Ticks.now() &- lastFlush > Ticks.moment
  }

  /// Sends all that the transport has ready, as far as the socket takes it.
  func flush(_ now: Instant) {
    queuedBytes = 0
    queuedOperations = 0
    queuedWaiting = 0
    lastFlush = Ticks.now()
    guard batch.isEmpty || sendBatch(now) else { return }
    while transport.wantsTransmit && transport.pollTransmit(into: &batch, now: now) {
      guard sendBatch(now) else { break }
    }
    if batch.isEmpty && !countsOperations { takeCompletions() }
    guard binding.engine._withUnsafeGuaranteedRef({ $0.isSomebodyAsleep }) else { return }
    let deadline = transport.nextTimeout()
    binding.engine._withUnsafeGuaranteedRef { $0.deadlineMoved(deadline) }
  }

  /// Reports messages that were over once they were sent.
  @inline(__always)
  private func takeCompletions() {
    while let cookie = transport.takeCompletion() { operationSucceeded(OperationContext(cookie)) }
    let silent = transport.takeSilentCompletions()
    if silent > 0 { silentlyCompleted(silent) }
    binding.engine._withUnsafeGuaranteedRef { $0.startDeferredWork() }
  }

  /// Sends the batch, or the rest of it; false when the socket takes no more for now. The batch stays until it is out,
  /// since the transport has counted it as sent.
  func sendBatch(_ now: Instant) -> Bool {
    let count = batch.count
    for index in sentTransmits..<count {
      let transmit = batch.transmits + index
      let slices = UnsafeRawPointer(batch.slices + transmit.pointee.firstSlice).assumingMemoryBound(to: iovec.self)
      (outgoing + index).initialize(
        to: OutgoingDatagrams(
          destination: SocketAddress(words: transmit.pointee.destination.words), slices: slices,
          sliceCount: transmit.pointee.sliceCount, segmentSize: transmit.pointee.segmentSize,
          totalLength: transmit.pointee.totalLength))
    }
    if sentSegments > 0 && sentTransmits < count { outgoing[sentTransmits].firstSegment = sentSegments }
    while sentTransmits < count {
      let outcome = socket.send(outgoing + sentTransmits, count: count - sentTransmits)
      sentTransmits += outcome.sent
      sentSegments = outcome.segments
      if outcome.stop == .finished { break }
      guard resolve(outcome.stop, now) else { return false }
    }
    dropBatch()
    if socket.hotDescriptor != hotDescriptor { noteHotPeer() }
    if socket.errorsPending { takeErrors(now) }
    return true
  }

  /// Tells sleepers of the socket's second descriptor; does without it when they cannot have it.
  @inline(never)
  private func noteHotPeer() {
    let isHeard = binding.engine._withUnsafeGuaranteedRef { $0.watch(second: socket.hotDescriptor) }
    if !isHeard { socket.giveUpHotPeers() }
    hotDescriptor = socket.hotDescriptor
  }

  /// Gives the batch up; what was not sent is lost, and the transport repairs it like any loss.
  func dropBatch() {
    batch.removeAll()
    sentTransmits = 0
    sentSegments = 0
    blockedSince = 0
  }

  /// What to do about the first transmit that is not out: false to wait with it, true to go on.
  @inline(never)
  private func resolve(_ stop: SendStop, _ now: Instant) -> Bool {
    switch stop {
    case .wouldBlock, .noBuffers:
      if blockedSince == 0 { blockedSince = now }
      // A link that takes nothing for so long has lost what was queued, as a full router would.
      guard now &- blockedSince > Self.patience else { return false }
      sentTransmits = batch.count
      return true
    case .tooBig:
      transport.datagramTooBig(batch.transmits[sentTransmits].destination, maximumDatagram: 0, now: now)
    case .finished, .unreachable, .refused, .other: break
    }
    sentTransmits += 1
    sentSegments = 0
    if sentTransmits < batch.count { outgoing[sentTransmits].firstSegment = 0 }
    blockedSince = 0
    return true
  }

  /// Tells the transport what routers and hosts had to say about earlier datagrams.
  @inline(never)
  func takeErrors(_ now: Instant) {
    var patience = 64
    while patience > 0, let error = socket.nextError() {
      patience -= 1
      let peer = PeerAddress(words: error.destination.words)
      switch error.kind {
      case .portUnreachable: transport.peerUnreachable(peer, now: now)
      case .messageTooBig(let mtu):
        let headers = error.destination.family == .ipv6 ? 48 : 28
        transport.datagramTooBig(peer, maximumDatagram: max(mtu - headers, 0), now: now)
      // A route may come back, and a peer that does not is given up in its time.
      case .hostUnreachable, .other: break
      }
    }
  }

  /// Looks into the silence of peers where the socket does not report what routers and hosts say.
  @inline(never)
  func askSilentPeers(_ now: Instant) {
    while let peer = transport.takeSilentPeer() {
      if socket.isRefused(SocketAddress(words: peer.words)) { transport.peerUnreachable(peer, now: now) }
    }
  }

  /// Queued bytes that fill a call of the socket, 64 KiB with all headers.
  @inline(__always) private static var flushBytes: Int { 60 * 1024 }
  /// Operations worth a call of the socket: found by trying 16, 24, 32 and 48 with 64 B and 256 B messages.
  @inline(__always) private static var flushOperations: Int { 32 }
  /// Longest time in nanoseconds that a datagram waits for the socket.
  @inline(__always) private static var patience: UInt64 { 100_000_000 }
}
