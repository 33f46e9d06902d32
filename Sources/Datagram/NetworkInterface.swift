import CPlatform

/// One address of one network interface.
package struct NetworkInterface {
  /// The name, zero-padded: sixteen bytes as two words in memory order. See ``withName(_:)``.
  private var name: (UInt64, UInt64) = (0, 0)
  /// The interface's index, if_nametoindex(3).
  package fileprivate(set) var index: UInt32 = 0
  /// The IFF_ flags, netdevice(7).
  package fileprivate(set) var flags: UInt32 = 0
  /// The address, port 0.
  package fileprivate(set) var address = SocketAddress()
  /// Bits of the address that name its network.
  package fileprivate(set) var prefixLength = 0
  /// Largest IP packet in bytes, headers included; 0 if unknown.
  package fileprivate(set) var mtu = 0
  /// Bits a second; 0 if unknown, as for virtual interfaces.
  package fileprivate(set) var speed: UInt64 = 0

  package var isLoopback: Bool { flags & UInt32(IFF_LOOPBACK) != 0 }
  package var isPointToPoint: Bool { flags & UInt32(IFF_POINTOPOINT) != 0 }

  /// The network the address belongs to, as an address with port 0.
  package var network: SocketAddress { address.network(prefixLength: prefixLength) }

  /// Calls `body` with the zero-terminated name.
  package func withName<Result>(_ body: (UnsafePointer<CChar>) -> Result) -> Result {
    withUnsafeBytes(of: (name, UInt64(0))) { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
  }

  /// Writes the network in CIDR form ("127.0.0.0/8"); see ``SocketAddress/writeNetwork(prefixLength:to:capacity:)``.
  package func writeNetwork(to text: UnsafeMutablePointer<CChar>, capacity: Int) -> Int {
    address.writeNetwork(prefixLength: prefixLength, to: text, capacity: capacity)
  }

  /// Nil for an entry that is no IP address of an interface that is up and running.
  fileprivate init?(_ entry: ifaddrs, socket: Int32) {
    let usable = UInt32(IFF_UP | IFF_RUNNING)
    guard entry.ifa_flags & usable == usable, let source = entry.ifa_addr,
      let address = SocketAddress(sockaddr: source, length: SocketAddress.sockaddrCapacity)
    else { return nil }
    self.address = address
    flags = entry.ifa_flags
    let longest = address.family == .ipv4 ? 32 : 128
    prefixLength = entry.ifa_netmask.map { Self.prefixLength($0, address.family) } ?? longest
    _ = withUnsafeMutableBytes(of: &name) {
      strncpy($0.baseAddress!.assumingMemoryBound(to: CChar.self), entry.ifa_name, 15)
    }
    index = if_nametoindex(entry.ifa_name)
    mtu = max(0, Syscall.interfaceMTU(socket, entry.ifa_name))
    #if os(Linux)
    speed = withName(Self.readSpeed)
    #endif
  }

  /// The mask's leading ones. Systems may leave a mask's family unset, so that of the address counts.
  private static func prefixLength(_ mask: UnsafeMutablePointer<sockaddr>, _ family: AddressFamily) -> Int {
    let offset = family == .ipv4 ? 4 : 8
    let bytes = UnsafeRawPointer(mask).assumingMemoryBound(to: UInt8.self) + offset
    var length = 0
    for index in 0..<(family == .ipv4 ? 4 : 16) {
      let ones = (~bytes[index]).leadingZeroBitCount
      length += ones
      if ones < 8 { break }
    }
    return length
  }

  /// The driver's speed in megabits a second, as text; absent, unreadable or -1 where there is none to tell.
  private static func readSpeed(name: UnsafePointer<CChar>) -> UInt64 {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      let text = buffer.baseAddress!
      strcpy(text, "/sys/class/net/")
      strcat(text, name)
      // An alias such as eth0:1 has its interface's speed.
      if let colon = strchr(text, Int32(UInt8(ascii: ":"))) { colon.pointee = 0 }
      strcat(text, "/speed")
      let file = Syscall.openForReading(text)
      guard file >= 0 else { return 0 }
      let length = Syscall.read(Int32(file), text, 32)
      Syscall.close(Int32(file))
      var megabits: UInt64 = 0
      for index in 0..<max(0, length) {
        let digit = UInt8(bitPattern: text[index])
        guard digit >= 0x30 && digit <= 0x39, megabits < 1_000_000_000 else { break }
        megabits = megabits * 10 + UInt64(digit - 0x30)
      }
      return megabits * 1_000_000
    }
  }
}

/// The usable addresses of this host, best first: real interfaces before loopback, faster before slower, IPv4 before
/// IPv6, else in the system's order.
public struct InterfaceList: ~Copyable {
  private let elements: UnsafeMutablePointer<NetworkInterface>
  package let count: Int

  /// Asks the system. Any thread.
  ///
  /// The corresponding C function is `getifaddrs`.
  package init() throws(SystemError) {
    var head: UnsafeMutablePointer<ifaddrs>?
    let listed = Syscall.interfaceAddresses(&head)
    if listed < 0 { throw SystemError(result: listed) }
    defer { freeifaddrs(head) }
    let socket = Syscall.socket(family: AF_INET)
    defer { if socket >= 0 { Syscall.close(Int32(socket)) } }

    var length = 0
    var entry = head
    while let current = entry {
      length += 1
      entry = current.pointee.ifa_next
    }
    elements = .allocate(capacity: max(length, 1))
    var filled = 0
    entry = head
    while let current = entry {
      if let interface = NetworkInterface(current.pointee, socket: Int32(socket)) {
        var position = filled
        while position > 0 && Self.precedes(interface, elements[position - 1]) {
          elements[position] = elements[position - 1]
          position -= 1
        }
        elements[position] = interface
        filled += 1
      }
      entry = current.pointee.ifa_next
    }
    count = filled
  }

  package subscript(index: Int) -> NetworkInterface {
    precondition(index >= 0 && index < count, "no such interface")
    return elements[index]
  }

  private static func precedes(_ a: NetworkInterface, _ b: NetworkInterface) -> Bool {
    if a.isLoopback != b.isLoopback { return b.isLoopback }
    if a.speed != b.speed { return a.speed > b.speed }
    return a.address.family.rawValue < b.address.family.rawValue
  }

  deinit { elements.deallocate() }
}
