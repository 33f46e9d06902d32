import CFabric
import Transport

/// A message on its way into a receive that another provider owns, from its arrival to the end of the owner's entry. In
/// one list of ``ImportedReceives`` at a time.
struct ImportedMessage {
  /// Tells these from what other providers keep in their entries.
  let signature: UInt
  var next: ImportedMessages.Pointer?
  var previous: ImportedMessages.Pointer?
  /// The owner's; nil as long as it was not asked.
  var entry: UnsafeMutablePointer<fi_peer_rx_entry>?
  let port: Unmanaged<Port>
  let receives: Unmanaged<ImportedReceives>
  /// What the transport calls it while it holds it.
  var handle: MessageHandle = 0
  var stage = Stage.arrived
  let connection: ConnectionIndex
  let flags: OperationFlags
  let tag: UInt64
  let data: UInt64
  var length: UInt64
  /// How it ended; of one that is `queued`, that it is lost.
  var status = TransportStatus.ok

  enum Stage {
    /// The owner was not asked yet: nobody who may call it has polled since.
    case arrived
    /// No receive was posted for it: the owner has it among its unexpected messages.
    case queued
    /// The owner has a receive for it, and it waits for room in the completion queue.
    case started
    /// On its way into the receive.
    case arriving
    /// Over; the owner was not told yet.
    case finished
  }

  /// Begins `Port`'s dialogue with the owner about a message that starts.
  init(_ event: UnsafePointer<Event>, at port: Port, in receives: ImportedReceives) {
    signature = Self.signature
    self.port = .passUnretained(port)
    self.receives = .passUnretained(receives)
    connection = event.pointee.connection
    flags = event.pointee.flags
    tag = event.pointee.tag
    data = event.pointee.data
    length = event.pointee.length
  }

  static var signature: UInt { 0x8050_4C46_5352_5831 }
}

/// Messages in order, by their own links.
struct ImportedMessages {
  typealias Pointer = UnsafeMutablePointer<ImportedMessage>

  private(set) var first: Pointer?
  private var last: Pointer?

  var isEmpty: Bool { first == nil }

  mutating func append(_ message: Pointer) {
    message.pointee.next = nil
    message.pointee.previous = last
    if let last { last.pointee.next = message } else { first = message }
    last = message
  }

  mutating func remove(_ message: Pointer) {
    let next = message.pointee.next
    let previous = message.pointee.previous
    if let previous { previous.pointee.next = next } else { first = next }
    if let next { next.pointee.previous = previous } else { last = previous }
  }
}

/// The receives of another provider, the owner, which this one serves as a peer: the owner has the posted receives and
/// the unexpected messages, and matches them (FI_PEER at fi_srx_context).
///
/// The owner is only called from within calls that poll, such as fi_cq_read, because it takes its own locks before it
/// makes those; what arrives at other times waits here. Its entries name the messages here, so these stay where they
/// are. Protected by the engine's lock, which is held when the owner is called, except in ``updateSources()``.
///
/// Man page: fi_peer(3), "Peer SRX"
package final class ImportedReceives {
  let srx: UnsafeMutablePointer<fid_peer_srx>
  private let engine: Unmanaged<ProgressEngine>
  /// By stage: `arrived`; `started` and `finished`; all others.
  private var arrived = ImportedMessages()
  private var ready = ImportedMessages()
  private var quiet = ImportedMessages()

  /// Takes the place of a `fid_peer_srx`, which outlives this.
  init(_ srx: UnsafeMutablePointer<fid_peer_srx>, engine: ProgressEngine) {
    self.srx = srx
    self.engine = .passUnretained(engine)
  }

  /// The context that a `struct fi_peer_srx_context` names; only that outlives the call. Throws FI_EINVAL for an
  /// incomplete one.
  static func owner(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> UnsafeMutablePointer<fid_peer_srx> {
    guard let context = context?.assumingMemoryBound(to: fi_peer_srx_context.self),
      context.pointee.size >= MemoryLayout<fi_peer_srx_context>.size, let owner = context.pointee.srx,
      let operations = owner.pointee.owner_ops?.pointee, operations.size >= MemoryLayout<fi_ops_srx_owner>.size,
      operations.get_msg != nil, operations.get_tag != nil, operations.queue_msg != nil, operations.queue_tag != nil,
      operations.free_entry != nil
    else {
      throw .invalidArgument.because(.endpointControl, "FI_PEER without receives to serve", in: "fi_srx_context")
    }
    return owner
  }

  private var owner: UnsafeMutablePointer<fi_ops_srx_owner> { srx.pointee.owner_ops }

  /// Whether the owner may be called now, and has been told of everything that came before.
  var isUpToDate: Bool {
    arrived.isEmpty && engine._withUnsafeGuaranteedRef { $0.mayCallOwners }
  }

  // MARK: The owner's calls

  /// What the owner says about a message that starts.
  enum Answer {
    case receive(UnsafeMutablePointer<fi_peer_rx_entry>)
    case unexpected(UnsafeMutablePointer<fi_peer_rx_entry>)
    /// It cannot say now.
    case later
    /// It takes no such messages.
    case never
  }

  func ask(tagged isTagged: Bool, tag: UInt64, from source: UInt64, length: UInt64) -> Answer {
    var attributes = fi_peer_match_attr(addr: source, msg_size: Int(clamping: length), tag: isTagged ? tag : 0)
    var entry: UnsafeMutablePointer<fi_peer_rx_entry>?
    let result =
      isTagged
      ? owner.pointee.get_tag(srx, &attributes, &entry) : owner.pointee.get_msg(srx, &attributes, &entry)
    switch (result, entry) {
    case (0, let entry?): return .receive(entry)
    case (-FI_ENOENT, let entry?): return .unexpected(entry)
    case (-FI_ENOMEM, _), (-FI_EAGAIN, _): return .later
    default: return .never
    }
  }

  /// Leaves a message to the owner until it has a receive for it; false if it takes it not.
  func queue(_ message: ImportedMessages.Pointer, as entry: UnsafeMutablePointer<fi_peer_rx_entry>) -> Bool {
    entry.pointee.peer_context = UnsafeMutableRawPointer(message)
    entry.pointee.msg_size = Int(clamping: message.pointee.length)
    if message.pointee.flags.contains(.remoteData) {
      entry.pointee.flags |= FI_REMOTE_CQ_DATA
      entry.pointee.cq_data = message.pointee.data
    }
    let isTagged = message.pointee.flags.contains(.tagged)
    let result = isTagged ? owner.pointee.queue_tag(entry) : owner.pointee.queue_msg(entry)
    guard result == 0 else {
      owner.pointee.free_entry(entry)
      return false
    }
    message.pointee.entry = entry
    return true
  }

  func free(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>) { owner.pointee.free_entry(entry) }

  /// Has the owner ask again for the sources of unexpected messages that were not in the address vector when they came.
  /// The engine's lock is not held.
  func updateSources(_ source: @convention(c) (UnsafeMutablePointer<fi_peer_rx_entry>?) -> UInt64) {
    owner.pointee.foreach_unspec_addr?(srx, source)
  }

  // MARK: Messages

  /// A message that starts, in no list yet.
  func makeMessage(_ event: UnsafePointer<Event>, at port: Port) -> ImportedMessages.Pointer {
    let message = ImportedMessages.Pointer.allocate(capacity: 1)
    message.initialize(to: ImportedMessage(event, at: port, in: self))
    return message
  }

  /// Puts a message into the list of its stage.
  func file(_ message: ImportedMessages.Pointer, _ stage: ImportedMessage.Stage) {
    message.pointee.stage = stage
    switch stage {
    case .arrived: arrived.append(message)
    case .started, .finished: ready.append(message)
    case .queued, .arriving: quiet.append(message)
    }
  }

  /// Moves a message to the end of another list.
  func refile(_ message: ImportedMessages.Pointer, _ stage: ImportedMessage.Stage) {
    unfile(message)
    file(message, stage)
  }

  /// Takes a message out of its list.
  func unfile(_ message: ImportedMessages.Pointer) {
    switch message.pointee.stage {
    case .arrived: arrived.remove(message)
    case .started, .finished: ready.remove(message)
    case .queued, .arriving: quiet.remove(message)
    }
  }

  /// Does what had to wait for a call that polls: what the owner has receives for goes on, what is over is told, and new
  /// messages are put to the owner, in order.
  func serve() {
    var next = ready.first
    while let message = next {
      next = message.pointee.next
      message.pointee.port._withUnsafeGuaranteedRef { $0.resume(message, in: self) }
    }
    while let message = arrived.first {
      guard message.pointee.port._withUnsafeGuaranteedRef({ $0.ask(message, in: self) }) else { break }
    }
  }

  /// Ends all messages of a port that goes away. The owner gets its entries back.
  func endAll(at port: Port) {
    for list in [arrived, ready, quiet] {
      var next = list.first
      while let message = next {
        next = message.pointee.next
        guard message.pointee.port.toOpaque() == Unmanaged.passUnretained(port).toOpaque() else { continue }
        port.end(message, in: self)
      }
    }
  }
}
