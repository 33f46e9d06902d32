import CPlatform

/// The family of a ``SocketAddress``.
package enum AddressFamily: UInt16 {
  case none = 0
  case ipv4 = 4
  case ipv6 = 6

  /// AF_INET, AF_INET6 or AF_UNSPEC.
  package var systemValue: Int32 {
    switch self {
    case .none: return AF_UNSPEC
    case .ipv4: return AF_INET
    case .ipv6: return AF_INET6
    }
  }
}

/// An IPv4 or IPv6 address with a port: 24 bytes, trivial, comparable as three words.
///
/// The words are a view for layers that must store or compare addresses without knowing what they are; they are not a
/// wire format. An IPv4 address stands in the first four of the sixteen address bytes.
package struct SocketAddress: Equatable, Sendable {
  /// The whole value as bits: family, port and scope in the first word, the address in network order in the others.
  package let words: (UInt64, UInt64, UInt64)

  /// No address: family `.none`.
  package init() { words = (0, 0, 0) }

  package init(words: (UInt64, UInt64, UInt64)) { self.words = words }

  /// `port` in host order.
  package init(ipv4 a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8, port: UInt16) {
    let bytes = UInt32(bigEndian: UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
    self.init(.ipv4, port: port, scope: 0, (UInt64(Self.lowWord(bytes)), 0))
  }

  /// `high` and `low` are the address's halves as numbers (host order), `scope` the interface index of a link-local one.
  package init(ipv6 high: UInt64, _ low: UInt64, port: UInt16, scope: UInt32 = 0) {
    self.init(.ipv6, port: port, scope: scope, (high.bigEndian, low.bigEndian))
  }

  /// The unspecified address (0.0.0.0 or ::) with `port` in host order.
  package static func any(_ family: AddressFamily, port: UInt16) -> SocketAddress {
    SocketAddress(family, port: port, scope: 0, (0, 0))
  }

  /// The loopback address (127.0.0.1 or ::1) with `port` in host order.
  package static func loopback(_ family: AddressFamily, port: UInt16) -> SocketAddress {
    family == .ipv4 ? SocketAddress(ipv4: 127, 0, 0, 1, port: port) : SocketAddress(ipv6: 0, 1, port: port)
  }

  init(_ family: AddressFamily, port: UInt16, scope: UInt32, _ address: (UInt64, UInt64)) {
    words = (UInt64(family.rawValue) | UInt64(port) << 16 | UInt64(scope) << 32, address.0, address.1)
  }

  package var family: AddressFamily { AddressFamily(rawValue: UInt16(truncatingIfNeeded: words.0)) ?? .none }

  /// The port in host order.
  package var port: UInt16 { UInt16(truncatingIfNeeded: words.0 >> 16) }

  /// The interface index that a link-local IPv6 address belongs to, or 0.
  package var scope: UInt32 { UInt32(truncatingIfNeeded: words.0 >> 32) }

  /// The same address with another port.
  package func with(port: UInt16) -> SocketAddress {
    SocketAddress(words: (words.0 & ~0xffff_0000 | UInt64(port) << 16, words.1, words.2))
  }

  package var isLoopback: Bool {
    switch family {
    case .none: return false
    case .ipv4: return ipv4 >> 24 == 127
    case .ipv6: return words.1 == 0 && words.2.bigEndian == 1
    }
  }

  /// Whether the address is 0.0.0.0 or ::.
  package var isAny: Bool { family != .none && words.1 == 0 && words.2 == 0 }

  /// Whether the address is valid on one link only: fe80::/10 or 169.254.0.0/16.
  package var isLinkLocal: Bool {
    switch family {
    case .none: return false
    case .ipv4: return ipv4 >> 16 == 0xa9fe
    case .ipv6: return words.1.bigEndian >> 54 == 0xfe80 >> 6
    }
  }

  /// The address with all bits after the first `prefixLength` cleared, port and scope 0: the network it belongs to.
  package func network(prefixLength: Int) -> SocketAddress {
    let high = Self.mask(words.1.bigEndian, prefixLength).bigEndian
    let low = Self.mask(words.2.bigEndian, prefixLength - 64).bigEndian
    return SocketAddress(family, port: 0, scope: 0, (high, low))
  }

  @inline(__always)
  package static func == (a: SocketAddress, b: SocketAddress) -> Bool {
    ((a.words.0 ^ b.words.0) | (a.words.1 ^ b.words.1) | (a.words.2 ^ b.words.2)) == 0
  }

  /// A well mixed 64-bit hash, the same in every process. Not keyed: a table over addresses that strangers choose must
  /// mix in a secret or bound its probes.
  package var hash: UInt64 {
    var mixed = words.0 &* 0x9e37_79b9_7f4a_7c15
    mixed = (mixed ^ mixed >> 32 ^ words.1) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 29 ^ words.2) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }

  /// The IPv4 address as a number in host order; meaningless for IPv6.
  var ipv4: UInt32 { Self.firstBytes(words.1).bigEndian }

  private static func mask(_ bits: UInt64, _ count: Int) -> UInt64 {
    count <= 0 ? 0 : count >= 64 ? bits : bits & ~(UInt64.max >> UInt64(count))
  }

  /// A word whose first four bytes in memory are those of `bytes`.
  private static func lowWord(_ bytes: UInt32) -> UInt64 {
    #if _endian(little)
    UInt64(bytes)
    #else
    UInt64(bytes) << 32
    #endif
  }

  /// The first four bytes in memory of a word.
  private static func firstBytes(_ word: UInt64) -> UInt32 {
    #if _endian(little)
    UInt32(truncatingIfNeeded: word)
    #else
    UInt32(truncatingIfNeeded: word >> 32)
    #endif
  }
}

// MARK: sockaddr

extension SocketAddress {
  /// Bytes of the longest address this type stores, sockaddr_in6.
  package static let sockaddrCapacity = 28

  /// Reads a sockaddr_in or sockaddr_in6 at any alignment; nil for another family.
  package init?(sockaddr: UnsafeRawPointer) {
    let isVersion6 = Int32(sockaddr.loadUnaligned(as: CPlatform.sockaddr.self).sa_family) == AF_INET6
    self.init(sockaddr: sockaddr, length: isVersion6 ? Self.sockaddrCapacity : MemoryLayout<sockaddr_in>.size)
  }

  /// Reads a sockaddr_in or sockaddr_in6 of `length` bytes at any alignment; nil for another family or too few bytes.
  package init?(sockaddr: UnsafeRawPointer, length: Int) {
    guard length >= MemoryLayout<CPlatform.sockaddr>.size else { return nil }
    switch Int32(sockaddr.loadUnaligned(as: CPlatform.sockaddr.self).sa_family) {
    case AF_INET:
      guard length >= MemoryLayout<sockaddr_in>.size else { return nil }
      let from = sockaddr.loadUnaligned(as: sockaddr_in.self)
      let address = UInt64(Self.lowWord(from.sin_addr.s_addr))
      self.init(.ipv4, port: UInt16(bigEndian: from.sin_port), scope: 0, (address, 0))
    case AF_INET6:
      guard length >= MemoryLayout<sockaddr_in6>.size else { return nil }
      let from = sockaddr.loadUnaligned(as: sockaddr_in6.self)
      let address = unsafeBitCast(from.sin6_addr, to: (UInt32, UInt32, UInt32, UInt32).self)
      let halves = unsafeBitCast(address, to: (UInt64, UInt64).self)
      self.init(.ipv6, port: UInt16(bigEndian: from.sin6_port), scope: from.sin6_scope_id, halves)
    default:
      return nil
    }
  }

  /// Stores a sockaddr_in or sockaddr_in6, or as much of it as `capacity` holds, and returns its full length (0 for
  /// family `.none`), as getsockname(2) does.
  @discardableResult
  package func store(to sockaddr: UnsafeMutableRawPointer, capacity: Int) -> Int {
    switch family {
    case .none:
      return 0
    case .ipv4:
      var value = sockaddr_in()
      value.sin_family = sa_family_t(AF_INET)
      value.sin_port = port.bigEndian
      value.sin_addr.s_addr = Self.firstBytes(words.1)
      return Self.store(value, sockaddr, capacity)
    case .ipv6:
      var value = sockaddr_in6()
      value.sin6_family = sa_family_t(AF_INET6)
      value.sin6_port = port.bigEndian
      value.sin6_addr = unsafeBitCast((words.1, words.2), to: in6_addr.self)
      value.sin6_scope_id = scope
      return Self.store(value, sockaddr, capacity)
    }
  }

  @inline(__always)
  private static func store<Value>(
    _ value: Value, _ target: UnsafeMutableRawPointer, _ capacity: Int
  ) -> Int {
    let length = MemoryLayout<Value>.size
    if capacity >= length {
      target.storeBytes(of: value, as: Value.self)
    } else if capacity > 0 {
      withUnsafeBytes(of: value) { target.copyMemory(from: $0.baseAddress!, byteCount: capacity) }
    }
    return length
  }
}
