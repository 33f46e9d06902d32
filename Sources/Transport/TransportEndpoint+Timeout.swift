import Containers
import Packet

// Time: probes, liveness, and the end of a connection.
extension TransportEndpoint {
  /// How often a peer that owes nothing on the wire, but something to the program, is asked whether it lives.
  private static var keepAliveInterval: UInt64 { milliseconds(1_000) }
  /// A peer is not given up before as many probes went unanswered, so that a program that did not poll for long does
  /// not blame its peers.
  private static var probesBeforeGivingUp: UInt32 { 6 }
  /// Larger packets are not sent again before it is known that they were lost.
  static var cheapProbe: Int { 9_000 }

  /// When `handleTimeout` is due; `never` when nothing is timed. Costs what happened since the last call, however many
  /// connections there are.
  package mutating func nextTimeout() -> Instant {
    settleTimers()
    while timers.firstDeadline != never {
      let index = timers.first
      let due = deadline(self[index])
      if due <= timers.firstDeadline { return due }
      postpone(index, to: due)
    }
    return never
  }

  /// Tells `timers` of connections that may have something to do earlier than it knows. What is to be done later than
  /// it knows is found out when the time has come: that happens with every packet, and usually to be earlier again soon.
  @inline(__always)
  private mutating func settleTimers() {
    while let connection = touched.popFirst(in: connections) {
      statistics.timersExamined += 1
      let due = deadline(connection)
      if due < timers.deadline(of: connection.pointee.index) { timers.set(connection.pointee.index, due) }
    }
  }

  private mutating func postpone(_ index: ConnectionIndex, to due: Instant) {
    statistics.timersExamined += 1
    if due == never { timers.remove(index) } else { timers.set(index, due) }
  }

  private func deadline(_ connection: UnsafeMutablePointer<Connection>) -> Instant {
    var earliest = min(connection.pointee.acknowledgeBy, connection.pointee.initialDeadline)
    earliest = min(earliest, probeDeadline(connection))
    return min(earliest, connection.pointee.lossTime)
  }

  /// When the next probe is due: for packets in flight, or to see whether a silent peer lives.
  private func probeDeadline(_ connection: UnsafeMutablePointer<Connection>) -> Instant {
    guard connection.pointee.state == .established || connection.pointee.state == .confirming else { return never }
    if !connection.pointee.sent.isEmpty {
      return connection.pointee.lossTime != never
        ? never : connection.pointee.lastElicitingSent &+ connection.pointee.probeTimeout
    }
    let lastPacket = max(connection.pointee.lastReceived, connection.pointee.lastElicitingSent)
    if connection.pointee.hasWorkUnderWay { return lastPacket &+ Self.keepAliveInterval }
    guard connection.pointee.isKeptAlive, connection.pointee.state == .established else { return never }
    return lastPacket &+ idleInterval(connection)
  }

  /// How long a session that is kept alive may be idle: a tenth of what the peer's silence may be, within bounds.
  private func idleInterval(_ connection: UnsafeMutablePointer<Connection>) -> UInt64 {
    max(Self.keepAliveInterval, min(connection.pointee.patience / 10, 10 * Self.keepAliveInterval))
  }

  /// Asks the peer now and then whether it lives, also while nothing is under way, until the session ends. When the peer
  /// is gone the session fails.
  package mutating func keepAlive(_ connection: ConnectionIndex) {
    self[connection].pointee.isKeptAlive = true
    touch(self[connection])
  }

  /// Does what time has made due; O(1) when that is nothing. Follow up with `pollEvent` and `pollTransmit`.
  package mutating func handleTimeout(now: Instant) {
    settleTimers()
    while timers.firstDeadline <= now {
      let index = timers.first
      let connection = self[index]
      let due = deadline(connection)
      guard due <= now else {
        postpone(index, to: due)
        continue
      }
      // Once in a call: what stays due, since it takes a transmit, is looked at again in the next.
      timers.remove(index)
      handleTimeout(connection, now: now)
      touch(connection)
    }
  }

  private mutating func handleTimeout(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    if connection.pointee.acknowledgeBy <= now { acknowledgeAtOnce(connection) }
    if connection.pointee.lossTime <= now { detectLosses(connection, now: now) }
    if connection.pointee.initialDeadline <= now {
      if hasLostPatience(connection, now: now) && connection.pointee.initialCount > Self.probesBeforeGivingUp {
        return fail(connection, .timedOut, now: now)
      }
      silentConnections.append(connection.pointee.index)
      sendInitial(connection, now: now)
    }
    if probeDeadline(connection) <= now {
      if hasLostPatience(connection, now: now) && connection.pointee.probeCount >= Self.probesBeforeGivingUp {
        return fail(connection, .timedOut, now: now)
      }
      probe(connection, now: now)
    }
  }

  /// A peer that was silent when `handleTimeout` expected it to answer: the network may know that nobody is there
  /// (`peerUnreachable`). Each silence is told once.
  package mutating func takeSilentPeer() -> PeerAddress? { silentConnections.popFirst().map { address(of: $0) } }

  private func hasLostPatience(_ connection: UnsafeMutablePointer<Connection>, now: Instant) -> Bool {
    connection.pointee.awaitingSince != never
      && now &- connection.pointee.awaitingSince >= connection.pointee.patience
  }

  /// Nothing came back for the probe timeout: sends two packets that ask for an answer (RFC 9002 section 6.2.4), since
  /// the loss of one would double the wait. The first carries the oldest frames in flight, unless there are so many
  /// bytes of them that it is better to ask first; its answer tells what was lost, and congestion is judged by that alone:
  /// the peer may just have been busy.
  private mutating func probe(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    statistics.probeTimeouts += 1
    connection.pointee.probeCount += 1
    connection.pointee.probesDue = 2
    silentConnections.append(connection.pointee.index)
    // Lest the deadline stay due until the probe leaves.
    connection.pointee.lastElicitingSent = now
    let oldest = connection.pointee.sent.first
    if oldest != .max {
      if sentPackets[oldest].pointee.isProbe {
        giveUpProbe(oldest, connection)
      } else {
        requeueOldest(connection)
        // With every slot in flight the probe would find none.
        if sentPackets.available == 0 { forget(oldest, connection) }
      }
    }
    markReady(connection)
  }

  /// Makes the frames of the first packet that has any due again.
  private mutating func requeueOldest(_ connection: UnsafeMutablePointer<Connection>) {
    var packet = connection.pointee.sent.first
    while packet != .max && sentPackets[packet].pointee.frames.isEmpty { packet = sentPackets[packet].pointee.next }
    guard packet != .max, Int(sentPackets[packet].pointee.size) <= Self.cheapProbe else { return }
    requeueFrames(of: packet, connection)
  }

  /// Gives up a packet, the first in flight, whose frames are due again.
  private mutating func forget(_ packet: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = sentPackets[packet]
    requeueFrames(of: packet, connection)
    connection.pointee.sent.remove(packet, after: .max, in: sentPackets)
    connection.pointee.bytesInFlight -= Int(entry.pointee.size)
    connection.pointee.lost.append(entry.pointee.number, time: entry.pointee.time)
    sentPackets.free(packet)
  }

  private mutating func giveUpProbe(_ packet: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.sent.remove(packet, after: .max, in: sentPackets)
    connection.pointee.mtu.onProbeLost(Int(sentPackets[packet].pointee.size))
    sentPackets.free(packet)
  }

  // MARK: The end of a session

  /// Ends the session: every operation under way ends with `status`. The connection is idle afterwards, and the next
  /// operation posted on it makes a new handshake.
  mutating func fail(_ connection: UnsafeMutablePointer<Connection>, _ status: TransportStatus, now: Instant) {
    statistics.failures += 1
    // What is left of a packet under way belongs to the session that ends.
    if cursor.isActive && cursor.connection == connection { cursor.isActive = false }
    // So does the answer to its last event.
    if cursor.answer != .none && cursor.eventConnection == connection { settle() }
    freePackets(connection)
    failTransfers(connection, status)
    while connection.pointee.operations.first != .max { complete(connection.pointee.operations.first, status) }
    while connection.pointee.responses.first != .max { complete(connection.pointee.responses.first, status) }
    endGathering(connection)
    freeAllStaged(connection)
    if connection.pointee.unacknowledged > 0 { acknowledgementsOwed -= 1 }
    let notBefore = max(connection.pointee.cookieNotBefore, now)
    connection.pointee.reset(baseDatagram: configuration.baseDatagram)
    connection.pointee.cookieNotBefore = notBefore
    hasNews = true
    failedConnections.append(Failure(connection: connection.pointee.index, status: status))
  }

  private mutating func freePackets(_ connection: UnsafeMutablePointer<Connection>) {
    while connection.pointee.sent.first != .max {
      let packet = connection.pointee.sent.first
      connection.pointee.sent.remove(packet, after: .max, in: sentPackets)
      let entry = sentPackets[packet]
      free(&entry.pointee.frames)
      sentPackets.free(packet)
    }
    free(&connection.pointee.retransmit)
    free(&connection.pointee.control)
  }

  private mutating func free(_ queue: inout FrameQueue) {
    var frame = queue.popFirst(in: sentFrames)
    while frame != .max {
      if sentFrames[frame].pointee.kind == .run { freeRun(sentFrames[frame].pointee) }
      sentFrames.free(frame)
      frame = queue.popFirst(in: sentFrames)
    }
  }

  /// Accepted transfers end with the session; so do held messages that are not complete. Complete ones stay, for
  /// whoever will want them.
  private mutating func failTransfers(_ connection: UnsafeMutablePointer<Connection>, _ status: TransportStatus) {
    var slot = connection.pointee.inbound.first
    while slot != .max {
      let entry = inbound[slot]
      let next = entry.pointee.next
      if !entry.pointee.isDetached {
        entry.pointee.isDetached = true
        let isComplete =
          entry.pointee.state == .held && entry.pointee.staging != nil
          && entry.pointee.received.isComplete(entry.pointee.length)
        if !isComplete { failTransfer(slot, status) }
      }
      slot = next
    }
    slot = finishedTransfers.first
    while slot != .max {
      if inbound[slot].pointee.connection == connection.pointee.index { inbound[slot].pointee.isDetached = true }
      slot = inbound[slot].pointee.next
    }
  }

  private mutating func failTransfer(_ slot: UInt32, _ status: TransportStatus) {
    let entry = inbound[slot]
    guard entry.pointee.state == .held else { return finish(slot, status) }
    // Told as lost, not as received.
    self[entry.pointee.connection].pointee.inbound.remove(slot, in: inbound)
    entry.pointee.status = status
    hasNews = true
    finishedTransfers.append(slot, in: inbound)
  }
}
