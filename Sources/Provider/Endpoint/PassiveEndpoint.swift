import CFabric
import CPlatform
import Datagram
import Packet
import Transport

/// An endpoint that listens for connections.
///
/// It belongs to no domain of the program's, and so has one of its own: its port is like any other, driven by its domain's
/// engine, by a helper thread or by calls for the event queue. All state is protected by that engine's lock.
///
/// Man pages: fi_endpoint(3), fi_passive_ep; fi_cm(3), fi_listen
package final class PassiveEndpoint: ConnectionManager {
  private let domain: Domain
  private let queue: CompletionQueue
  /// What it was opened with, as events describe the endpoints to make.
  private let info: UnsafeMutablePointer<fi_info>
  private let key: AuthorizationKey?
  /// The table of the requests' handles.
  let requestOps: UnsafeMutablePointer<fi_ops>
  /// What events of the endpoint name; the handle's, which sets it.
  package var fid: UnsafeMutablePointer<fid>?
  /// Until `listen`; the port has it afterwards.
  private var socket: UDPSocket?
  private var port: Port?
  private var eventQueue: EventQueue?
  /// Requests that may wait for the program.
  private var backlog = PassiveEndpoint.standardBacklog

  /// Opens a passive endpoint as an entry of fi_getinfo describes it, at its source address if there is one. `requestOps`
  /// is the table of its requests' handles.
  ///
  /// Throws FI_EINVAL for another type of endpoint and for attributes that this provider never offers, FI_ENODEV,
  /// FI_EADDRINUSE and others that bind(2) knows, FI_ENOMEM.
  package convenience init(
    _ fabric: Fabric, _ info: UnsafePointer<fi_info>, requestOps: UnsafeMutablePointer<fi_ops>
  ) throws(FabricError) {
    guard info.pointee.ep_attr?.pointee.type == FI_EP_MSG else {
      throw Self.refuse("only endpoints of type FI_EP_MSG listen", in: "fi_passive_ep")
    }
    let copy = try InfoMemory.duplicate(info)
    do throws(FabricError) {
      let domain = try Domain(fabric, info)
      do throws(FabricError) {
        let key = try Endpoint.key(info, domain)
        let hasAddress = info.pointee.src_addr != nil
        let socket = hasAddress ? try EndpointSocket.open(at: Endpoint.sourceAddress(info)) : nil
        self.init(domain, copy, key, requestOps, socket)
      } catch {
        try domain.close()
        throw error
      }
    } catch {
      InfoMemory.free(copy)
      throw error
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ domain: Domain, _ info: UnsafeMutablePointer<fi_info>, _ key: AuthorizationKey?,
    _ requestOps: UnsafeMutablePointer<fi_ops>, _ socket: consuming UDPSocket?
  ) {
    self.domain = domain
    self.info = info
    self.key = key
    self.requestOps = requestOps
    self.socket = consume socket
    queue = CompletionQueue(discardingIn: domain)
    queue.grow(by: 1)
    info.pointee.handle = nil
    ConnectionHandles.add(self)
  }

  deinit { InfoMemory.free(info) }

  /// Binds the event queue. Throws FI_EINVAL when one is bound already.
  package func bind(_ queue: EventQueue) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if eventQueue != nil { throw Self.refuse("an event queue is bound already", in: "fi_pep_bind") }
    queue.addBinding()
    eventQueue = queue
  }

  /// Begins to take requests. Throws FI_EINVAL when it has begun already or its address was given away, FI_ENOEQ, and
  /// what bind(2) knows.
  package func listen() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if port != nil { throw Self.refuse("the endpoint listens already", in: "fi_listen") }
    guard let eventQueue else { throw Self.refuse("no event queue is bound", in: "fi_listen", .noEventQueue) }
    if socket == nil { socket = try EndpointSocket.open(at: Endpoint.sourceAddress(info)) }
    var configuration = try EndpointSocket.configuration(
      for: socket!, transmitQueueSize: 1 + Self.messages, isAutomatic: domain.engine.isAutomatic)
    configuration.inboundTransfers = 64
    configuration.packetsInFlight = 4 * Self.messages
    configuration.eagerLimit = 4096
    configuration.creditWindow = 16 * 1024
    configuration.operationWindow = 64
    configuration.maximumReads = 1
    if let key { configuration.authorizations.append(key.digest) }
    var options = EndpointOptions()
    options.receiveQueueSize = 1
    options.transmitQueueSize = 1
    options.connectionMessages = Self.messages
    let made = Port(
      binding: Port.Binding(domain: domain, addresses: nil, transmitQueue: queue, receiveQueue: queue),
      options: options, socket: socket.take()!, configuration: configuration)
    made.manage(by: self)
    do throws(FabricError) {
      try eventQueue.attach(domain.engine)
      do throws(FabricError) { try domain.engine.add(made) } catch {
        domain.engine.remove(made)
        eventQueue.detach(domain.engine)
        throw error
      }
    } catch {
      made.endManagement()
      throw error
    }
    port = made
  }

  /// Ends the endpoint. Requests that wait for the program are turned down; endpoints that were made for others are not
  /// concerned.
  package func close() throws(FabricError) {
    ConnectionHandles.remove(self)
    for request in ConnectionHandles.waiting(at: self) { request.reject() }
    domain.engine.lock()
    if let port {
      port.endManagement()
      port.linger()
      domain.engine.remove(port)
      port.releaseReservations()
      eventQueue?.detach(domain.engine)
    }
    port = nil
    socket = nil
    eventQueue?.removeBinding()
    eventQueue = nil
    domain.engine.unlock()
    try domain.close()
  }

  // MARK: Names and options

  /// The address that clients connect to. Throws FI_EADDRNOTAVAIL while there is none.
  package func name() throws(FabricError) -> SocketAddress {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard let address = port?.localAddress ?? socket?.localAddress else { throw .addressNotAvailable }
    return address
  }

  /// Moves the endpoint to another address. Throws FI_EOPBADSTATE once it listens, FI_EADDRINUSE and others that bind(2)
  /// knows.
  package func setName(_ address: SocketAddress) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if port != nil { throw Self.refuse("the endpoint listens already", in: "fi_setname", .badState) }
    socket = nil
    socket = try EndpointSocket.open(at: address)
  }

  /// Gives the socket, with its address, to an endpoint. Throws FI_EINVAL when there is none or the endpoint listens.
  func takeSocket() throws(FabricError) -> UDPSocket {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard let taken = socket.take() else {
      throw Self.refuse("the passive endpoint has no address to give away", in: "fi_endpoint")
    }
    return taken
  }

  /// FI_BACKLOG of fi_control: how many requests may wait for the program. Throws FI_EINVAL below 1.
  package func setBacklog(_ count: Int32) throws(FabricError) {
    if count < 1 { throw Self.refuse("the backlog is below 1", in: "fi_control") }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    backlog = Int(count)
  }

  /// Reads an option, as `Endpoint.option` does.
  package func option(_ name: Int32, _ value: UnsafeMutableRawPointer, _ length: inout Int) throws(FabricError) {
    guard Int(name) == Int(FI_OPT_CM_DATA_SIZE) else { throw .noSuchOption }
    try EndpointOptions.store(ConnectionMessage.maximumData, value, &length)
  }

  // MARK: Requests

  /// Turns a request down; `data` as in ``Endpoint/connect(to:_:)``. A request that an endpoint was made for cannot be
  /// accepted any more. Throws FI_EINVAL for what is no request of this endpoint that waits for an answer, FI_EAGAIN.
  package func reject(_ handle: UnsafeMutablePointer<fid>, _ data: UnsafeRawBufferPointer) throws(FabricError) {
    guard let request = ConnectionHandles.request(handle), request.listener === self,
      ConnectionHandles.take(request)
    else { throw Self.refuse("no request of this endpoint that waits for an answer", in: "fi_reject") }
    sendRejection(request, data)
  }

  /// Tells the client of a request, if its session still is.
  func sendRejection(_ request: ConnectionRequest, _ data: UnsafeRawBufferPointer) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard let port, !request.isOver else { return }
    let message = ConnectionMessage(kind: .reject, identifier: request.identifier, data: data.fitting)
    do throws(FabricError) { try port.send(message, on: request.connection) } catch {
      // It hears that the session ends.
      Log.warn(.endpointControl, "too much is under way to tell a client why it is turned down")
      port.transport.close(request.connection)
    }
  }

  package func received(_ message: ConnectionMessage, from session: ConnectionIndex, at port: Port) -> Bool {
    guard message.kind == .request, let eventQueue else { return false }
    guard eventQueue.hasRoom, ConnectionHandles.waiting(at: self).count < backlog else {
      Log.warn(.endpointControl, "a request to connect is turned down: too many wait already")
      return false
    }
    do throws(FabricError) {
      try report(message, from: session, at: port, to: eventQueue)
    } catch {
      Log.warn(.endpointControl, "a request to connect is turned down: no memory")
      return false
    }
    port.transport.keepAlive(session)
    return true
  }

  /// Tells the program of a request, with what an endpoint for it is made from.
  private func report(
    _ message: ConnectionMessage, from session: ConnectionIndex, at port: Port, to eventQueue: EventQueue
  ) throws(FabricError) {
    let client = SocketAddress(words: port.transport.address(of: session).words)
    let request = try ConnectionRequest(self, session, message.identifier, from: client, to: port.localAddress)
    let description = try InfoMemory.duplicate(info)
    do throws(FabricError) {
      try InfoMemory.setAddresses(description, source: port.localAddress, destination: client)
      description.pointee.handle = request.handle
      ConnectionHandles.add(request)
      try eventQueue.report(event: UInt32(FI_CONNREQ), fid, info: description, data: message.data)
    } catch {
      _ = ConnectionHandles.take(request)
      InfoMemory.free(description)
      throw error
    }
  }

  package func sent(_ kind: ConnectionMessageKind, _ status: TransportStatus, at port: Port) {}

  package func ended(_ session: ConnectionIndex, _ status: TransportStatus, at port: Port) {
    for request in ConnectionHandles.unanswered(at: self, in: session) { request.isOver = true }
  }

  package func timedOut(at port: Port) {}

  private static func refuse(
    _ reason: StaticString, in call: StaticString, _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.endpointControl, reason, in: call)
  }

  /// Rejections under way at once.
  private static var messages: Int { 256 }
  private static var standardBacklog: Int { 1024 }
}
