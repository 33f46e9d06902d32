import CFabric
import CPlatform
import Datagram
import Transport

/// A request to connect that has come to a listener, until the program accepts or rejects it. It is what `handle` of the
/// fi_info in an FI_CONNREQ event refers to.
///
/// Whoever takes a request out of the registry answers it, so that it is answered once. Any thread.
///
/// Man page: fi_cm(3), fi_accept and fi_reject
package final class ConnectionRequest {
  let listener: PassiveEndpoint
  /// The session that it came in, of the listener's port.
  let connection: ConnectionIndex
  /// Chosen by the client; see docs/PROTOCOL.md section 9.
  let identifier: UInt64
  let client: SocketAddress
  /// Where the client sent it to: the name of the endpoint that accepts it.
  let localAddress: SocketAddress
  /// Held by the program.
  package let handle: UnsafeMutablePointer<fid>
  /// An endpoint was made for it. Protected by the registry's lock.
  fileprivate var isClaimed = false
  /// Its session is over. Protected by the lock of the listener's engine.
  var isOver = false

  /// Throws FI_ENOMEM.
  convenience init(
    _ listener: PassiveEndpoint, _ connection: ConnectionIndex, _ identifier: UInt64, from client: SocketAddress,
    to localAddress: SocketAddress
  ) throws(FabricError) {
    guard let memory = calloc(1, MemoryLayout<fid>.stride) else { throw .noMemory }
    let handle = memory.bindMemory(to: fid.self, capacity: 1)
    handle.pointee = fid(fclass: Int(FI_CLASS_CONNREQ), context: nil, ops: listener.requestOps)
    self.init(listener, connection, identifier, client, localAddress, handle)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ listener: PassiveEndpoint, _ connection: ConnectionIndex, _ identifier: UInt64, _ client: SocketAddress,
    _ localAddress: SocketAddress, _ handle: UnsafeMutablePointer<fid>
  ) {
    self.listener = listener
    self.connection = connection
    self.identifier = identifier
    self.client = client
    self.localAddress = localAddress
    self.handle = handle
  }

  deinit { free(handle) }

  /// Turns the request down if nobody has answered it. The lock of no engine is held.
  func reject() { if ConnectionHandles.take(self) { listener.sendRejection(self, noData) } }
}

/// The handles that a fi_info for a connected endpoint may refer to: requests that wait for an answer, and passive
/// endpoints. A handle is only looked at when it is one of these. Any thread.
package enum ConnectionHandles {
  private static let lock = Lock()
  private nonisolated(unsafe) static var requests: [ConnectionRequest] = []
  private nonisolated(unsafe) static var listeners: [PassiveEndpoint] = []

  static func add(_ request: ConnectionRequest) { lock.withLock { requests.append(request) } }
  static func add(_ listener: PassiveEndpoint) { lock.withLock { listeners.append(listener) } }

  static func remove(_ listener: PassiveEndpoint) { lock.withLock { listeners.removeAll { $0 === listener } } }

  /// The passive endpoint that a program holds as `handle`.
  static func listener(_ handle: UnsafeMutablePointer<fid>) -> PassiveEndpoint? {
    lock.withLock { listeners.first { $0.fid == handle } }
  }

  /// The request that a program holds as `handle`, if nobody has answered it.
  static func request(_ handle: UnsafeMutablePointer<fid>) -> ConnectionRequest? {
    lock.withLock { requests.first { $0.handle == handle } }
  }

  /// Makes a request an endpoint's. Throws FI_EINVAL when it is another's already.
  static func claim(_ request: ConnectionRequest) throws(FabricError) {
    let isFree = lock.withLock {
      defer { request.isClaimed = true }
      return !request.isClaimed
    }
    if !isFree {
      throw .invalidArgument.because(.endpointControl, "the request has an endpoint already", in: "fi_endpoint")
    }
  }

  /// The endpoint that was to be made for a request was not.
  static func release(_ request: ConnectionRequest) { lock.withLock { request.isClaimed = false } }

  /// Takes a request out to answer it; false when somebody has.
  static func take(_ request: ConnectionRequest) -> Bool {
    lock.withLock {
      guard let index = requests.firstIndex(where: { $0 === request }) else { return false }
      requests.remove(at: index)
      return true
    }
  }

  /// Requests of a listener that wait for an endpoint.
  static func waiting(at listener: PassiveEndpoint) -> [ConnectionRequest] {
    lock.withLock { requests.filter { $0.listener === listener && !$0.isClaimed } }
  }

  /// All requests that came in a session and were not answered.
  static func unanswered(at listener: PassiveEndpoint, in connection: ConnectionIndex) -> [ConnectionRequest] {
    lock.withLock { requests.filter { $0.listener === listener && $0.connection == connection } }
  }
}

/// What an endpoint begins with whose fi_info has a handle: a request, or the address of a passive endpoint.
struct ConnectionOrigin {
  let request: ConnectionRequest?
  private let listener: PassiveEndpoint?

  /// Of a fi_info; nil for one without a handle. Claims a request. Throws FI_EINVAL for a handle that is none, was
  /// answered, or has an endpoint already.
  static func of(_ info: UnsafePointer<fi_info>) throws(FabricError) -> ConnectionOrigin? {
    guard let handle = info.pointee.handle else { return nil }
    if let request = ConnectionHandles.request(handle) {
      try ConnectionHandles.claim(request)
      return ConnectionOrigin(request: request, listener: nil)
    }
    if let listener = ConnectionHandles.listener(handle) { return ConnectionOrigin(request: nil, listener: listener) }
    throw .invalidArgument.because(
      .endpointControl, "the handle is of no passive endpoint, and of no request that waits", in: "fi_endpoint")
  }

  /// The endpoint's socket: for a request one of its own, at the address that the listener has; else the one that the
  /// passive endpoint had. Throws FI_EINVAL if that has none to give, and what bind(2) knows; the program may then use the
  /// request again.
  func openSocket() throws(FabricError) -> UDPSocket {
    do throws(FabricError) {
      if let listener { return try listener.takeSocket() }
      return try EndpointSocket.open(at: request.unsafelyUnwrapped.localAddress.with(port: 0))
    } catch {
      if let request { ConnectionHandles.release(request) }
      throw error
    }
  }
}
