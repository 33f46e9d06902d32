import CPlatform

extension SocketAddress {
  /// Bytes that hold any address with scope and port, brackets and a terminating zero.
  package static let textCapacity = 80

  /// Writes the address alone ("10.0.0.1", "fe80::1%2"), zero-terminated, and returns its length without the zero.
  /// Writes nothing and returns 0 where `capacity` is too small or there is no address.
  package func writeHost(to text: UnsafeMutablePointer<CChar>, capacity: Int) -> Int {
    if capacity > 0 { text[0] = 0 }
    guard family != .none, capacity > 0 else { return 0 }
    var address = (words.1, words.2)
    guard inet_ntop(family.systemValue, &address, text, socklen_t(clamping: capacity)) != nil else { return 0 }
    var length = strlen(text)
    if scope != 0 {
      let added = Self.write(scope, after: CChar(UInt8(ascii: "%")), to: text + length, capacity: capacity - length)
      if added == 0 {
        text[0] = 0
        return 0
      }
      length += added
    }
    return length
  }

  /// Writes address and port ("10.0.0.1:7471", "[::1]:7471"), as ``writeHost(to:capacity:)`` does.
  package func write(to text: UnsafeMutablePointer<CChar>, capacity: Int) -> Int {
    if capacity > 0 { text[0] = 0 }
    let bracket = family == .ipv6 ? 1 : 0
    guard capacity > 2 * bracket else { return 0 }
    var length = writeHost(to: text + bracket, capacity: capacity - 2 * bracket)
    guard length > 0 else {
      text[0] = 0
      return 0
    }
    if bracket == 1 {
      text[0] = CChar(UInt8(ascii: "["))
      text[length + 1] = CChar(UInt8(ascii: "]"))
      length += 2
    }
    let colon = CChar(UInt8(ascii: ":"))
    let added = Self.write(UInt32(port), after: colon, to: text + length, capacity: capacity - length)
    if added == 0 {
      text[0] = 0
      return 0
    }
    return length + added
  }

  /// Writes a network in CIDR form ("10.0.0.0/24"), as ``writeHost(to:capacity:)`` does.
  package func writeNetwork(prefixLength: Int, to text: UnsafeMutablePointer<CChar>, capacity: Int) -> Int {
    let length = network(prefixLength: prefixLength).writeHost(to: text, capacity: capacity)
    guard length > 0 else { return 0 }
    let slash = CChar(UInt8(ascii: "/"))
    let added = Self.write(UInt32(prefixLength), after: slash, to: text + length, capacity: capacity - length)
    if added == 0 {
      text[0] = 0
      return 0
    }
    return length + added
  }

  /// Parses a numeric address without port ("10.0.0.1", "fe80::1%2", "fe80::1%eth0"); nil for anything else.
  package init?(numericHost text: UnsafePointer<CChar>, port: UInt16) {
    var address: (UInt64, UInt64) = (0, 0)
    if inet_pton(AF_INET, text, &address) == 1 {
      self.init(.ipv4, port: port, scope: 0, address)
      return
    }
    guard let percent = strchr(text, Int32(UInt8(ascii: "%"))) else {
      guard inet_pton(AF_INET6, text, &address) == 1 else { return nil }
      self.init(.ipv6, port: port, scope: 0, address)
      return
    }
    let length = UnsafePointer(percent) - text
    guard length < Self.textCapacity, let scope = Self.scope(percent + 1) else { return nil }
    let parsed = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.textCapacity) { copy in
      memcpy(copy.baseAddress!, text, length)
      copy[length] = 0
      return inet_pton(AF_INET6, copy.baseAddress!, &address) == 1
    }
    guard parsed else { return nil }
    self.init(.ipv6, port: port, scope: scope, address)
  }

  /// An interface given by index or by name.
  private static func scope(_ text: UnsafePointer<CChar>) -> UInt32? {
    var index: UInt32 = 0
    var position = 0
    while case let digit = UInt8(bitPattern: text[position]), digit >= 0x30, digit <= 0x39, position < 9 {
      index = index * 10 + UInt32(digit - 0x30)
      position += 1
    }
    if position > 0 && text[position] == 0 { return index }
    let named = if_nametoindex(text)
    return named == 0 ? nil : named
  }

  /// Writes `mark`, `number` in decimal and a zero; returns the length without the zero, or 0 if it does not fit.
  private static func write(
    _ number: UInt32, after mark: CChar, to text: UnsafeMutablePointer<CChar>, capacity: Int
  ) -> Int {
    var digits = 1
    var rest = number
    while rest >= 10 {
      rest /= 10
      digits += 1
    }
    guard capacity >= digits + 2 else { return 0 }
    text[0] = mark
    rest = number
    for position in stride(from: digits, to: 0, by: -1) {
      text[position] = CChar(0x30 + Int8(rest % 10))
      rest /= 10
    }
    text[digits + 1] = 0
    return digits + 1
  }
}
