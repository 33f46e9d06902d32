import CPlatform

/// The kernel's choice of a way to a peer.
package enum Route {
  /// The address that datagrams to `destination` would come from, port 0. Sends nothing. Throws the error of
  /// connect(2) where there is no way. Any thread.
  package static func source(to destination: SocketAddress) throws(SystemError) -> SocketAddress {
    let socket = Syscall.socket(family: destination.family.systemValue)
    guard socket >= 0 else { throw SystemError(result: socket) }
    defer { Syscall.close(Int32(socket)) }
    return try withUnsafeTemporaryAllocation(
      byteCount: SocketAddress.sockaddrCapacity, alignment: 8
    ) { memory throws(SystemError) -> SocketAddress in
      let sockaddr = memory.baseAddress!
      // Any port does; connecting to port 0 is refused by some systems.
      let target = destination.port == 0 ? destination.with(port: 9) : destination
      let length = target.store(to: sockaddr, capacity: SocketAddress.sockaddrCapacity)
      let connected = Syscall.connect(Int32(socket), sockaddr, length)
      guard connected >= 0 else { throw SystemError(result: connected) }
      let named = Syscall.socketName(Int32(socket), sockaddr, capacity: SocketAddress.sockaddrCapacity)
      guard named >= 0, let source = SocketAddress(sockaddr: sockaddr, length: named) else {
        throw SystemError(result: min(named, -1))
      }
      return source.with(port: 0)
    }
  }
}
