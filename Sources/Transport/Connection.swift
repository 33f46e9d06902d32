import Containers
import Packet

/// Where a connection stands.
enum ConnectionState: UInt8, BitwiseCopyable {
  /// Nothing is known of the peer, or the connection ended.
  case idle
  /// INITIAL is sent; CHALLENGE is awaited.
  case initial
  /// CONFIRM packets with data are sent; ACCEPT is awaited.
  case confirming
  case established
}

/// Everything about one peer. Serves one session after the other; the index stays.
///
/// A trivial struct behind a pointer: reached without reference counting, about 1.5 KiB, its variable parts in the
/// endpoint's slabs while they are in use.
struct Connection: BitwiseCopyable {
  let index: ConnectionIndex
  let address: PeerAddress
  var state: ConnectionState = .idle
  /// This side's id of the session, new for each.
  var session: UInt64 = 0
  var peerIndex: UInt32 = 0
  var peerSession: UInt64 = 0
  var peer = TransportParameters(
    maximumDatagram: 0, receiveBuffer: 0, initialCredit: 0, initialOperations: 0, maximumSilence: 0,
    maximumAckDelay: 0, maximumReads: 0)
  var cookie = Cookie(time: 0, code: 0)
  /// Cookies made before prove nothing: they belong to sessions that are over.
  var cookieNotBefore: Instant = 0
  /// The peer's id of the session that ended last.
  var endedSession: UInt64 = 0

  var links = ConnectionLinks()

  // Packets sent.
  var nextPacketNumber: UInt64 = 1
  var sent = SentPacketList()
  var bytesInFlight = 0
  var largestAcked: UInt64 = 0
  /// Packets that a later acknowledged one may be behind before they are lost.
  var reorderingThreshold: UInt64 = 3
  var rtt = RTTEstimator()
  var congestion: CongestionController
  var mtu: PathMTU
  var lastElicitingSent: Instant = 0
  var probeCount: UInt32 = 0
  var probesDue: UInt8 = 0
  var lossTime: Instant = never

  // Liveness.
  var lastReceived: Instant = 0
  /// Since when an answer is owed; `never` when none is.
  var awaitingSince: Instant = never
  /// The peer's host said that nobody is there.
  var unreachableSince: Instant = never
  var unreachableCount: UInt32 = 0
  /// The peer is asked whether it lives although nothing is under way; until the session ends.
  var isKeptAlive = false

  // Operations sent.
  var operations = IndexList()
  var responses = IndexList()
  var nextSequence: UInt32 = 0
  /// First of `operations` with frames that were never sent and need no PULL_REQUEST; `Slab.none` when there is none.
  var nextStart: UInt32 = .max
  /// Operations with `.fence` that have not started.
  var fences: UInt32 = 0
  var firstBulk: UInt32 = .max
  var lastBulk: UInt32 = .max
  var prefersBulk = false
  var retransmit = FrameQueue()
  var control = FrameQueue()
  var creditUsed: UInt64 = 0
  var creditLimit: UInt64 = 0
  var operationLimit: UInt32 = 0
  var readsOutstanding: UInt32 = 0

  // Packets received.
  var largestReceivedTime: Instant = 0
  var unacknowledged: UInt32 = 0
  var unacknowledgedBytes = 0
  var acknowledgeBy: Instant = never
  var acknowledgeNow = false
  var acknowledgeSoon = false

  // Operations received.
  /// The operation that starts next.
  var expectedSequence: UInt32 = 0
  var inbound = IndexList()
  var staged = IndexList()
  var stagedBytes = 0
  var activeWrites: UInt32 = 0
  /// Reads that are being answered from memory.
  var activeReads: UInt32 = 0
  var activePulls: UInt32 = 0
  /// Accepted transfers that wait until earlier access to their memory is over.
  var deferredTransfers: UInt32 = 0
  /// Eager operations of which fragments are missing.
  var incompleteEager: UInt32 = 0
  /// Transfer that the fragments of an atomic operation are gathered in; it is the next to start.
  var gathering: UInt32 = .max
  /// Eager bytes of the operations that have started.
  var creditReceived: UInt64 = 0
  var creditConsumed: UInt64 = 0
  var operationsConsumed: UInt32 = 0
  var creditAdvertised: UInt64 = 0
  var operationsAdvertised: UInt32 = 0

  // Frames that are due.
  var needsInitial = false
  var needsAccept = false
  var needsCredit = false
  var needsClose = false
  var initialCount: UInt32 = 0
  /// Handshakes that the responder turned down since the program wanted the connection.
  var rejectedCount: UInt32 = 0
  var initialDeadline: Instant = never

  /// Digest of the key that this side begins sessions with, and of the one that the session began with.
  var authorization: UInt64 = 0
  var sessionAuthorization: UInt64 = 0

  // Large, and mostly untouched. At the end, so that what each packet needs lies close together: with many peers it comes
  // from memory each time.
  var received = AckRanges()
  var lost = LostPackets()

  init(index: ConnectionIndex, address: PeerAddress, baseDatagram: Int) {
    self.index = index
    self.address = address
    congestion = CongestionController(datagramSize: baseDatagram)
    mtu = PathMTU(base: baseDatagram)
  }

  /// A fresh session with the same peer: everything but identity, queue membership and the cookies' bound.
  mutating func reset(baseDatagram: Int) {
    var fresh = Connection(index: index, address: address, baseDatagram: baseDatagram)
    fresh.cookieNotBefore = cookieNotBefore
    fresh.endedSession = state == .established ? peerSession : endedSession
    fresh.links = links
    fresh.authorization = authorization
    // Messages that are complete, and held, outlive their session.
    fresh.inbound = inbound
    self = fresh
  }

  /// How long the peer may be silent while an answer is owed.
  var patience: UInt64 {
    milliseconds(UInt64(max(peer.maximumSilence, 1_000)))
  }

  /// Something of this side's waits for the peer, be it only that the rest of a message comes.
  var hasWorkUnderWay: Bool {
    !operations.isEmpty || !responses.isEmpty || activePulls > 0 || activeWrites > 0 || incompleteEager > 0
      || gathering != .max || !staged.isEmpty
  }

  /// The time until the next probe (RFC 9002 section 6.2.1), doubled for each that was not answered.
  var probeTimeout: UInt64 {
    min(rtt.probeTimeout << UInt64(min(probeCount, 14)), milliseconds(1_000))
  }

  /// When all that was sent over so long is lost, congestion persists (RFC 9002 section 7.6.1).
  var persistentCongestion: UInt64 { 3 * rtt.probeTimeout }
}

/// Compares sequence numbers that wrap: negative when `left` comes before `right`.
@inline(__always)
func distance(_ left: UInt32, from right: UInt32) -> Int32 { Int32(bitPattern: left &- right) }
