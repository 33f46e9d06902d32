import Containers
import Packet

// Acknowledgements in both directions, and loss detection (RFC 9002 section 6).
extension TransportEndpoint {
  // MARK: Acknowledgements that this side owes

  /// A packet arrived that wants to be acknowledged. It will be with the next packet, or when many have come, when the
  /// socket is found empty, or when its time is up.
  @inline(__always)
  mutating func oweAcknowledgement(
    _ connection: UnsafeMutablePointer<Connection>, eliciting: Bool, size: Int, now: Instant
  ) {
    if connection.pointee.unacknowledged == 0 {
      acknowledgementsOwed += 1
      connection.pointee.acknowledgeBy = now &+ configuration.acknowledgeDelay
      touch(connection)
    }
    connection.pointee.unacknowledged += 1
    connection.pointee.unacknowledgedBytes += size
    if connection.pointee.unacknowledgedBytes >= 256 * 1024 || connection.pointee.unacknowledged >= 64 {
      acknowledgeAtOnce(connection)
    }
  }

  @inline(__always)
  mutating func acknowledgeAtOnce(_ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.acknowledgeNow = true
    markReady(connection)
  }

  /// The acknowledgement is in a packet now.
  @inline(__always)
  mutating func acknowledgementSent(_ connection: UnsafeMutablePointer<Connection>) {
    guard connection.pointee.unacknowledged > 0 else { return }
    acknowledgementsOwed -= 1
    connection.pointee.unacknowledged = 0
    connection.pointee.unacknowledgedBytes = 0
    connection.pointee.acknowledgeBy = never
    connection.pointee.acknowledgeNow = false
    connection.pointee.acknowledgeSoon = false
  }

  /// The peer wants its acknowledgement as soon as this side has nothing else to do.
  @inline(__always)
  mutating func acknowledgeSoon(_ connection: UnsafeMutablePointer<Connection>) {
    connection.pointee.acknowledgeSoon = true
    hurried.append(connection, in: connections)
  }

  /// The socket was found empty: whoever asked for an early acknowledgement gets it now, since no answer of the program
  /// carried it. The others get theirs in time, from `handleTimeout`.
  package mutating func pollIdle(now: Instant) {
    expectsMore = false
    while let connection = hurried.popFirst(in: connections) {
      if connection.pointee.unacknowledged > 0 && connection.pointee.acknowledgeSoon { acknowledgeAtOnce(connection) }
    }
  }

  // MARK: Acknowledgements that arrive

  /// RANGE_ACK. Returns false when it names what was never sent.
  mutating func acknowledged(
    _ connection: UnsafeMutablePointer<Connection>, _ frame: RangeAckFrame, now: Instant
  ) -> Bool {
    let largest = PacketNumber.expand(frame.largest, expected: connection.pointee.largestAcked)
    guard largest < connection.pointee.nextPacketNumber else { return false }
    var walk = RangeAckFrame.Runs(frame, largest: largest)
    let runs = acknowledgedRuns
    var count = 0
    while count < Self.maximumRuns, let run = walk.next() {
      runs[count] = run
      count += 1
    }
    let isLimited = connection.pointee.bytesInFlight * 2 >= connection.pointee.congestion.window
    let isNew = largest > connection.pointee.largestAcked
    connection.pointee.largestAcked = max(largest, connection.pointee.largestAcked)
    noteSpuriousLosses(connection, runs, count)
    removeAcknowledged(connection, runs, count, largest: largest, isLimited: isLimited, now: now)
    connection.pointee.congestion.onRoundTrips(
      queueing: connection.pointee.rtt.queueing, shortest: connection.pointee.rtt.minimum)
    if isNew { detectLosses(connection, now: now) }
    markReady(connection)
    return true
  }

  /// Takes the packets that the runs name out of flight. Runs descend, packets ascend.
  private mutating func removeAcknowledged(
    _ connection: UnsafeMutablePointer<Connection>, _ runs: UnsafeMutablePointer<AckRanges.Run>, _ count: Int,
    largest: UInt64, isLimited: Bool, now: Instant
  ) {
    var run = count - 1
    var previous: UInt32 = .max
    var packet = connection.pointee.sent.first
    while packet != .max {
      let entry = sentPackets[packet]
      let next = entry.pointee.next
      let number = entry.pointee.number
      while run >= 0 && number > runs[run].last { run -= 1 }
      guard run >= 0 else { break }
      if number < runs[run].first {
        previous = packet
        packet = next
        continue
      }
      connection.pointee.sent.remove(packet, after: previous, in: sentPackets)
      if number == largest { connection.pointee.rtt.update(now &- entry.pointee.time, now: now) }
      packetAcknowledged(packet, connection, isLimited: isLimited)
      packet = next
    }
  }

  private mutating func packetAcknowledged(
    _ packet: UInt32, _ connection: UnsafeMutablePointer<Connection>, isLimited: Bool
  ) {
    let entry = sentPackets[packet]
    let size = Int(entry.pointee.size)
    connection.pointee.probeCount = 0
    connection.pointee.received.forget(below: entry.pointee.acknowledges)
    if entry.pointee.isProbe {
      connection.pointee.mtu.onProbeAcknowledged(size)
      connection.pointee.congestion.setDatagramSize(connection.pointee.mtu.current)
    } else {
      connection.pointee.bytesInFlight -= size
      connection.pointee.mtu.onAcknowledged(size, number: entry.pointee.number)
      connection.pointee.congestion.onAcknowledged(size, sentTime: entry.pointee.time, isLimited: isLimited)
    }
    var frame = entry.pointee.frames.first
    while frame != .max {
      let next = sentFrames[frame].pointee.next
      frameAcknowledged(sentFrames[frame].pointee, connection)
      sentFrames.free(frame)
      frame = next
    }
    sentPackets.free(packet)
  }

  @inline(__always)
  private mutating func frameAcknowledged(_ frame: SentFrame, _ connection: UnsafeMutablePointer<Connection>) {
    switch frame.kind {
    case .payload, .announcement:
      guard let entry = liveOperation(frame, connection) else { return }
      entry.pointee.frames -= 1
      completeIfAcknowledged(frame.slot)
    case .run: runAcknowledged(frame, connection)
    case .done, .pull, .pullRead, .accept, .credit, .close: break
    }
  }

  private mutating func noteSpuriousLosses(
    _ connection: UnsafeMutablePointer<Connection>, _ runs: UnsafeMutablePointer<AckRanges.Run>, _ count: Int
  ) {
    for index in 0..<count {
      guard let sentTime = connection.pointee.lost.sentTime(in: runs[index]) else { continue }
      statistics.spuriousLosses += 1
      connection.pointee.congestion.onSpuriousLoss(sentTime: sentTime)
      connection.pointee.reorderingThreshold = min(connection.pointee.reorderingThreshold * 2, 64)
      connection.pointee.lost.remove(in: runs[index])
    }
  }

  // MARK: Loss

  /// Declares packets lost that are too far, or too long, behind the largest acknowledged one.
  mutating func detectLosses(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    let delay = connection.pointee.rtt.lossDelay
    connection.pointee.lossTime = never
    var isShrinking = false
    var run = LostRun()
    var previous: UInt32 = .max
    var packet = connection.pointee.sent.first
    while packet != .max {
      let entry = sentPackets[packet]
      guard entry.pointee.number < connection.pointee.largestAcked else { break }
      let next = entry.pointee.next
      let lostAt = entry.pointee.time &+ delay
      let isBehind = entry.pointee.number &+ connection.pointee.reorderingThreshold <= connection.pointee.largestAcked
      if isBehind || lostAt <= now {
        connection.pointee.sent.remove(packet, after: previous, in: sentPackets)
        if !entry.pointee.isProbe { run.append(entry.pointee.number, time: entry.pointee.time) }
        isShrinking = packetLost(packet, connection, now: now) || isShrinking
      } else {
        connection.pointee.lossTime = min(connection.pointee.lossTime, lostAt)
        previous = packet
      }
      packet = next
    }
    if connection.pointee.rtt.hasSample && run.span > connection.pointee.persistentCongestion {
      connection.pointee.congestion.onPersistentCongestion(now: now)
    }
    // Takes further packets out of flight: not while the list is walked.
    if isShrinking { pathShrank(connection, now: now) }
  }

  /// Gives a packet up that was taken out of flight: its frames are due again. Returns whether the path turned out to
  /// carry less than believed.
  private mutating func packetLost(
    _ packet: UInt32, _ connection: UnsafeMutablePointer<Connection>, now: Instant
  ) -> Bool {
    let entry = sentPackets[packet]
    let size = Int(entry.pointee.size)
    if entry.pointee.isProbe {
      connection.pointee.mtu.onProbeLost(size)
    } else {
      statistics.packetsLost += 1
      connection.pointee.bytesInFlight -= size
      connection.pointee.lost.append(entry.pointee.number, time: entry.pointee.time)
      connection.pointee.congestion.onLoss(sentTime: entry.pointee.time, now: now)
    }
    requeueFrames(of: packet, connection)
    let isShrinking = !entry.pointee.isProbe && connection.pointee.mtu.onLost(size, number: entry.pointee.number)
    sentPackets.free(packet)
    markReady(connection)
    return isShrinking
  }

  /// The path carries smaller datagrams than before: what is under way in larger ones is lost.
  mutating func pathShrank(_ connection: UnsafeMutablePointer<Connection>, now: Instant) {
    connection.pointee.congestion.setDatagramSize(connection.pointee.mtu.current)
    var previous: UInt32 = .max
    var packet = connection.pointee.sent.first
    while packet != .max {
      let entry = sentPackets[packet]
      let next = entry.pointee.next
      if Int(entry.pointee.size) > connection.pointee.mtu.current {
        connection.pointee.sent.remove(packet, after: previous, in: sentPackets)
        if !entry.pointee.isProbe { connection.pointee.bytesInFlight -= Int(entry.pointee.size) }
        requeueFrames(of: packet, connection)
        sentPackets.free(packet)
      } else {
        previous = packet
      }
      packet = next
    }
    markReady(connection)
  }

  /// Makes the frames of a packet due again, those that still matter.
  mutating func requeueFrames(of packet: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    let entry = sentPackets[packet]
    var frame = entry.pointee.frames.popFirst(in: sentFrames)
    while frame != .max {
      requeue(frame, connection)
      frame = entry.pointee.frames.popFirst(in: sentFrames)
    }
  }

  private mutating func requeue(_ frame: UInt32, _ connection: UnsafeMutablePointer<Connection>) {
    statistics.retransmittedFrames += 1
    switch sentFrames[frame].pointee.kind {
    case .payload, .announcement:
      if liveOperation(sentFrames[frame].pointee, connection) != nil {
        return connection.pointee.retransmit.append(frame, in: sentFrames)
      }
    case .run: return connection.pointee.retransmit.append(frame, in: sentFrames)
    case .done, .pull, .pullRead: return connection.pointee.control.append(frame, in: sentFrames)
    case .accept: connection.pointee.needsAccept = true
    case .credit: connection.pointee.needsCredit = true
    case .close: connection.pointee.needsClose = true
    }
    sentFrames.free(frame)
  }
}
