import CPlatform

/// Payload for one peer: one datagram, or several that the kernel or the socket cuts at multiples of `segmentSize`.
package struct OutgoingDatagrams {
  package var destination: SocketAddress
  /// The bytes, gathered in order. Read during the call to `send` only; at most 1024 slices.
  package var slices: UnsafePointer<iovec>
  package var sliceCount: Int
  /// Bytes of each datagram but the last, which may be shorter; 0 or at least `totalLength` for a single datagram.
  package var segmentSize: Int
  /// Sum of the slices' lengths: at most 65507, and at most ``UDPSocket/maximumSegments`` segments.
  package var totalLength: Int
  /// Segments to leave out because an earlier call sent them (``SendOutcome/segments``).
  package var firstSegment = 0

  package init(
    destination: SocketAddress, slices: UnsafePointer<iovec>, sliceCount: Int, segmentSize: Int, totalLength: Int
  ) {
    self.destination = destination
    self.slices = slices
    self.sliceCount = sliceCount
    self.segmentSize = segmentSize
    self.totalLength = totalLength
  }

  /// How many datagrams this is.
  var segmentCount: Int {
    isSingle ? 1 : (totalLength + segmentSize - 1) / segmentSize
  }

  var isSingle: Bool { segmentSize == 0 || segmentSize >= totalLength }

  /// Bytes of segment `index`.
  func length(ofSegment index: Int) -> Int {
    isSingle ? totalLength : min(segmentSize, totalLength - index * segmentSize)
  }
}

/// What became of a call to `send`.
package struct SendOutcome: Equatable {
  /// Entries that went out fully, from the first.
  package var sent: Int
  /// Segments of the next entry that went out too: resume by setting its `firstSegment` to this. 0 unless segmentation
  /// offload is off.
  package var segments: Int
  package var stop: SendStop
}

/// Why `send` stopped. All but the first two concern the first entry that is not out; the caller decides whether to skip
/// it or to try again.
package enum SendStop: Equatable {
  /// It did not: all entries went out.
  case finished
  /// The socket's send buffer is full; wait for the descriptor to become writable, or a little.
  case wouldBlock
  /// A datagram is larger than the interface's MTU, or than a UDP datagram can be (EMSGSIZE).
  case tooBig
  /// There is no route, or the network is down.
  case unreachable
  /// ECONNREFUSED again and again: errors of other destinations arrive faster than they can be told apart.
  case refused
  /// The device's queue or the system's memory is full (ENOBUFS, ENOMEM).
  case noBuffers
  /// Another errno, for instance EPERM of a packet filter.
  case other(Int32)
}

/// One received buffer: one datagram, or several of one sender that the kernel put together.
package struct ReceivedDatagrams {
  /// Valid until the next call to `receive`; the caller may overwrite the bytes.
  package let base: UnsafeMutableRawPointer
  package let length: Int
  /// Bytes of each datagram but the last, which may be shorter; `length` for a single one. Never 0 unless `length` is.
  package let segmentSize: Int
  package let source: SocketAddress
  /// Bytes from ``ReceiveHole/offset`` on that are not in the buffer but where the hole led.
  package internal(set) var placed = 0
}

/// A part of a datagram that is to be received elsewhere than in the buffer, which has a hole there.
package struct ReceiveHole {
  /// Bytes of the datagram before it.
  package var offset: Int
  package var base: UnsafeMutableRawPointer
  package var length: Int

  package init(offset: Int, base: UnsafeMutableRawPointer, length: Int) {
    self.offset = offset
    self.base = base
    self.length = length
  }
}

/// An error that the network or the kernel reported about an earlier datagram (MSG_ERRQUEUE of recv(2)).
///
/// Such reports are not authenticated: who can forge an ICMP packet can forge one. They are hints, not facts.
package struct PeerError: Equatable {
  package enum Kind: Equatable {
    /// The host is there, the port is closed.
    case portUnreachable
    case hostUnreachable
    /// A router or interface passes IP packets of at most `mtu` bytes, headers included.
    case messageTooBig(mtu: Int)
    /// Another errno.
    case other(Int32)
  }

  /// Where the datagram was going.
  package let destination: SocketAddress
  package let kind: Kind
  /// Whether this host reported it, not the network.
  package let isLocal: Bool
}

/// What a ``UDPSocket`` is made with.
package struct UDPSocketOptions {
  /// Bytes asked of SO_RCVBUF and SO_SNDBUF; the system may give less.
  package var receiveBufferSize = 4 << 20
  package var sendBufferSize = 4 << 20
  /// Let the kernel cut large sends (UDP_SEGMENT) and put received datagrams together (UDP_GRO).
  package var segmentationOffload = true
  package var receiveOffload = true
  /// Give a peer that nearly everything goes to a connected socket of its own, on Linux.
  package var connects = true
  /// Send large datagrams to it by reference where that is possible, once ``UDPSocket/scratch`` is set.
  package var splices = true
  /// Send and receive single datagrams of whatever size the program says: no segmentation, no errors of the network, no
  /// connected socket, and fragments where a path needs them. The members above are then ignored.
  package var plain = false
  /// Let other sockets be bound to the same address (SO_REUSEADDR), as the members of a multicast group on one host are.
  package var shared = false
  /// Use only what POSIX has, as on systems that are not Linux.
  package var portable = false
  /// Buffers for one call to `receive`, and bytes of each; with receive offload each has at least 65535 bytes.
  package var receiveBatch = 8
  package var receiveCapacity = 65536
  /// What to do to received datagrams on purpose.
  package var faults = FaultPlan()

  package init() {}
}

/// What a ``UDPSocket`` has counted since it was opened.
package struct UDPSocketStatistics: BitwiseCopyable {
  /// Datagrams sent, counting segments.
  package var datagramsSent: UInt64 = 0
  /// System calls made to send and to receive.
  package var sendCalls: UInt64 = 0
  package var receiveCalls: UInt64 = 0
  /// Buffers received; each may hold several datagrams.
  package var buffersReceived: UInt64 = 0
  /// Times the kernel refused to cut a send; the second time cannot come, since the first ends it.
  package var segmentationRefusals: UInt64 = 0
  /// Datagrams of refused sends that went out one by one.
  package var segmentsResent: UInt64 = 0
  /// Calls repeated because they returned an error that belonged to an earlier datagram.
  package var pendingErrors: UInt64 = 0
  /// Received datagrams dropped because they were larger than a receive buffer.
  package var truncated: UInt64 = 0
  /// Datagrams lost because the kernel's receive buffer was full; only in ``UDPSocket/allStatistics``.
  package var kernelDrops: UInt64 = 0
  /// Datagrams lost by the ``FaultPlan``; only in ``UDPSocket/allStatistics``.
  package var lostOnPurpose: UInt64 = 0

  package init() {}

  /// Those of several sockets together.
  package static func += (left: inout UDPSocketStatistics, right: UDPSocketStatistics) {
    left.datagramsSent += right.datagramsSent
    left.sendCalls += right.sendCalls
    left.receiveCalls += right.receiveCalls
    left.buffersReceived += right.buffersReceived
    left.segmentationRefusals += right.segmentationRefusals
    left.segmentsResent += right.segmentsResent
    left.pendingErrors += right.pendingErrors
    left.truncated += right.truncated
    left.kernelDrops += right.kernelDrops
    left.lostOnPurpose += right.lostOnPurpose
  }
}

/// What sockets make use of: how many of them do.
package struct UDPSocketUse: BitwiseCopyable {
  package var sockets: UInt64 = 0
  /// The kernel cuts sends, and puts received datagrams together.
  package var segmenting: UInt64 = 0
  package var merging: UInt64 = 0
  /// A second socket is connected to the hot peer, and takes large datagrams by reference.
  package var connected: UInt64 = 0
  package var splicing: UInt64 = 0

  package init() {}
}
