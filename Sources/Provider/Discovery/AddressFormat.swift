import CFabric
import CPlatform
import Datagram

/// Addresses between C and the library, by the formats of fi_info.
///
/// Man page: fi_getinfo(3), "addressing formats"
package enum AddressFormat {
  /// The family a request for `format` is limited to; `.none` for any IP address. Nil for formats that are not IP.
  package static func family(_ format: UInt32) -> AddressFamily? {
    switch Int(format) {
    case Int(FI_FORMAT_UNSPEC), Int(FI_SOCKADDR), Int(FI_SOCKADDR_IP): AddressFamily.none
    case Int(FI_SOCKADDR_IN): AddressFamily.ipv4
    case Int(FI_SOCKADDR_IN6): AddressFamily.ipv6
    default: nil
    }
  }

  /// FI_SOCKADDR_IN, FI_SOCKADDR_IN6, or FI_FORMAT_UNSPEC for no address.
  package static func format(_ family: AddressFamily) -> UInt32 {
    switch family {
    case .none: UInt32(FI_FORMAT_UNSPEC)
    case .ipv4: UInt32(FI_SOCKADDR_IN)
    case .ipv6: UInt32(FI_SOCKADDR_IN6)
    }
  }

  /// The address as C memory, to be given back with free(3). Throws ``FabricError/noMemory``.
  package static func sockaddr(
    _ address: SocketAddress
  ) throws(FabricError) -> (memory: UnsafeMutableRawPointer, length: Int) {
    guard let memory = calloc(1, SocketAddress.sockaddrCapacity) else { throw .noMemory }
    return (memory, address.store(to: memory, capacity: SocketAddress.sockaddrCapacity))
  }

  /// Reads an address in string format, "fi_sockaddr_in://10.31.6.12:7471" or "fi_sockaddr_in6://[fe80::6:12%2]:7471",
  /// the port being optional. Nil for anything else.
  package static func parse(uri: CString) -> SocketAddress? {
    guard let mark = strstr(uri, "://") else { return nil }
    let scheme = UnsafePointer(mark) - uri
    let host = UnsafePointer(mark) + 3
    let any = CText.equal(uri, count: scheme, "fi_sockaddr")
    let bracketed = host[0] == CChar(UInt8(ascii: "["))
    guard any || CText.equal(uri, count: scheme, bracketed ? "fi_sockaddr_in6" : "fi_sockaddr_in") else { return nil }
    let start = bracketed ? host + 1 : host
    guard let end = bracketed ? strchr(start, Int32(UInt8(ascii: "]"))) : hostEnd(start) else { return nil }
    let length = UnsafePointer(end) - start
    guard length < SocketAddress.textCapacity, let port = port(after: UnsafePointer(end) + (bracketed ? 1 : 0)) else {
      return nil
    }
    let address = withUnsafeTemporaryAllocation(of: CChar.self, capacity: SocketAddress.textCapacity) { copy in
      memcpy(copy.baseAddress!, start, length)
      copy[length] = 0
      return SocketAddress(numericHost: copy.baseAddress!, port: port)
    }
    return address?.family == (bracketed ? .ipv6 : .ipv4) ? address : nil
  }

  /// Where a host without brackets ends: at a colon, a query or the text's end.
  private static func hostEnd(_ host: CString) -> UnsafeMutablePointer<CChar>? {
    UnsafeMutablePointer(mutating: host + strcspn(host, ":/?"))
  }

  /// The port in ":7471" or "" with an optional query behind; nil if there is something else.
  private static func port(after text: CString) -> UInt16? {
    var digits = text
    var port = 0
    if text[0] == CChar(UInt8(ascii: ":")) {
      digits += 1
      while case let digit = Int(digits[0]) - 0x30, digit >= 0, digit <= 9, port <= Int(UInt16.max) {
        port = port * 10 + digit
        digits += 1
      }
      if digits == text + 1 { return nil }
    }
    let rest = digits[0]
    guard rest == 0 || rest == CChar(UInt8(ascii: "?")) || rest == CChar(UInt8(ascii: "/")) else { return nil }
    return UInt16(exactly: port)
  }
}

extension TextWriter {
  /// An address of `format` as a URL, "fi_sockaddr_in://127.0.0.1:7471"; nothing for formats of other networks. The
  /// memory holds what the format says.
  package mutating func append(address: UnsafeRawPointer, format: UInt32) {
    if Int(format) == Int(FI_ADDR_STR) { return append(address.assumingMemoryBound(to: CChar.self)) }
    guard Int(format) != Int(FI_FORMAT_UNSPEC), let family = AddressFormat.family(format) else { return }
    let length = family == .ipv4 ? MemoryLayout<sockaddr_in>.size : SocketAddress.sockaddrCapacity
    guard let address = SocketAddress(sockaddr: address, length: length), family == .none || family == address.family
    else { return }
    append(address.family == .ipv4 ? "fi_sockaddr_in://" : "fi_sockaddr_in6://")
    // A scope belongs to this host and is not part of the text.
    let words = (address.words.0 & 0xffff_ffff, address.words.1, address.words.2)
    append(address: SocketAddress(words: words))
  }
}
