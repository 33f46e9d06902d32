import Glibc

/// Opens TCP connections.
enum ControlSocket {
  /// The port when none is given.
  static let standardPort: UInt16 = 47593

  /// Connects to a server.
  static func connect(to host: String, port: UInt16, within duration: Duration) throws -> ControlChannel {
    let deadline = ContinuousClock.now + duration
    var failure = ToolError("\(host) has no address")
    for address in try AddressList(host: host, port: port, isPassive: false) {
      let descriptor = try address.socket()
      do {
        try connect(descriptor, address, until: deadline)
        return ControlChannel(descriptor)
      } catch {
        close(descriptor)
        failure = ToolError("\(host), TCP port \(port): \(error)")
      }
    }
    throw failure
  }

  private static func connect(
    _ descriptor: Int32, _ address: AddressList.Entry, until deadline: ContinuousClock.Instant
  ) throws(ToolError) {
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    var error = Glibc.connect(descriptor, address.pointer, address.length) == 0 ? 0 : errno
    if error == EINPROGRESS {
      while try !SocketName.wait(descriptor, for: POLLOUT, until: deadline) {}
      var length = socklen_t(MemoryLayout<Int32>.size)
      getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    }
    guard error == 0 else { throw ToolError(String(cString: strerror(error))) }
  }
}

/// A listening socket.
final class ControlListener {
  private let descriptor: Int32

  /// Listens at `host`, or at all addresses of this one, IPv6 and IPv4.
  init(host: String?, port: UInt16) throws {
    var failure = ToolError("nowhere to listen")
    let addresses = try AddressList(host: host, port: port, isPassive: true)
    // A socket of IPv6 takes connections of both.
    for address in addresses.sorted(by: { $0.isIPv6 && !$1.isIPv6 }) {
      guard let socket = try? address.socket() else { continue }
      if let error = ControlListener.listen(socket, address) {
        close(socket)
        failure = ToolError("TCP port \(port): \(String(cString: strerror(error)))")
      } else {
        descriptor = socket
        return
      }
    }
    throw failure
  }

  deinit { close(descriptor) }

  /// The next client. Waits for it without end.
  func accept() throws(ToolError) -> ControlChannel {
    while true {
      let client = Glibc.accept(descriptor, nil, nil)
      if client >= 0 { return ControlChannel(client) }
      switch errno {
      case EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP: throw ToolError("accept: \(String(cString: strerror(errno)))")
      case EMFILE, ENFILE, ENOBUFS, ENOMEM: usleep(100_000)
      default: break  // the client is gone already
      }
    }
  }

  /// An error number; nil if the socket listens.
  private static func listen(_ socket: Int32, _ address: AddressList.Entry) -> Int32? {
    let size = socklen_t(MemoryLayout<Int32>.size)
    var (on, off): (Int32, Int32) = (1, 0)
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, size)
    if address.isIPv6 { setsockopt(socket, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &off, size) }
    guard bind(socket, address.pointer, address.length) == 0, Glibc.listen(socket, 16) == 0 else { return errno }
    return nil
  }
}

/// What getaddrinfo(3) says of a host.
private final class AddressList: Sequence {
  struct Entry {
    let pointer: UnsafeMutablePointer<sockaddr>
    let length: socklen_t
    let family: Int32
    /// Whose memory the address is.
    let list: AddressList

    var isIPv6: Bool { family == AF_INET6 }

    func socket() throws(ToolError) -> Int32 {
      let descriptor = Glibc.socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
      guard descriptor >= 0 else { throw ToolError("no socket: \(String(cString: strerror(errno)))") }
      return descriptor
    }
  }

  private let first: UnsafeMutablePointer<addrinfo>?

  init(host: String?, port: UInt16, isPassive: Bool) throws(ToolError) {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    hints.ai_flags = isPassive ? AI_PASSIVE : 0
    var first: UnsafeMutablePointer<addrinfo>?
    let result = getaddrinfo(host, "\(port)", &hints, &first)
    guard result == 0 else { throw ToolError("\(host ?? "this host"): \(String(cString: gai_strerror(result)))") }
    self.first = first
  }

  deinit { freeaddrinfo(first) }

  func makeIterator() -> AnyIterator<Entry> {
    var next = first
    return AnyIterator { [self] in
      guard let entry = next, let address = entry.pointee.ai_addr else { return nil }
      next = entry.pointee.ai_next
      return Entry(pointer: address, length: entry.pointee.ai_addrlen, family: entry.pointee.ai_family, list: self)
    }
  }
}
