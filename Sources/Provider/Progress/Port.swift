import CFabric
import CPlatform
import Containers
import Datagram
import Transport

/// An enabled endpoint as the progress engine sees it: a UDP socket, the transport on it, and what completions and
/// matching need. `Endpoint` owns it; the engine pumps it.
///
/// The objects it refers to are kept alive by the endpoint, so references are unmanaged: nothing on the way of a message
/// is retained or released. Everything is protected by the engine's lock.
package final class Port {
  /// What the port works for; each outlives the port.
  package struct Binding {
    package var domain: Unmanaged<Domain>
    package var engine: Unmanaged<ProgressEngine>
    /// Nil where peers have no addresses: of connected endpoints, and of those that listen.
    package var addresses: Unmanaged<AddressVector>?
    package var transmitQueue: Unmanaged<CompletionQueue>
    package var receiveQueue: Unmanaged<CompletionQueue>
    package var counters: BoundCounters
    /// Of the address vector.
    var generation: UnsafePointer<UInt32>

    /// One completion queue may be missing; its operations are then refused.
    package init(
      domain: Domain, addresses: AddressVector?, transmitQueue: CompletionQueue, receiveQueue: CompletionQueue,
      counters: BoundCounters = BoundCounters()
    ) {
      self.domain = .passUnretained(domain)
      self.engine = .passUnretained(domain.engine)
      self.addresses = addresses.map { .passUnretained($0) }
      generation = addresses.map { UnsafePointer($0.generationCell) } ?? noGeneration
      self.transmitQueue = .passUnretained(transmitQueue)
      self.receiveQueue = .passUnretained(receiveQueue)
      self.counters = counters
    }
  }

  private(set) var binding: Binding
  package let options: EndpointOptions
  /// What is counted at all, see Port+Counters; operations of transmit contexts too, whose ends are told one by one.
  let countsOperations: Bool
  private(set) var countsRemotes: Bool
  /// FI_COMPLETION where every operation's end is counted and none may be silent, else 0.
  let countedFlags: UInt64
  /// Context 0, where messages and receives meet; `ownContext` keeps it alive. Of a scalable endpoint nothing meets there.
  package let context: Unmanaged<ReceiveContext>
  private let ownContext: ReceiveContext
  /// Of a scalable endpoint.
  let contexts: Unmanaged<ContextTable>?
  let reportsUnknownSources: Bool
  /// Other ports have the same context 0.
  let isSharing: Bool
  /// 0 where messages without context are for `context`, and that for no other port's, and only the one peer has a session
  /// if there is one.
  var routing: UInt16
  /// Of a connected endpoint, or one that listens: who manages connections; see Port+Connections. Nil for all others.
  package var manager: (any ConnectionManager)?
  /// Of a connected endpoint, while it is connected: the one peer.
  package internal(set) var peer: ConnectionIndex?
  /// Of the endpoint, if there is one.
  var profile: Unmanaged<Profile>?
  /// Receives of the shared context that messages of this port are arriving in.
  var sharedReceives = IndexList()
  var socket: UDPSocket
  let asksWhoIsSilent: Bool
  var transport: TransportEndpoint
  var regionTransfers: RegionTransferTable
  var peers = PeerCache()
  /// Operations that may be in flight at once; with a shared transmit context, as far as that has given leave.
  var transmitLimit: Int
  private let sharedTransmits: Unmanaged<SharedTransmitContext>?
  /// Posted operations whose completion is due.
  package internal(set) var outstanding = 0
  /// The same of the provider's own messages, of which no program knows; and when there is something to do about them.
  package internal(set) var internalOutstanding = 0
  var internalDeadline: Instant = .max
  /// With FI_COLLECTIVE; `ownCollectives` keeps it alive.
  private(set) var collectives: Unmanaged<Collectives>?
  private var ownCollectives: Collectives?

  /// The socket's second descriptor as far as sleepers know; -1 while there is none.
  var hotDescriptor: Int32 = -1

  // What is on its way out.
  var batch = TransmitBatch()
  let outgoing: UnsafeMutablePointer<OutgoingDatagrams>
  /// Transmits of the batch that went out, and segments of the next one.
  var sentTransmits = 0
  var sentSegments = 0
  /// Since when the socket takes nothing; 0 while it does.
  var blockedSince: Instant = 0
  /// Bytes, and operations, posted and not yet offered to the socket; and those of them whose end waits for the peer.
  var queuedBytes = 0
  var queuedOperations = 0
  var queuedWaiting = 0
  /// When that was, in `Ticks`: programs that send without polling have it done again a moment later.
  var lastFlush: UInt64 = 0
  /// Rounds in a row that sent something and did not look at the socket.
  var unheardRounds: UInt8 = 0

  /// Where a part of the first of them was received to.
  var placement: Placement?

  // Where the batch of received datagrams is being worked on.
  var inputCount = 0
  var inputIndex = 0
  var inputOffset = 0
  /// The completion queue is full: the events of the current datagram wait until the program has read.
  var isSuspended = false
  /// The last posted receive was taken in this round, which ends with it.
  var isPaused = false
  /// Room in the receive queue for a completion that no receive was posted for alone: of a write, or of one of the messages
  /// in a buffer for many.
  var hasSpareCompletion = false
  private(set) var takesRemoteWrites: Bool
  /// Completions come that nobody set room aside for: of such writes, of messages in a buffer for many, of
  /// receives in a shared context.
  var needsSpareCompletion: Bool

  /// `shared`, `sharedTransmits`: contexts of several ports that are this one's as well; `contexts`: those of a scalable
  /// endpoint. They outlive the port.
  package init(
    binding: Binding, options: EndpointOptions, socket: consuming UDPSocket, configuration: TransportConfiguration,
    sharing shared: ReceiveContext? = nil, transmits sharedTransmits: SharedTransmitContext? = nil,
    contexts: ContextTable? = nil
  ) {
    self.binding = binding
    self.options = options
    reportsUnknownSources = options.reportsUnknownSources
    countsOperations = binding.counters.countTransmits || contexts != nil
    // The counters of regions count through endpoints with this capability.
    countsRemotes = binding.counters.countRemotes || options.capabilities & FI_RMA_EVENT != 0
    countedFlags = countsOperations ? FI_COMPLETION : 0
    let address = PeerAddress(words: socket.localAddress.words)
    asksWhoIsSilent = socket.asksWhoIsSilent
    self.socket = socket
    self.socket.scratch = batch.memory
    transport = TransportEndpoint(configuration: configuration, localAddress: address)
    ownContext =
      shared
      ?? ReceiveContext(
        number: 0, engine: binding.engine, queue: binding.receiveQueue, counter: binding.counters.receive,
        options: options, messages: contexts == nil ? configuration.inboundTransfers : 1)
    if binding.counters.receive != nil { ownContext.isCounted = true }
    isSharing = shared != nil
    self.contexts = contexts.map { .passUnretained($0) }
    routing = shared == nil && contexts == nil ? 0 : 1
    self.sharedTransmits = sharedTransmits.map { .passUnretained($0) }
    transmitLimit = options.transmitQueueSize
    context = .passUnretained(ownContext)
    regionTransfers = RegionTransferTable(capacity: configuration.inboundTransfers + 4 * configuration.maximumReads)
    outgoing = .allocate(capacity: TransmitBatch.maximumTransmits)
    takesRemoteWrites =
      contexts == nil && options.hasReceiveQueue && options.capabilities & FI_REMOTE_WRITE != 0
    needsSpareCompletion = takesRemoteWrites || shared != nil
    ownContext.attach(self, messages: configuration.inboundTransfers)
    sharedTransmits?.attach(self)
    if options.capabilities & FI_COLLECTIVE != 0 && contexts == nil {
      let made = Collectives(self, messages: configuration.inboundTransfers)
      ownCollectives = made
      collectives = .passUnretained(made)
    }
  }

  deinit { outgoing.deallocate() }

  package var descriptor: Int32 { socket.descriptor }
  package var localAddress: SocketAddress { socket.localAddress }
  /// When to pump although no descriptor says so.
  package var nextTimeout: Instant { min(transport.nextTimeout(), socket.nextDelivery, internalDeadline) }

  /// Whether a pump has something to do that no descriptor and no timer will tell of.
  package var hasWork: Bool { transport.wantsTransmit || !batch.isEmpty || inputIndex < inputCount }

  /// Operations that may still be posted.
  package var operationsLeft: Int {
    lock()
    defer { unlock() }
    if let sharedTransmits { return sharedTransmits._withUnsafeGuaranteedRef { $0.operationsLeft } }
    return transmitLimit - outstanding
  }

  /// Peers' access to memory is counted, and told where it brings data, as one receive context of a scalable endpoint has
  /// it; `counters` is empty and `isTold` false when that is closed.
  func tellRemoteAccess(_ counters: BoundCounters, isTold: Bool) {
    binding.counters = counters
    countsRemotes = counters.countRemotes || options.capabilities & FI_RMA_EVENT != 0
    takesRemoteWrites = isTold
  }

  /// Whether one more operation may be in flight than `transmitLimit` says.
  @inline(never)
  func mayExceedLimit() -> Bool {
    sharedTransmits.map { $0._withUnsafeGuaranteedRef { $0.extend(self) } } ?? false
  }

  // MARK: References

  @inline(__always)
  func lock() { binding.engine._withUnsafeGuaranteedRef { $0.lock() } }
  @inline(__always)
  func unlock() { binding.engine._withUnsafeGuaranteedRef { $0.unlock() } }

  @inline(__always)
  var addressGeneration: UInt32 { binding.generation.pointee }

  /// The connection to an entry of the address vector; nil for an address that is not there.
  /// Which of the peer's receive contexts the address names does not matter.
  @inline(__always)
  func connection(to address: UInt64) -> ConnectionIndex? {
    if let connection = peers.connection(to: address, generation: addressGeneration) { return connection }
    return lookUpConnection(address)
  }

  @inline(never)
  private func lookUpConnection(_ name: UInt64) -> ConnectionIndex? {
    guard let addresses = binding.addresses else { return peer }
    let address = addresses._withUnsafeGuaranteedRef { $0.number(of: name) }
    if let connection = peers.connection(to: address, generation: addressGeneration) { return connection }
    guard let found = addresses._withUnsafeGuaranteedRef({ $0.address(address) }) else { return nil }
    let connection = transport.connection(to: PeerAddress(words: found.words))
    if let key = addresses._withUnsafeGuaranteedRef({ $0.authorization(of: address) }) {
      transport.authorize(connection, key)
    }
    peers.note(connection, to: address, generation: addressGeneration)
    return connection
  }

  /// The entry of the address vector that a connection comes from, or FI_ADDR_NOTAVAIL.
  @inline(__always)
  func source(of connection: ConnectionIndex) -> UInt64 {
    if let address = peers.source(of: connection, generation: addressGeneration) { return address }
    return lookUpSource(connection)
  }

  @inline(never)
  private func lookUpSource(_ connection: ConnectionIndex) -> UInt64 {
    let peer = SocketAddress(words: transport.address(of: connection).words)
    let address = binding.addresses?._withUnsafeGuaranteedRef { $0.source(peer) } ?? unavailableAddress
    peers.note(source: address, of: connection, generation: addressGeneration)
    return address
  }

  // MARK: Ending

  /// Asks all peers to let go; keep pumping until `isDrained`, or give up.
  package func startClosing() { transport.close(now: Clock.now()) }

  package var isDrained: Bool { transport.isDrained && batch.isEmpty }
  /// No operation of the program, or of the provider for it, is under way.
  var isIdle: Bool { outstanding + internalOutstanding == 0 }

  /// Pumps until `isDone`, or for so many nanoseconds. The engine's lock is held, and released while this waits.
  func linger(forAtMost time: UInt64, until isDone: () -> Bool) {
    let deadline = Clock.now() &+ time
    while !isDone() {
      let now = Clock.now()
      _ = pump(now)
      if isDone() || now >= deadline { return }
      let wake = min(nextTimeout, deadline, now &+ Self.longestPause)
      unlock()
      var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      if wake > now { _ = platform_poll(&entry, 1, Int32((wake - now + 999_999) / 1_000_000)) }
      lock()
    }
  }

  /// Nanoseconds.
  private static var longestPause: UInt64 { 5_000_000 }

  /// Gives up the room that was set aside for completions which will not come (fi_close discards them silently).
  package func releaseReservations() {
    for _ in 0..<outstanding { binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
    outstanding = 0
    collectives?._withUnsafeGuaranteedRef { $0.releaseReservations() }
    sharedTransmits?._withUnsafeGuaranteedRef { $0.detach(self) }
    if isSharing { leaveShared() } else { ownContext.releaseReservations() }
    // Each context of a scalable endpoint has its own.
    if hasSpareCompletion && contexts == nil { binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
    hasSpareCompletion = false
    regionTransfers.endAll(in: binding.domain)
  }
}

/// What stands for the generation of an address vector where there is none.
private nonisolated(unsafe) let noGeneration: UnsafePointer<UInt32> = {
  let cell = UnsafeMutablePointer<UInt32>.allocate(capacity: 1)
  cell.initialize(to: 1)
  return UnsafePointer(cell)
}()
