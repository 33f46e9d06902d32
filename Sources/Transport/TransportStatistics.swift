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
    left.timersExamined += right.timersExamined
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
