import Containers
import Packet
import Synchronization

/// The sans-IO core of one endpoint: the connections to all its peers.
///
/// It is fed datagrams and the time, and drained of events and of datagrams to send; it calls nobody. Its verbs:
/// `post`, `receive`, `pollEvent` with the answers `accept`, `hold` and `refuse`, `pollTransmit`, `handleTimeout`,
/// `nextTimeout`. All memory is reserved when it is made, but for connections, whose table grows with the peers, and
/// the buffer pool, which grows to what was in use at once.
///
/// Not thread-safe; the owner serializes. The protocol is specified in docs/PROTOCOL.md.
public struct TransportEndpoint: ~Copyable {
  package let configuration: TransportConfiguration
  package let localAddress: PeerAddress
  package internal(set) var statistics = TransportStatistics()

  // What operations, packets and transfers are made of.
  var operations: Slab<OutboundOperation>
  var inbound: Slab<InboundTransfer>
  var scatters: Slab<ScatterList>
  var sentFrames: Slab<SentFrame>
  var sentPackets: Slab<SentPacket>
  var ranges: Slab<RangeNode>
  var staged: Slab<StagedBlock>
  var buffers = BufferPool()
  /// Posted operations in flight, of `transmitQueueSize`.
  var postedCount = 0
  /// Answers that are sent from copies: what atomic operations return.
  var copiedAnswers = 0

  // Connections.
  private(set) var connections: ConnectionTable
  private var connectionCapacity = 16
  private(set) var connectionCount = 0
  private var byAddress = HashIndex()
  /// Connections that have something to send.
  private var ready = ConnectionQueue(.toTransmit)
  /// Connections whose timers may have moved since `timers` was told.
  var touched = ConnectionQueue(.forTimers)
  /// When connections have something to do: for each that is not touched its next deadline, or an earlier time.
  var timers = DeadlineHeap()
  /// Connections that owe an acknowledgement.
  var acknowledgementsOwed = 0
  /// Those of them whose peer asked for it early.
  var hurried = ConnectionQueue(.toAcknowledge)

  /// A packet of many messages has come since the socket was last found empty: it is worth looking for more, and when
  /// there is none, `pollIdle` acknowledges.
  package internal(set) var expectsMore = false

  // What is over, until `pollEvent` has told; `hasNews` when any of it may be there.
  var hasNews = false
  var completedOperations = IndexList()
  var silentCompletions = 0
  var finishedTransfers = IndexList()
  /// The oldest are forgotten when nobody asks for them, since their operations tell as well.
  var failedConnections = RecentQueue<64, Failure>(placeholder: Failure(connection: 0, status: .ok))

  /// Connections whose peers did not answer in time, for whoever can find out why. The oldest are forgotten.
  var silentConnections = RecentQueue<8, ConnectionIndex>(placeholder: 0)

  /// Connections whose staged frames wait for room.
  var starved = ConnectionQueue(.forRoom)
  /// Connections that have something to send and found no slot for its packet or frames.
  private var shortOfSlots = ConnectionQueue(.forSlots)
  /// The connection that `isDrained` last found with something to do.
  private var undrained = 0

  // The datagram being processed.
  var cursor = ReceiveCursor()
  /// The event handed out last; in memory of its own, so that its address is stable.
  let event: UnsafeMutablePointer<Event>
  /// The frame that an operation started with, until its event is answered; in memory of its own, so that it is written
  /// once and not copied.
  let orderedFrame: UnsafeMutablePointer<OrderedFrame>
  /// The runs of the acknowledgement being processed, `maximumRuns` of them.
  let acknowledgedRuns: UnsafeMutablePointer<AckRanges.Run>
  static var maximumRuns: Int { 33 }

  /// The transfer that the next datagram is likely to belong to.
  var predicted: PlacedTransfer?

  /// Answers that need no connection. Who is forgotten asks again.
  var answers = RecentQueue<32, Answer>(
    placeholder: Answer(kind: .reset, address: PeerAddress(words: (0, 0, 0)), connection: 0, session: 0))
  let cookieKey: CookieKey
  var randomState: UInt64
  var isClosing = false

  /// Ties the structure to its address. The compiler would otherwise copy all of it, some 4 KiB, for each call of a
  /// method that does not change it: a quarter of a ping-pong's time.
  private let pin = Atomic<UInt8>(0)

  package init(configuration: TransportConfiguration, localAddress: PeerAddress) {
    // What an initiator may send before it knows what it was granted.
    precondition(configuration.operationWindow >= 64 && configuration.creditWindow >= 8 * configuration.baseDatagram)
    precondition(configuration.creditWindow >= configuration.eagerLimit)
    precondition(configuration.eagerLimit <= BufferPool.largest)
    self.configuration = configuration
    self.localAddress = localAddress
    let responses = 4 * configuration.maximumReads
    operations = Slab(capacity: configuration.transmitQueueSize + responses)
    inbound = Slab(capacity: configuration.inboundTransfers)
    scatters = Slab(capacity: configuration.transmitQueueSize + responses + configuration.inboundTransfers)
    sentPackets = Slab(capacity: configuration.packetsInFlight)
    sentFrames = Slab(capacity: 4 * configuration.packetsInFlight + Self.controlReserve(configuration))
    ranges = Slab(capacity: 4 * configuration.packetsInFlight + 1024)
    staged = Slab(capacity: 4 * configuration.packetsInFlight)
    connections = .allocate(capacity: connectionCapacity)
    event = .allocate(capacity: 1)
    orderedFrame = .allocate(capacity: 1)
    acknowledgedRuns = .allocate(capacity: Self.maximumRuns)
    event.initialize(to: Event(.connectionFailed))
    cookieKey = CookieKey(seed: configuration.seed)
    randomState = mix(configuration.seed)
  }

  deinit {
    for index in 0..<connectionCount {
      releaseBuffers(of: connections[index])
      connections[index].deallocate()
    }
    connections.deallocate()
    event.deallocate()
    orderedFrame.deallocate()
    acknowledgedRuns.deallocate()
  }

  /// Adds how the established sessions stand. O(connections).
  package func summarize(in summary: inout SessionSummary) {
    for index in 0..<connectionCount where connections[index].pointee.state == .established {
      summary.add(connections[index])
    }
  }

  /// Bytes of the pool of buffers, in use or kept.
  package var bufferBytes: Int { buffers.reserved }

  /// Frames that payload leaves free, so that what must be answered can be.
  static func controlReserve(_ configuration: TransportConfiguration) -> Int {
    2 * configuration.inboundTransfers + 1024
  }

  // MARK: Connections

  /// The connection to a peer, made when there is none; sends nothing. O(1).
  package mutating func connection(to address: PeerAddress) -> ConnectionIndex {
    if let index = findConnection(address) { return index }
    if connectionCount == connectionCapacity {
      doubleCapacity(of: &connections, count: connectionCount, &connectionCapacity)
    }
    let index = ConnectionIndex(connectionCount)
    timers.makeRoom(for: index)
    let pointer = UnsafeMutablePointer<Connection>.allocate(capacity: 1)
    pointer.initialize(to: Connection(index: index, address: address, baseDatagram: configuration.baseDatagram))
    pointer.pointee.authorization = configuration.authorizations.standard
    connections[connectionCount] = pointer
    connectionCount += 1
    byAddress.insert(address.hash, index: index)
    return index
  }

  /// Where the peer of a connection is.
  package func address(of connection: ConnectionIndex) -> PeerAddress { self[connection].pointee.address }

  func findConnection(_ address: PeerAddress) -> ConnectionIndex? {
    byAddress.find(address.hash) { connections[Int($0)].pointee.address == address }
  }

  @inline(__always)
  subscript(index: ConnectionIndex) -> UnsafeMutablePointer<Connection> {
    precondition(Int(index) < connectionCount)
    return connections[Int(index)]
  }

  /// Gives buffers back that connections still hold when the endpoint goes away.
  private func releaseBuffers(of connection: UnsafeMutablePointer<Connection>) {
    var packet = connection.pointee.sent.first
    while packet != .max {
      releaseRuns(of: sentPackets[packet].pointee.frames)
      packet = sentPackets[packet].pointee.next
    }
    releaseRuns(of: connection.pointee.retransmit)
    var index = connection.pointee.operations.first
    while index != .max {
      operations[index].pointee.injected?.deallocate()
      index = operations[index].pointee.next
    }
    index = connection.pointee.responses.first
    while index != .max {
      operations[index].pointee.injected?.deallocate()
      index = operations[index].pointee.next
    }
    if connection.pointee.gathering != .max { inbound[connection.pointee.gathering].pointee.staging?.deallocate() }
    index = connection.pointee.inbound.first
    while index != .max {
      inbound[index].pointee.staging?.deallocate()
      index = inbound[index].pointee.next
    }
    index = connection.pointee.staged.first
    while index != .max {
      staged[index].pointee.bytes.deallocate()
      index = staged[index].pointee.next
    }
  }

  private func releaseRuns(of queue: FrameQueue) {
    var frame = queue.first
    while frame != .max {
      if sentFrames[frame].pointee.kind == .run { sentFrames[frame].pointee.run.deallocate() }
      frame = sentFrames[frame].pointee.next
    }
  }

  // MARK: Queues of connections

  /// The connection has something to send: it takes its turn in `pollTransmit`.
  @inline(__always)
  mutating func markReady(_ connection: UnsafeMutablePointer<Connection>) {
    touch(connection)
    ready.append(connection, in: connections)
  }

  @inline(__always)
  mutating func popReady() -> UnsafeMutablePointer<Connection>? { ready.popFirst(in: connections) }

  /// Something happened after which the connection may have something to do earlier than it had.
  @inline(__always)
  mutating func touch(_ connection: UnsafeMutablePointer<Connection>) {
    touched.append(connection, in: connections)
  }

  /// A number nobody can guess without the seed.
  mutating func random() -> UInt64 {
    randomState = mix(randomState)
    return mix(randomState ^ configuration.seed)
  }

  /// Whether packets with new payload may be made.
  var hasSlots: Bool { sentPackets.available > 0 && hasFrameSlots }

  /// Whether a frame with new payload leaves enough for what must be answered.
  @inline(__always)
  var hasFrameSlots: Bool { sentFrames.available > UInt32(Self.controlReserve(configuration)) }

  /// The connection waits for a slot that others have in use.
  mutating func noteShortage(_ connection: UnsafeMutablePointer<Connection>) {
    shortOfSlots.append(connection, in: connections)
  }

  /// There are slots again: some of those that waited for one may go on, the longest waiting first.
  mutating func endShortage() {
    var turns = 32
    while turns > 0, let connection = shortOfSlots.popFirst(in: connections) {
      if connection.pointee.state != .idle { markReady(connection) }
      turns -= 1
    }
  }

  // MARK: State

  /// Whether `pollTransmit` may have something.
  @inline(__always)
  package var wantsTransmit: Bool { !ready.isEmpty || !answers.isEmpty || (isShortOfSlots && hasSlots) }

  @inline(__always)
  var isShortOfSlots: Bool { !shortOfSlots.isEmpty }

  /// Nothing of this side's is unacknowledged or unsent. O(1) while that is not so, O(connections) in all to find out
  /// that it is.
  package var isDrained: Bool {
    mutating get {
      for _ in 0..<connectionCount {
        if undrained >= connectionCount { undrained = 0 }
        guard Self.isDrained(connections[undrained]) else { return false }
        undrained += 1
      }
      return answers.isEmpty
    }
  }

  private static func isDrained(_ connection: UnsafeMutablePointer<Connection>) -> Bool {
    connection.pointee.operations.isEmpty && connection.pointee.responses.isEmpty && connection.pointee.sent.isEmpty
      && !connection.pointee.needsClose && connection.pointee.control.isEmpty && connection.pointee.retransmit.isEmpty
      && !connection.pointee.acknowledgeNow
  }

  /// Nothing is in flight, queued, held or timed: the endpoint will do nothing until it is called.
  package var isQuiet: Bool {
    mutating get {
      let usage = usage
      return isDrained && acknowledgementsOwed == 0 && ready.isEmpty && usage.operations == 0 && usage.inbound == 0
        && usage.frames == 0 && usage.packets == 0 && usage.ranges == 0 && usage.staged == 0 && usage.scatters == 0
    }
  }

  /// What is in use of each slab: all zero when nothing is under way.
  package var usage: TransportUsage {
    TransportUsage(
      operations: operations.count, inbound: inbound.count, scatters: scatters.count, frames: sentFrames.count,
      packets: sentPackets.count, ranges: ranges.count, staged: staged.count)
  }
}

/// A connection that failed, and how.
struct Failure: BitwiseCopyable {
  var connection: ConnectionIndex
  var status: TransportStatus
}

/// A handshake or reset packet that is due to somebody who is no connection yet.
struct Answer: BitwiseCopyable {
  var kind: PacketKind
  var address: PeerAddress
  var connection: UInt32
  var session: UInt64
  /// CHALLENGE: the cookie.
  var cookie = Cookie(time: 0, code: 0)
  /// RESET: the initiator may try again.
  var mayRetry = false
  /// RESET: the initiator's key is none of this side's.
  var isUnauthorized = false
}
