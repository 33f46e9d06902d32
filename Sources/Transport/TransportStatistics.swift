/// Counters of a transport endpoint since it was made.
package struct TransportStatistics: BitwiseCopyable {
  package var packetsSent: UInt64 = 0
  package var packetsReceived: UInt64 = 0
  package var bytesSent: UInt64 = 0
  package var bytesReceived: UInt64 = 0
  /// Frames that were sent again.
  package var retransmittedFrames: UInt64 = 0
  package var packetsLost: UInt64 = 0
  /// Packets that were given up and had arrived after all.
  package var spuriousLosses: UInt64 = 0
  package var probeTimeouts: UInt64 = 0
  /// Packets that arrived twice.
  package var duplicates: UInt64 = 0
  /// Datagrams that no rule of the protocol explains.
  package var malformed: UInt64 = 0
  /// Datagrams of no connection of ours.
  package var unknown: UInt64 = 0
  /// Packets dropped, to come again, because a slab was exhausted or a peer went beyond its credit.
  package var droppedForRoom: UInt64 = 0
  /// Sessions that this side asked for, those of peers that it took, and handshakes of peers that it turned down.
  package var handshakes: UInt64 = 0
  package var accepts: UInt64 = 0
  package var rejections: UInt64 = 0
  package var failures: UInt64 = 0
  /// Ordered frames that had to wait for their turn.
  package var stagedFrames: UInt64 = 0
  /// Transfers that had to wait for an earlier access to the same memory.
  package var deferredTransfers: UInt64 = 0
  /// Times a connection was looked at to see when it has something to do.
  package var timersExamined: UInt64 = 0

  package init() {}

  /// Those of several endpoints together.
  package static func += (left: inout TransportStatistics, right: TransportStatistics) {
    left.packetsSent += right.packetsSent
    left.packetsReceived += right.packetsReceived
    left.bytesSent += right.bytesSent
    left.bytesReceived += right.bytesReceived
    left.retransmittedFrames += right.retransmittedFrames
    left.packetsLost += right.packetsLost
    left.spuriousLosses += right.spuriousLosses
    left.probeTimeouts += right.probeTimeouts
    left.duplicates += right.duplicates
    left.malformed += right.malformed
    left.unknown += right.unknown
    left.droppedForRoom += right.droppedForRoom
    left.handshakes += right.handshakes
    left.accepts += right.accepts
    left.rejections += right.rejections
    left.failures += right.failures
    left.stagedFrames += right.stagedFrames
    left.deferredTransfers += right.deferredTransfers
    left.timersExamined += right.timersExamined
  }
}

/// How sessions stand that are established, those of one or of several endpoints.
package struct SessionSummary: BitwiseCopyable {
  package private(set) var count: UInt64 = 0
  /// Bytes that may be in flight, and that are.
  package private(set) var congestionWindow: UInt64 = 0
  package private(set) var bytesInFlight: UInt64 = 0
  /// UDP payload of the largest datagram that every path carries; 0 without sessions.
  package private(set) var smallestDatagram: UInt64 = 0
  /// Nanoseconds; 0 while none was measured.
  package private(set) var shortestRoundTrip: UInt64 = 0
  package private(set) var longestRoundTrip: UInt64 = 0
  private var measured: UInt64 = 0
  private var sumOfRoundTrips: UInt64 = 0

  package init() {}

  /// The mean of the sessions' smoothed round trips.
  package var meanRoundTrip: UInt64 { measured == 0 ? 0 : sumOfRoundTrips / measured }

  mutating func add(_ connection: UnsafePointer<Connection>) {
    count += 1
    congestionWindow += UInt64(connection.pointee.congestion.window)
    bytesInFlight += UInt64(connection.pointee.bytesInFlight)
    let datagram = UInt64(connection.pointee.mtu.current)
    smallestDatagram = smallestDatagram == 0 ? datagram : min(smallestDatagram, datagram)
    guard connection.pointee.rtt.hasSample else { return }
    let shortest = connection.pointee.rtt.minimum
    shortestRoundTrip = measured == 0 ? shortest : min(shortestRoundTrip, shortest)
    longestRoundTrip = max(longestRoundTrip, connection.pointee.rtt.smoothed)
    sumOfRoundTrips += connection.pointee.rtt.smoothed
    measured += 1
  }
}

/// How many elements of an endpoint's slabs are in use.
package struct TransportUsage: BitwiseCopyable {
  package var operations: UInt32
  package var inbound: UInt32
  package var scatters: UInt32
  package var frames: UInt32
  package var packets: UInt32
  package var ranges: UInt32
  package var staged: UInt32
}
