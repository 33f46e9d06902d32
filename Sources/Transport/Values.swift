import Packet

/// Nanoseconds of a monotonic clock. The transport reads no clock: every verb is told what time it is.
package typealias Instant = UInt64

/// A deadline that never comes.
package let never: Instant = .max

/// A span in nanoseconds.
@inline(__always) package func microseconds(_ count: UInt64) -> UInt64 { count &* 1_000 }
@inline(__always) package func milliseconds(_ count: UInt64) -> UInt64 { count &* 1_000_000 }

/// Where a peer is. To the transport these are 24 opaque bytes that compare and hash; `Datagram` gives them meaning.
package struct PeerAddress: BitwiseCopyable, Equatable {
  package var words: (UInt64, UInt64, UInt64)

  package init(words: (UInt64, UInt64, UInt64)) { self.words = words }

  package static func == (left: PeerAddress, right: PeerAddress) -> Bool {
    left.words.0 == right.words.0 && left.words.1 == right.words.1 && left.words.2 == right.words.2
  }

  package var hash: UInt64 { mix(mix(mix(words.0) ^ words.1) ^ words.2) }
}

/// The finalizer of splitmix64: a bijection that spreads every input bit.
package func mix(_ value: UInt64) -> UInt64 {
  var mixed = value &+ 0x9E37_79B9_7F4A_7C15
  mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
  mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
  return mixed ^ (mixed >> 31)
}

/// Names a connection of a `TransportEndpoint`: its index, which stays the peer's as long as the endpoint lives.
///
/// A connection that failed keeps its index; the next operation posted on it makes a new handshake.
package typealias ConnectionIndex = UInt32

/// Names a message that the transport keeps until it is accepted or discarded.
package typealias MessageHandle = UInt32

/// Contiguous memory of the program, laid out as POSIX's `iovec`.
package struct Slice: BitwiseCopyable {
  package var base: UnsafeMutableRawPointer?
  package var count: Int

  package init(base: UnsafeMutableRawPointer?, count: Int) {
    self.base = base
    self.count = count
  }
}

/// Most slices of one operation, on either side: a remote segment may take several.
package let maximumSlices = 16

/// What an operation does, seen from the side that posts it.
package enum OperationKind: UInt8, BitwiseCopyable {
  case message
  case write
  case read
  /// The answer to a peer's read, or to an atomic operation that returns something; never posted.
  case readResponse
  /// Changes remote memory in a way that its target understands, and returns what that held before if `.fetch` is set.
  case atomic
}

/// How an operation is carried out.
package struct OperationFlags: OptionSet, BitwiseCopyable {
  package let rawValue: UInt16
  @inline(__always)
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  /// A message with a tag (FI_TAGGED).
  package static var tagged: OperationFlags { OperationFlags(rawValue: 1) }
  /// Remote completion data travels along (FI_REMOTE_CQ_DATA).
  package static var remoteData: OperationFlags { OperationFlags(rawValue: 2) }
  /// Ends when the target has placed the data, not when its host has received it (FI_DELIVERY_COMPLETE).
  package static var deliveryComplete: OperationFlags { OperationFlags(rawValue: 4) }
  /// Ends when the target's program has asked for the message (FI_MATCH_COMPLETE).
  package static var matchComplete: OperationFlags { OperationFlags(rawValue: 16) }
  /// Whether the operation ends when its target says so, not when its packets are acknowledged.
  @inline(__always)
  package var waitsForTarget: Bool { contains(.deliveryComplete) || contains(.matchComplete) }
  /// Nobody wants to hear of its success: it counts in a `silentlyCompleted` event.
  package static var silent: OperationFlags { OperationFlags(rawValue: 32) }
  /// May end as soon as its payload was copied and sent (FI_INJECT_COMPLETE): a failure after that is nobody's to tell. Of
  /// a row of such messages the last one posted ends when all have been acknowledged.
  package static var buffered: OperationFlags { OperationFlags(rawValue: 64) }
  /// Starts, and with it all that is posted later, only when everything posted before on its connection has ended
  /// (FI_FENCE).
  package static var fence: OperationFlags { OperationFlags(rawValue: 256) }
  /// A write ends when its data is persistent at the target (FI_COMMIT_COMPLETE); with `.fence`, when that of all writes
  /// before it is too.
  package static var persistent: OperationFlags { OperationFlags(rawValue: 512) }
  /// The payload is copied; the program may reuse its memory at once (FI_INJECT).
  package static var inject: OperationFlags { OperationFlags(rawValue: 8) }
  /// An atomic operation returns what the memory held before it.
  package static var fetch: OperationFlags { OperationFlags(rawValue: 128) }
}

/// How an operation, or a connection, ended.
package enum TransportStatus: UInt8, BitwiseCopyable {
  case ok = 0
  /// The target refused: no such key, or no permission.
  case accessDenied = 1
  /// The target refused: outside of the region.
  case outOfBounds = 2
  /// One side gave up its buffer before the end.
  case aborted = 3
  /// The peer's host says that nobody listens there.
  case refused = 4
  /// The peer did not answer within its time.
  case timedOut = 5
  /// The peer restarted or forgot the connection.
  case reset = 6
  /// The peer closed its endpoint.
  case closed = 7
  /// The target does not know such an atomic operation.
  case unsupported = 8
  /// The target could not make the data persistent.
  case notPersistent = 9
}

/// What `post` did.
package enum PostResult: UInt8, BitwiseCopyable {
  case queued
  /// All slots are in use; progress frees them (-FI_EAGAIN).
  case again
}

/// An operation to be posted. Pointers need only be valid during the call; the memory that slices name stays the
/// operation's until its `operationCompleted` event, unless `.inject` is set.
package struct Operation: BitwiseCopyable {
  package var kind: OperationKind
  package var flags: OperationFlags
  package var tag: UInt64 = 0
  package var data: UInt64 = 0
  /// Of a message: the receive context at the peer that it is for. 0 for all others.
  package var context: UInt16 = 0
  /// Local memory: source of messages and writes, target of reads; at most `maximumSlices`. Operands of an atomic
  /// operation and then its comparands, which are copied.
  package var slices: UnsafePointer<Slice>?
  package var sliceCount: Int
  /// Remote memory of writes, reads and atomic operations; at most `RemoteSegment.maximumCount`, of writes and reads its
  /// sum equal to that of the slices.
  package var segments: UnsafePointer<RemoteSegmentValue>?
  package var segmentCount = 0
  /// What an atomic operation does.
  package var atomic = AtomicCode()
  /// Where an atomic operation with `.fetch` returns what the segments held; as many bytes, at most `maximumSlices`.
  package var results: UnsafePointer<Slice>?
  package var resultCount = 0
  /// Comes back in the event.
  package var cookie: Cookies

  package init(
    kind: OperationKind, flags: OperationFlags, slices: UnsafePointer<Slice>?, sliceCount: Int, cookie: Cookies
  ) {
    self.kind = kind
    self.flags = flags
    self.slices = slices
    self.sliceCount = sliceCount
    self.cookie = cookie
  }
}

/// Two words of the caller, which the transport carries and does not read.
package struct Cookies: BitwiseCopyable {
  package var first: UInt64
  package var second: UInt64

  package init(_ first: UInt64 = 0, _ second: UInt64 = 0) {
    self.first = first
    self.second = second
  }
}
