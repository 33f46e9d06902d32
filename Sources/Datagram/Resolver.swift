import CPlatform

/// Names to addresses.
package enum Resolver {
  /// Why a name has no address.
  package enum Failure: Error, Equatable {
    /// No such host or service, or none of the wanted family.
    case notFound
    /// The name service cannot answer now.
    case temporary
    case noMemory
    /// The arguments make no sense together.
    case invalid
    case system(SystemError)
  }

  /// Looks `node` and `service` up (either may be nil, not both) and stores up to `capacity` addresses, best first;
  /// returns how many. May ask the network, and take seconds, unless `numeric`. Any thread.
  ///
  /// - `passive`: without a node, the address to bind (0.0.0.0, ::) instead of loopback.
  /// - `numeric`: the node must be an address, not a name.
  ///
  /// The corresponding C function is `getaddrinfo`.
  package static func resolve(
    node: UnsafePointer<CChar>?, service: UnsafePointer<CChar>?, family: AddressFamily = .none, passive: Bool = false,
    numeric: Bool = false, into addresses: UnsafeMutablePointer<SocketAddress>, capacity: Int
  ) throws(Failure) -> Int {
    var hints = addrinfo()
    hints.ai_family = family.systemValue
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
    hints.ai_flags = (passive ? AI_PASSIVE : 0) | (numeric ? AI_NUMERICHOST : 0)
    var head: UnsafeMutablePointer<addrinfo>?
    let (code, system) = Syscall.addressInformation(node, service, &hints, &head)
    switch code {
    case 0: break
    case EAI_AGAIN: throw .temporary
    case EAI_MEMORY: throw .noMemory
    case EAI_SYSTEM: throw .system(system)
    case EAI_BADFLAGS, EAI_FAMILY, EAI_SOCKTYPE: throw .invalid
    default: throw .notFound
    }
    defer { freeaddrinfo(head) }
    var count = 0
    var entry = head
    while let current = entry, count < capacity {
      let address = current.pointee.ai_addr.flatMap {
        SocketAddress(sockaddr: $0, length: Int(current.pointee.ai_addrlen))
      }
      if let address {
        addresses[count] = address
        count += 1
      }
      entry = current.pointee.ai_next
    }
    if count == 0 { throw .notFound }
    return count
  }
}
