import CFabric
import CPlatform
import Datagram
import Packet
import Transport

/// An endpoint: reliable datagrams (FI_EP_RDM), plain ones (FI_EP_DGRAM), or a connection (FI_EP_MSG); or a scalable one,
/// whose contexts do what others do themselves.
///
/// It has a socket, and so an address, from the start; what it is bound to becomes a `Port`, or a `DatagramPort`, when it
/// is enabled. The data path is the port's. All state is protected by the engine's lock.
///
/// Man page: fi_endpoint(3)
package final class Endpoint {
  package let domain: Domain
  package let type: EndpointType
  package internal(set) var options: EndpointOptions
  let addressFamily: AddressFamily
  /// Until `enable`; the port has it afterwards.
  var socket: UDPSocket?
  var port: Port?
  /// What events of the endpoint name; the handle's, which sets it.
  package var fid: UnsafeMutablePointer<fid>?
  /// Of FI_EP_MSG.
  var connection: EndpointConnection
  package private(set) var portReference: Unmanaged<Port>?
  /// Of a scalable endpoint.
  package let contexts: ContextTable?
  /// What is open of fi_profile(3).
  var profile: Unmanaged<Profile>? {
    didSet { port?.profile = profile }
  }
  /// Likewise, of a datagram endpoint.
  var datagramPort: DatagramPort?
  package internal(set) var datagramPortReference: Unmanaged<DatagramPort>?

  private var transmitQueue: CompletionQueue?
  private var receiveQueue: CompletionQueue?
  private var counters = BoundCounters()
  /// Takes the place of completion queues where operations are only counted.
  var discardingQueue: CompletionQueue?
  private(set) var addresses: AddressVector?
  private(set) var eventQueue: EventQueue?
  private var sharedReceives: SharedReceiveContext?
  private var sharedTransmits: SharedTransmitContext?

  /// Opens an endpoint as an entry of fi_getinfo describes it, at its source address or at the address of the domain's
  /// interface.
  ///
  /// Throws FI_EINVAL for attributes that this provider never offers, for several contexts unless the endpoint
  /// `isScalable`, and then for types that have none and for shared contexts; FI_EADDRINUSE, FI_EADDRNOTAVAIL and others
  /// that bind(2) knows.
  package convenience init(
    _ domain: Domain, _ info: UnsafePointer<fi_info>, isScalable: Bool = false
  ) throws(FabricError) {
    var (type, options) = try Self.options(info)
    let contexts = try Self.contexts(info, type, isScalable)
    // Before 2.0 the bit was FI_VARIABLE_MSG, which asks for nothing that is not there anyway.
    if domain.fabric.apiVersion < APIVersion(2, 0) { options.capabilities &= ~FI_EXACT_DIRECTED_RECV }
    options.key = try Self.key(info, domain)
    if type == .dgram && (options.key != nil || domain.hasVectorKeys) {
      throw .invalidArgument.because(.endpointControl, "datagrams carry no authorization key", in: "fi_endpoint")
    }
    let origin = type == .msg ? try ConnectionOrigin.of(info) : nil
    let socket =
      if let origin { try origin.openSocket() } else {
        try EndpointSocket.open(at: Self.sourceAddress(info), plain: type == .dgram)
      }
    let family = socket.localAddress.family
    self.init(domain, type, options, contexts, family, socket, EndpointConnection(origin?.request))
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ domain: Domain, _ type: EndpointType, _ options: EndpointOptions, _ contexts: ContextTable?,
    _ addressFamily: AddressFamily, _ socket: consuming UDPSocket, _ connection: EndpointConnection
  ) {
    self.domain = domain
    self.connection = connection
    self.type = type
    self.options = options
    self.contexts = contexts
    self.addressFamily = addressFamily
    self.socket = consume socket
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  package var capabilities: UInt64 { options.capabilities }
  /// A profile is open: such an endpoint cannot be closed.
  package var hasProfile: Bool { profile != nil }
  package var isEnabled: Bool { contexts?.isEnabled ?? hasStarted }
  /// There is a port, which a scalable endpoint has once the first of its contexts is enabled.
  var hasStarted: Bool { port != nil || datagramPort != nil }
  /// For the data path: the port, of datagrams where those are what the endpoint sends; nil until it is enabled.
  package var dataPort: UnsafeMutableRawPointer? { portReference?.toOpaque() ?? datagramPortReference?.toOpaque() }
  /// Where receives are posted; nil until the endpoint is enabled.
  package var receiver: Unmanaged<ReceiveContext>? { port?.context }

  // MARK: Attributes

  private static func options(
    _ info: UnsafePointer<fi_info>
  ) throws(FabricError) -> (EndpointType, EndpointOptions) {
    guard let endpoint = info.pointee.ep_attr?.pointee, let transmit = info.pointee.tx_attr?.pointee,
      let receive = info.pointee.rx_attr?.pointee
    else { throw .invalidArgument }
    guard let type = EndpointType(endpoint.type, protocol: endpoint.protocol), info.pointee.caps & ~type.all == 0
    else { throw .invalidArgument }
    var options = EndpointOptions()
    options.sharesTransmits = endpoint.tx_ctx_cnt == EndpointOptions.sharedContext
    options.sharesReceives = endpoint.rx_ctx_cnt == EndpointOptions.sharedContext
    if type == .dgram && (options.sharesTransmits || options.sharesReceives) {
      throw .invalidArgument.because(.endpointControl, "datagram endpoints share no contexts", in: "fi_endpoint")
    }
    options.capabilities = info.pointee.caps
    // Receives of a connection are all from its peer, whatever source they name.
    if type == .msg {
      options.capabilities &= ~(Capabilities.directed | FI_SOURCE | FI_SOURCE_ERR)
      options.connectionMessages = 1
    }
    let configuration = Configuration.current
    options.transmitQueueSize = try size(transmit.size, configuration.txSize, limit: Capabilities.maximumQueueSize)
    options.receiveQueueSize = try size(receive.size, configuration.rxSize, limit: Capabilities.maximumQueueSize)
    options.injectSize = try size(transmit.inject_size, 0, limit: type.injectSize)
    let iovLimit = Capabilities.iovLimit
    options.iovLimit = try max(
      size(transmit.iov_limit, iovLimit, limit: iovLimit), size(receive.iov_limit, iovLimit, limit: iovLimit))
    let remoteLimit = type.remoteIovLimit
    options.remoteIovLimit = try size(transmit.rma_iov_limit, remoteLimit, limit: remoteLimit)
    if transmit.op_flags & ~type.transmitFlags != 0 || receive.op_flags & ~type.receiveFlags != 0 {
      throw .invalidArgument
    }
    options.transmitFlags = transmit.op_flags
    options.receiveFlags = receive.op_flags
    return (type, options)
  }

  /// The endpoint's own key, or else the domain's.
  static func key(_ info: UnsafePointer<fi_info>, _ domain: Domain) throws(FabricError) -> AuthorizationKey? {
    guard domain.fabric.apiVersion >= APIVersion(1, 5), let attributes = info.pointee.ep_attr,
      attributes.pointee.auth_key_size != 0
    else { return domain.key }
    guard !domain.hasVectorKeys,
      let key = AuthorizationKey(attributes.pointee.auth_key, attributes.pointee.auth_key_size)
    else { throw .invalidArgument }
    return key
  }

  /// A size_t attribute, 0 standing for `standard`. Throws FI_EINVAL above `limit`.
  private static func size(_ value: Int, _ standard: Int, limit: Int) throws(FabricError) -> Int {
    if UInt(bitPattern: value) > UInt(limit) { throw .invalidArgument }
    return value == 0 ? standard : value
  }

  /// src_addr, or the address of the interface that the domain is named after.
  static func sourceAddress(_ info: UnsafePointer<fi_info>) throws(FabricError) -> SocketAddress {
    guard let family = AddressFormat.family(info.pointee.addr_format) else { throw .invalidArgument }
    if let source = info.pointee.src_addr {
      guard let address = SocketAddress(sockaddr: source, length: info.pointee.src_addrlen) else {
        throw .invalidArgument
      }
      if family != .none && family != address.family { throw .invalidArgument }
      return address
    }
    guard let name = info.pointee.domain_attr?.pointee.name else { throw .invalidArgument }
    do throws(SystemError) {
      let interfaces = try InterfaceList()
      for index in 0..<interfaces.count {
        let interface = interfaces[index]
        if family != .none && family != interface.address.family { continue }
        if interface.withName({ strcmp($0, name) == 0 }) { return interface.address }
      }
    } catch {
      throw FabricError(code: error.code)
    }
    throw .noDevice
  }

  // MARK: Binding: fi_ep_bind

  private func checkUnbound(_ isBound: Bool) throws(FabricError) {
    if hasStarted { throw .badState }
    if isBound { throw .invalidArgument }
  }

  /// Binds a completion queue. Throws FI_EBADFLAGS for flags other than FI_TRANSMIT, FI_RECV and
  /// FI_SELECTIVE_COMPLETION, FI_EINVAL where one is bound already and for a scalable endpoint, FI_EDOMAIN for another
  /// domain's queue.
  package func bind(_ queue: CompletionQueue, flags: UInt64) throws(FabricError) {
    try checkOwnContexts()
    guard flags & ~(FI_TRANSMIT | FI_RECV | FI_SELECTIVE_COMPLETION) == 0 else { throw .badFlags }
    if queue.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try checkUnbound(
      flags & FI_TRANSMIT != 0 && transmitQueue != nil || flags & FI_RECV != 0 && receiveQueue != nil)
    if flags & FI_TRANSMIT != 0 {
      transmitQueue = queue
      options.selectiveTransmit = flags & FI_SELECTIVE_COMPLETION != 0
      queue.addBinding()
      queue.grow(by: options.transmitQueueSize)
    }
    if flags & FI_RECV != 0 {
      receiveQueue = queue
      options.selectiveReceive = flags & FI_SELECTIVE_COMPLETION != 0
      queue.addBinding()
      // One more for a write that carries completion data.
      queue.grow(by: options.receiveQueueSize + 1)
    }
  }

  /// Binds a counter to the kinds of operations in `flags`. Throws FI_EBADFLAGS for other flags, FI_EINVAL where a kind
  /// has its counter already and for a scalable endpoint, FI_EDOMAIN for another domain's counter.
  package func bind(_ counter: Counter, flags: UInt64) throws(FabricError) {
    try checkOwnContexts()
    guard flags & ~BoundCounters.flags == 0 else {
      throw .badFlags.because(.endpointControl, "unknown flags with a counter", in: "fi_ep_bind")
    }
    if counter.domain !== domain {
      throw .wrongDomain.because(.endpointControl, "another domain's counter", in: "fi_ep_bind")
    }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try checkUnbound(counters.overlaps(flags))
    counters.bind(counter, flags: flags)
  }

  /// Binds the address vector. Throws FI_EINVAL when one is bound already.
  package func bind(_ vector: AddressVector) throws(FabricError) {
    if vector.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try checkUnbound(addresses != nil)
    vector.addBinding()
    addresses = vector
  }

  /// Binds an event queue. A second one takes the place of the first, as upstream has it. Throws FI_EOPBADSTATE once a
  /// connection has begun.
  package func bind(_ queue: EventQueue) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if connection.phase != .unconnected { throw .badState }
    eventQueue?.removeBinding()
    queue.addBinding()
    eventQueue = queue
  }

  /// Binds the receive context that it shares with others. Throws FI_EINVAL when one is bound already, and
  /// for datagram endpoints.
  package func bind(_ context: SharedReceiveContext) throws(FabricError) {
    if context.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try checkUnbound(sharedReceives != nil || type == .dgram || contexts != nil)
    context.addBinding()
    sharedReceives = context
  }

  /// Binds the transmit context that it shares with others. Throws FI_EINVAL when one is bound already, and
  /// for datagram endpoints.
  package func bind(_ context: SharedTransmitContext) throws(FabricError) {
    if context.domain !== domain { throw .wrongDomain }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try checkUnbound(sharedTransmits != nil || type == .dgram || contexts != nil)
    context.addBinding()
    sharedTransmits = context
  }

  /// Whether receives are posted on a shared context, not here.
  package var sharesReceives: Bool { sharedReceives != nil }

  // MARK: Enabling

  /// Starts the endpoint. Throws FI_EOPBADSTATE when it is enabled already, FI_ENOAV without an address vector, FI_ENOCQ
  /// where its capabilities call for a completion queue and there is neither that nor a counter, FI_EMFILE and the like.
  package func enable() throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    try enableLocked()
  }

  /// ``enable()``, the engine's lock being held.
  func enableLocked() throws(FabricError) {
    if isEnabled { throw .badState }
    if let contexts {
      try startContexts()
      contexts.isEnabled = true
      return
    }
    guard addresses != nil || type == .msg else { throw .noAddressVector }
    guard socket != nil else { throw .badState }
    if options.sharesReceives && sharedReceives == nil || options.sharesTransmits && sharedTransmits == nil {
      throw .invalidArgument.because(
        .endpointControl, "FI_SHARED_CONTEXT without a shared context that is bound", in: "fi_enable")
    }
    if let sharedTransmits { options.transmitQueueSize = sharedTransmits.size }
    let either = try bindMissingQueues()
    options.hasTransmitQueue = transmitQueue != nil
    options.hasReceiveQueue = receiveQueue != nil
    let binding = Port.Binding(
      domain: domain, addresses: type == .msg ? nil : addresses, transmitQueue: transmitQueue ?? either,
      receiveQueue: receiveQueue ?? either, counters: counters)
    if type == .dgram { return try enableDatagrams(binding) }
    _ = try start(binding, addresses, transmits: options.transmitQueueSize)
  }

  /// Makes the port, which has up to `transmits` operations in flight. The engine's lock is held.
  func start(
    _ binding: Port.Binding, _ addresses: AddressVector?, transmits: Int
  ) throws(FabricError) -> Port {
    var configuration = try EndpointSocket.configuration(
      for: socket!, transmitQueueSize: transmits + options.internalOperations,
      isAutomatic: domain.engine.isAutomatic)
    if type == .msg {
      configuration.authorizations.append(try connection.makeIdentifier())
    } else {
      if domain.hasVectorKeys, let addresses { configuration.authorizations = addresses.authorizations }
      if let key = options.key { configuration.authorizations.append(key.digest) }
    }
    let made = Port(
      binding: binding, options: options, socket: socket.take()!, configuration: configuration,
      sharing: sharedReceives?.context, transmits: sharedTransmits, contexts: contexts)
    if type == .msg { made.manage(by: self) }
    made.profile = profile
    port = made
    portReference = .passUnretained(made)
    do throws(FabricError) {
      try domain.engine.add(made)
      return made
    } catch {
      // The socket went with the port; the endpoint can only be closed.
      domain.engine.remove(made)
      made.releaseReservations()
      port = nil
      portReference = nil
      throw error
    }
  }

  /// Has a queue that nobody reads take the place of those that counters make up for. Returns one of the queues; throws
  /// FI_ENOCQ where operations would end untold.
  private func bindMissingQueues() throws(FabricError) -> CompletionQueue {
    let transmits = options.capabilities & (FI_SEND | FI_READ | FI_WRITE) != 0
    let receives = options.capabilities & FI_RECV != 0
    if transmits && transmitQueue == nil && !counters.countTransmits
      || receives && receiveQueue == nil && counters.receive == nil
    {
      throw .noCompletionQueue.because(.endpointControl, "neither a queue nor a counter is bound", in: "fi_enable")
    }
    if transmits && transmitQueue == nil {
      transmitQueue = boundDiscardingQueue(for: options.transmitQueueSize)
      options.selectiveTransmit = true
    }
    if receives && receiveQueue == nil {
      receiveQueue = boundDiscardingQueue(for: options.receiveQueueSize + 1)
      options.selectiveReceive = true
    }
    if let either = transmitQueue ?? receiveQueue { return either }
    if counters.isEmpty { throw .noCompletionQueue }
    // Only peers do anything here.
    receiveQueue = boundDiscardingQueue(for: 1)
    return receiveQueue!
  }

  private func boundDiscardingQueue(for entries: Int) -> CompletionQueue {
    let queue = discardingQueue ?? CompletionQueue(discardingIn: domain)
    discardingQueue = queue
    queue.addBinding()
    queue.grow(by: entries)
    return queue
  }

  // MARK: Closing

  /// Ends the endpoint: what was sent is delivered if the peers answer within a second; receives, and operations that
  /// did not end by then, are dropped silently.
  package func close() {
    let engine = domain.engine
    engine.lock()
    closeConnection()
    if let port {
      engine.dropDeferredWork(all: false) { $0.isAt(port) }
      port.linger()
      logStatistics(of: port)
      engine.remove(port)
      port.releaseReservations()
      engine.dropDeferredWork(all: true) { $0.isAt(port) }
    }
    closeDatagrams()
    port = nil
    portReference = nil
    socket = nil
    transmitQueue?.removeBinding()
    receiveQueue?.removeBinding()
    addresses?.removeBinding()
    eventQueue?.removeBinding()
    sharedReceives?.removeBinding()
    sharedTransmits?.removeBinding()
    sharedReceives = nil
    sharedTransmits = nil
    transmitQueue = nil
    receiveQueue = nil
    addresses = nil
    eventQueue = nil
    counters.unbindAll()
    domain.removeChild()
    engine.unlock()
    discardingQueue = nil
    connection.request?.reject()
  }

  // MARK: Names: fi_cm(3)

  /// The address that peers reach the endpoint at.
  package var name: SocketAddress {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if let request = connection.request { return request.localAddress }
    if let port { return port.localAddress }
    if let datagramPort { return datagramPort.localAddress }
    return socket?.localAddress ?? SocketAddress()
  }

  /// The socket, which is the endpoint's: FI_GET_FD of fi_control. Programs may set its options.
  package var descriptor: Int32 {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    return port?.descriptor ?? datagramPort?.socket.descriptor ?? socket?.descriptor ?? -1
  }

  /// Moves the endpoint to another address. Throws FI_EOPBADSTATE once it is enabled, FI_EINVAL for another family,
  /// FI_EADDRINUSE and others that bind(2) knows.
  package func setName(_ address: SocketAddress) throws(FabricError) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if hasStarted || connection.request != nil { throw .badState }
    if address.family != addressFamily { throw .invalidArgument }
    socket = try EndpointSocket.open(at: address, plain: type == .dgram)
  }

  // MARK: Options: fi_getopt, fi_setopt

  /// Reads an option of level FI_OPT_ENDPOINT into `value`, which has room for `length` bytes; `length` becomes the
  /// option's size. Throws FI_ENOPROTOOPT for an option that there is not, FI_ETOOSMALL.
  package func option(_ name: Int32, _ value: UnsafeMutableRawPointer, _ length: inout Int) throws(FabricError) {
    switch Int(name) {
    case Int(FI_OPT_MIN_MULTI_RECV):
      try EndpointOptions.store(options.minimumMultiReceive, value, &length)
    case Int(FI_OPT_FIREWALL_ADDR):
      try EndpointOptions.store(Int32(0), value, &length)
    case Int(FI_OPT_CM_DATA_SIZE) where type == .msg:
      try EndpointOptions.store(ConnectionMessage.maximumData, value, &length)
    default: throw .noSuchOption
    }
  }

  /// Sets an option. Throws FI_ENOPROTOOPT for one that there is not, FI_EINVAL for a value of another size and, as the
  /// man page has it where there is no CUDA, for FI_OPT_CUDA_API_PERMITTED.
  package func setOption(_ name: Int32, _ value: UnsafeRawPointer, _ length: Int) throws(FabricError) {
    if Int(name) == Int(FI_OPT_CUDA_API_PERMITTED) {
      throw .invalidArgument.because(.endpointControl, "memory of CUDA devices is not reached", in: "fi_setopt")
    }
    guard Int(name) == Int(FI_OPT_MIN_MULTI_RECV) else { throw .noSuchOption }
    guard length == MemoryLayout<Int>.size else { throw .invalidArgument }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    options.minimumMultiReceive = value.loadUnaligned(as: Int.self)
    if sharesReceives { return }
    receiver?._withUnsafeGuaranteedRef { $0.minimumMultiReceive = options.minimumMultiReceive }
  }
}
