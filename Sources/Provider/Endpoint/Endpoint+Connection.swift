import CFabric
import CPlatform
import Datagram
import Packet
import Transport

/// How far the connection of an endpoint is.
enum ConnectionPhase {
  case unconnected
  /// The request was sent.
  case connecting
  /// At the accepting side as soon as the acceptance was sent.
  case connected
  /// Refused, ended by either side, or lost: there is no other.
  case over
}

/// The connection of an FI_EP_MSG endpoint; of others it stays unconnected.
struct EndpointConnection {
  var phase = ConnectionPhase.unconnected
  /// What the endpoint was made for, if it accepts.
  let request: ConnectionRequest?
  /// Names the connection to both sides, and lets the accepting one in.
  private(set) var identifier: UInt64
  /// The session with the listener, as long as it lasts.
  var listener: ConnectionIndex?
  /// The listener has the request.
  var isQueued = false
  /// Where the program connected to, or the client.
  var peerAddress = SocketAddress()

  init(_ request: ConnectionRequest?) {
    self.request = request
    identifier = request?.identifier ?? 0
  }

  /// The identifier, new for one that connects. Throws what the kernel's random numbers may.
  mutating func makeIdentifier() throws(FabricError) -> UInt64 {
    if identifier != 0 { return identifier }
    do throws(SystemError) { identifier = max(try Random.word(), 1) } catch { throw FabricError(code: error.code) }
    return identifier
  }
}

// What is special about FI_EP_MSG: fi_cm(3).
extension Endpoint: ConnectionManager {
  /// Asks the listener at an address for a connection, and enables the endpoint. FI_CONNECTED or an error entry follows.
  /// Of `data` only as much goes along as the listener can be told.
  ///
  /// Throws FI_EINVAL for another family, and for an endpoint that was connected before or is there to accept, FI_ENOEQ,
  /// and what `enable` does.
  package func connect(to address: SocketAddress, _ data: UnsafeRawBufferPointer) throws(FabricError) {
    guard type == .msg else { throw .notImplemented }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard connection.phase == .unconnected, connection.request == nil else {
      throw refuse("the endpoint was connected before, or has a request to accept", in: "fi_connect")
    }
    guard address.family == addressFamily, address.port != 0 else {
      throw refuse("the peer's address is of another family, or has no port", in: "fi_connect")
    }
    let port = try prepareToConnect(in: "fi_connect")
    let listener = port.transport.connection(to: PeerAddress(words: address.words))
    port.transport.authorize(listener, options.key?.digest ?? 0)
    try begin(.request, data, on: listener, at: port)
    connection.listener = listener
    connection.peerAddress = address
    connection.phase = .connecting
  }

  /// Accepts the request that the endpoint was made for, and enables it. FI_CONNECTED is told at once, as with upstream's
  /// providers over TCP, since a client that knows that it is connected may connect again, and programs expect to hear of
  /// things in the order in which they happen. FI_SHUTDOWN follows if the client is gone. `data` as with
  /// ``connect(to:_:)``.
  ///
  /// Throws FI_EINVAL for an endpoint made for no request, or one that was answered, FI_ENOEQ, and what `enable` does.
  package func accept(_ data: UnsafeRawBufferPointer) throws(FabricError) {
    guard type == .msg else { throw .notImplemented }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard connection.phase == .unconnected, let request = connection.request else {
      throw refuse("the endpoint has no request to accept", in: "fi_accept")
    }
    let port = try prepareToConnect(in: "fi_accept")
    guard ConnectionHandles.take(request) else { throw refuse("the request was answered", in: "fi_accept") }
    let client = port.transport.connection(to: PeerAddress(words: request.client.words))
    do throws(FabricError) {
      try begin(.accept, data, on: client, at: port)
    } catch {
      ConnectionHandles.add(request)
      throw error
    }
    port.connect(to: client)
    // Only who knows the identifier has a session with this endpoint.
    port.trustAll()
    connection.peerAddress = request.client
    connection.phase = .connected
    report(UInt32(FI_CONNECTED))
  }

  private func prepareToConnect(in call: StaticString) throws(FabricError) -> Port {
    if eventQueue == nil { throw refuse("no event queue is bound", in: call, .noEventQueue) }
    if port == nil { try enableLocked() }
    return port.unsafelyUnwrapped
  }

  private func begin(
    _ kind: ConnectionMessageKind, _ data: UnsafeRawBufferPointer, on session: ConnectionIndex, at port: Port
  ) throws(FabricError) {
    try eventQueue?.attach(domain.engine)
    do throws(FabricError) {
      try port.send(
        ConnectionMessage(kind: kind, identifier: connection.identifier, data: data.fitting), on: session)
    } catch {
      eventQueue?.detach(domain.engine)
      throw error
    }
  }

  /// Ends the connection in good order, as `close` does: what was sent arrives if the peer answers within a second.
  /// Operations that did not end by then, and receives that wait, are cancelled. FI_SHUTDOWN is told at both sides.
  ///
  /// Throws FI_EBADFLAGS for any flag, FI_ENOTCONN for an endpoint that never was connected.
  package func shutdown(flags: UInt64) throws(FabricError) {
    guard type == .msg else { throw .notImplemented }
    if flags != 0 { throw .badFlags }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard let port, connection.phase != .unconnected else {
      throw FabricError(code: FI_ENOTCONN).because(.endpointControl, "the endpoint is not connected", in: "fi_shutdown")
    }
    if connection.phase == .over { return }
    let wasConnected = connection.phase == .connected
    connection.phase = .over
    port.peer = nil
    port.routing |= Port.unconnected
    if wasConnected { port.linger() }
    if !wasConnected || port.outstanding > 0 { port.abandon() }
    port.disconnect()
    report(UInt32(FI_SHUTDOWN))
  }

  /// The peer's address. Throws FI_ENOTCONN before there is a connection.
  package func peerName() throws(FabricError) -> SocketAddress {
    guard type == .msg else { throw .notImplemented }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    switch connection.phase {
    case .connected, .over: return connection.peerAddress
    case .unconnected, .connecting: throw FabricError(code: FI_ENOTCONN)
    }
  }

  /// A part of `close`. The engine's lock is held.
  func closeConnection() {
    guard let port, type == .msg else { return }
    port.endManagement()
    if connection.phase != .unconnected { eventQueue?.detach(domain.engine) }
    // Who has not answered yet is not waited for.
    if connection.phase == .connecting && !connection.isQueued { port.abandon() }
  }

  // MARK: ConnectionManager

  package func received(_ message: ConnectionMessage, from session: ConnectionIndex, at port: Port) -> Bool {
    guard connection.phase == .connecting, message.identifier == connection.identifier else { return false }
    switch message.kind {
    case .request: return false
    case .accept:
      guard session != connection.listener else { return false }
      connection.phase = .connected
      port.connect(to: session)
      port.transport.keepAlive(session)
      if let listener = connection.listener { port.transport.close(listener) } else { port.trustAll() }
      report(UInt32(FI_CONNECTED), data: message.data)
      return true
    case .reject:
      guard session == connection.listener else { return false }
      fail(FI_ECONNREFUSED, FI_ECONNREFUSED, data: message.data)
      return true
    }
  }

  package func sent(_ kind: ConnectionMessageKind, _ status: TransportStatus, at port: Port) {
    switch connection.phase {
    case .connecting where kind == .request:
      connection.isQueued = status == .ok
      if status != .ok { fail(status) }
    case .connected where kind == .request:
      // The acceptance has overtaken that; before, there was no session to end yet.
      if let listener = connection.listener { port.transport.close(listener) }
    case .connected where kind == .accept && status != .ok: end(at: port)
    default: break
    }
  }

  package func ended(_ session: ConnectionIndex, _ status: TransportStatus, at port: Port) {
    if session == connection.listener {
      connection.listener = nil
      if connection.phase == .connected { return port.trustAll() }
      guard connection.phase == .connecting else { return }
      if status != .closed { return fail(status) }
      // Its program may have made an endpoint for the request, which has yet to answer.
      let patience = milliseconds(UInt64(port.transport.configuration.maximumSilence))
      port.scheduleInternalWork(at: Clock.now() &+ patience)
    } else if session == port.peer && connection.phase == .connected {
      end(at: port)
    }
  }

  package func timedOut(at port: Port) {
    if connection.phase == .connecting { fail(.timedOut) }
  }

  /// The connection is over, and not by this side.
  private func end(at port: Port) {
    connection.phase = .over
    port.disconnect()
    report(UInt32(FI_SHUTDOWN))
  }

  /// The attempt has failed: nobody listens there, or nobody answers.
  private func fail(_ status: TransportStatus) {
    switch status {
    case .timedOut: fail(FI_ETIMEDOUT, FI_ETIMEDOUT)
    case .reset: fail(FI_ECONNRESET, FI_ECONNRESET)
    default: fail(FI_ECONNREFUSED, TransferError.code(status))
    }
  }

  private func fail(_ code: Int32, _ providerCode: Int32, data: UnsafeRawBufferPointer = noData) {
    connection.phase = .over
    port?.disconnect()
    var entry = fi_eq_err_entry()
    entry.fid = fid
    entry.context = fid?.pointee.context
    entry.err = code
    entry.prov_errno = providerCode
    do throws(FabricError) { try eventQueue?.report(entry, data: data) } catch {
      Log.warn(.endpointControl, "no memory to tell of a connection that failed")
    }
  }

  private func report(_ event: UInt32, data: UnsafeRawBufferPointer = noData) {
    do throws(FabricError) { try eventQueue?.report(event: event, fid, data: data) } catch {
      Log.warn(.endpointControl, "no memory to tell of a connection")
    }
  }

  private func refuse(
    _ reason: StaticString, in call: StaticString, _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.endpointControl, reason, in: call)
  }
}

extension UnsafeRawBufferPointer {
  /// As much of a program's data as goes along with a message about a connection.
  var fitting: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: baseAddress, count: Swift.min(count, ConnectionMessage.maximumData))
  }
}
