import CPlatform

// Multicast groups, RFC 1112 and RFC 4291 section 2.7.
extension UDPSocket {
  /// Receives what is sent to a group through an interface, `interface` being its index. To the port the socket is bound
  /// to, that is, and only if it is bound to the group's address or to none.
  package func join(_ group: SocketAddress, interface: UInt32) throws(SystemError) {
    try changeMembership(of: group, interface: interface, joins: true)
  }

  /// Undoes ``join(_:interface:)``.
  package func leave(_ group: SocketAddress, interface: UInt32) throws(SystemError) {
    try changeMembership(of: group, interface: interface, joins: false)
  }

  /// What the socket sends to groups goes out through an interface.
  package func setMulticastInterface(_ interface: UInt32) throws(SystemError) {
    let result = Syscall.setMulticastInterface(
      descriptor, family: localAddress.family.systemValue, interface: interface)
    if result < 0 { throw SystemError(result: result) }
  }

  private func changeMembership(of group: SocketAddress, interface: UInt32, joins: Bool) throws(SystemError) {
    var storage = sockaddr_in6()
    group.store(to: &storage, capacity: SocketAddress.sockaddrCapacity)
    let result = Syscall.changeMembership(descriptor, group: &storage, interface: interface, joins: joins)
    if result < 0 { throw SystemError(result: result) }
  }
}

extension SocketAddress {
  /// Whether the address is a group's: 224.0.0.0/4 or ff00::/8.
  package var isMulticast: Bool {
    switch family {
    case .none: return false
    case .ipv4: return ipv4 >> 28 == 0xe
    case .ipv6: return words.1.bigEndian >> 56 == 0xff
    }
  }
}
