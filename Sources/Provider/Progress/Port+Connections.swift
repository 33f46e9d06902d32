import CFabric
import Datagram
import Packet
import Transport

// What connected endpoints and those that listen do besides transferring data. Others pay one branch on a value that is
// zero for them.
//
// The messages of connection management travel as those of programs do, to a context of their own. Until the one peer is
// known, and after it is gone, nothing that a session brings meets receives or memory regions.
extension Port {
  /// In `routing`: the peer is not known yet, or others may have sessions.
  static var unconnected: UInt16 { 2 }

  /// Whether an event is that of the one peer, or the port takes those of all.
  @inline(__always)
  func isFromPeer(_ event: UnsafePointer<Event>) -> Bool {
    routing & Self.unconnected == 0 || event.pointee.connection == peer
  }

  /// What an operation to nobody returns.
  var noConnection: Int { binding.addresses == nil ? -Int(FI_ENOTCONN) : Int(-FI_EINVAL) }

  // MARK: For the manager

  /// Has its connections managed from now on. Without a peer nothing comes or goes.
  package func manage(by manager: any ConnectionManager) {
    self.manager = manager
    routing |= Self.unconnected
  }

  /// Its connections are nobody's any more.
  package func endManagement() { manager = nil }

  /// Sends a message about a connection, and keeps its session alive until that ends. Its manager hears of the end.
  /// Throws FI_EAGAIN when too much is under way.
  package func send(_ message: ConnectionMessage, on connection: ConnectionIndex) throws(FabricError) {
    let isPosted = withUnsafeTemporaryAllocation(byteCount: ConnectionMessage.maximumSize, alignment: 8) { memory in
      let start = memory.baseAddress!
      var writer = ByteWriter(start: start, end: start + memory.count)
      message.encode(&writer)
      var slice = Slice(base: start, count: writer.position - start)
      let reported = OperationContext(internal: UInt(message.kind.rawValue), for: ReceiveContext.connections)
      var operation = Operation(
        kind: .message, flags: [.inject, .deliveryComplete], slices: &slice, sliceCount: 1, cookie: reported.cookie)
      operation.context = ReceiveContext.connections
      return postInternal(operation, on: connection)
    }
    guard isPosted else { throw .tryAgain }
    transport.keepAlive(connection)
    flush(Clock.now())
  }

  /// From now on the session of `peer` is the connection; no other peer begins one.
  package func connect(to peer: ConnectionIndex) {
    self.peer = peer
    internalDeadline = .max
  }

  /// No session but the peer's is left, so that what comes needs no closer look.
  package func trustAll() { routing &= ~Self.unconnected }

  /// The connection is over: nothing comes and goes any more, and receives that wait are cancelled.
  package func disconnect() {
    peer = nil
    routing |= Self.unconnected
    internalDeadline = .max
    transport.close(now: Clock.now())
    if !isSharing { context._withUnsafeGuaranteedRef { $0.refuseAll() } }
  }

  /// Ends what is under way although peers have not agreed to it.
  package func abandon() {
    let now = Clock.now()
    guard batch.isEmpty || sendBatch(now) else { return dropAndAbandon(now) }
    transport.abandon(now: now)
    drain(now)
  }

  private func dropAndAbandon(_ now: Instant) {
    dropBatch()
    transport.abandon(now: now)
    drain(now)
  }

  // MARK: From the transport

  /// Lets the manager take a message. Returns false for what is none, and where nobody manages connections.
  func takeConnectionMessage(_ event: UnsafePointer<Event>) -> Bool {
    guard let payload = event.pointee.payload, !event.pointee.flags.contains(.tagged),
      let message = ConnectionMessage(
        UnsafeRawBufferPointer(start: payload, count: Int(truncatingIfNeeded: event.pointee.length)))
    else { return false }
    return Management.received(message, from: event.pointee.connection, at: self)
  }

  /// A message about a connection is over.
  func connectionMessageEnded(_ operation: OperationContext, _ status: TransportStatus) {
    guard let kind = ConnectionMessageKind(rawValue: UInt8(truncatingIfNeeded: operation.context)) else { return }
    Management.sent(kind, status, at: self)
  }
}
