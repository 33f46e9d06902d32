import CPlatform
import Testing

@testable import Datagram

@Suite struct SocketAddressTests {
  static let samples = [
    SocketAddress(ipv4: 10, 1, 2, 3, port: 7471), SocketAddress(ipv4: 255, 255, 255, 255, port: 65535),
    SocketAddress(ipv6: 0xfe80_0000_0000_0000, 0x0123_4567_89ab_cdef, port: 1, scope: 7),
    .loopback(.ipv4, port: 80), .loopback(.ipv6, port: 80), .any(.ipv4, port: 0), .any(.ipv6, port: 0),
  ]

  @Test func isThreeTrivialWords() {
    #expect(MemoryLayout<SocketAddress>.size == 24)
    #expect(MemoryLayout<SocketAddress>.stride == 24)
    for address in Self.samples { #expect(SocketAddress(words: address.words) == address) }
  }

  @Test(arguments: samples) func survivesSockaddr(address: SocketAddress) {
    var storage = [UInt8](repeating: 0xaa, count: 64)
    let length = address.store(to: &storage, capacity: 64)
    #expect(length == (address.family == .ipv4 ? 16 : 28))
    #expect(storage[length] == 0xaa)
    #expect(SocketAddress(sockaddr: storage, length: length) == address)
    #expect(SocketAddress(sockaddr: storage, length: length - 1) == nil)
  }

  @Test(arguments: samples) func storesWhatFits(address: SocketAddress) {
    var whole = [UInt8](repeating: 0, count: 32)
    let length = address.store(to: &whole, capacity: 32)
    for capacity in 0...length {
      var storage = [UInt8](repeating: 0xaa, count: 32)
      #expect(address.store(to: &storage, capacity: capacity) == length)
      #expect(Array(storage[..<capacity]) == Array(whole[..<capacity]))
      #expect(storage[capacity...].allSatisfy { $0 == 0xaa })
    }
  }

  @Test func storesTheSystemsLayout() {
    var storage = sockaddr_in6()
    SocketAddress(ipv4: 10, 1, 2, 3, port: 0x1234).store(to: &storage, capacity: 28)
    let bytes = withUnsafeBytes(of: storage) { Array($0) }
    #expect(Array(bytes[2..<8]) == [0x12, 0x34, 10, 1, 2, 3])
    SocketAddress(ipv6: 0x0102_0304_0506_0708, 0x090a_0b0c_0d0e_0f10, port: 0x1234, scope: 9)
      .store(to: &storage, capacity: 28)
    #expect(storage.sin6_scope_id == 9)
    #expect(Array(withUnsafeBytes(of: storage) { Array($0) }[8..<24]) == Array(1...16))
  }

  @Test func refusesOtherFamilies() {
    var storage = sockaddr_in6()
    storage.sin6_family = sa_family_t(AF_UNIX)
    #expect(SocketAddress(sockaddr: &storage, length: 28) == nil)
    #expect(SocketAddress(sockaddr: &storage, length: 0) == nil)
    #expect(SocketAddress().store(to: &storage, capacity: 28) == 0)
  }

  @Test func knowsItsKind() {
    #expect(SocketAddress(ipv4: 127, 9, 9, 9, port: 0).isLoopback)
    #expect(!SocketAddress(ipv4: 128, 0, 0, 1, port: 0).isLoopback)
    #expect(SocketAddress.loopback(.ipv6, port: 1).isLoopback)
    #expect(!SocketAddress(ipv6: 0, 2, port: 1).isLoopback)
    #expect(SocketAddress.any(.ipv4, port: 5).isAny)
    #expect(!SocketAddress().isAny)
    #expect(SocketAddress(ipv4: 169, 254, 1, 1, port: 0).isLinkLocal)
    #expect(SocketAddress(ipv6: 0xfebf << 48, 1, port: 0).isLinkLocal)
    #expect(!SocketAddress(ipv6: 0xfec0 << 48, 1, port: 0).isLinkLocal)
    #expect(SocketAddress(ipv4: 1, 2, 3, 4, port: 5).with(port: 6) == SocketAddress(ipv4: 1, 2, 3, 4, port: 6))
    #expect(Self.samples[2].with(port: 0xffff).scope == 7)
  }

  @Test func comparesAndHashesEveryPart() {
    let base = SocketAddress(ipv6: 1, 2, port: 3, scope: 4)
    let others = [
      SocketAddress(ipv6: 5, 2, port: 3, scope: 4), SocketAddress(ipv6: 1, 5, port: 3, scope: 4),
      SocketAddress(ipv6: 1, 2, port: 5, scope: 4), SocketAddress(ipv6: 1, 2, port: 3, scope: 5),
    ]
    for other in others {
      #expect(other != base)
      #expect(other.hash != base.hash)
    }
    // Neighbours must spread over a small table: 4096 addresses into 4096 slots fill about 63 % of them.
    var slots = Set<UInt64>()
    for host in 0..<4096 {
      slots.insert(SocketAddress(ipv4: 10, 0, UInt8(host >> 8), UInt8(host & 255), port: 7471).hash & 4095)
    }
    #expect(slots.count > 2400)
  }

  static let texts: [(String, String)] = [
    ("127.0.0.1", "127.0.0.1:7471"), ("10.20.30.40", "10.20.30.40:7471"), ("::1", "[::1]:7471"),
    ("fe80::1%3", "[fe80::1%3]:7471"), ("2001:db8::ff", "[2001:db8::ff]:7471"),
  ]

  @Test(arguments: texts) func readsAndWritesText(host: String, full: String) throws {
    let address = try #require(SocketAddress(numericHost: host, port: 7471))
    var text = [CChar](repeating: 1, count: SocketAddress.textCapacity)
    #expect(address.writeHost(to: &text, capacity: text.count) == host.utf8.count)
    #expect(string(text) == host)
    #expect(address.write(to: &text, capacity: text.count) == full.utf8.count)
    #expect(string(text) == full)
    #expect(address.write(to: &text, capacity: full.utf8.count + 1) == full.utf8.count)
    for capacity in 0...full.utf8.count {
      var short = [CChar](repeating: 1, count: full.utf8.count + 1)
      #expect(address.write(to: &short, capacity: capacity) == 0)
      #expect(short[capacity...].allSatisfy { $0 == 1 })
      if capacity > 0 { #expect(short[0] == 0) }
    }
  }

  @Test(arguments: ["", "localhost", "1.2.3", "1.2.3.4.5", "::1%", "::1%nosuchinterface", "1.2.3.4%1", "[::1]"])
  func refusesText(host: String) { #expect(SocketAddress(numericHost: host, port: 0) == nil) }

  @Test func findsNetworks() {
    var text = [CChar](repeating: 0, count: SocketAddress.textCapacity)
    func network(_ host: String, _ bits: Int) -> String {
      let length = SocketAddress(numericHost: host, port: 9)!.writeNetwork(
        prefixLength: bits, to: &text, capacity: text.count)
      return length == 0 ? "" : string(text)
    }
    #expect(network("127.0.0.1", 8) == "127.0.0.0/8")
    #expect(network("10.1.2.3", 24) == "10.1.2.0/24")
    #expect(network("10.1.2.131", 25) == "10.1.2.128/25")
    #expect(network("10.1.2.3", 32) == "10.1.2.3/32")
    #expect(network("10.1.2.3", 0) == "0.0.0.0/0")
    #expect(network("fe80::1:2%1", 64) == "fe80::/64")
    #expect(network("2001:db8::ffff", 127) == "2001:db8::fffe/127")
    #expect(network("2001:db8::1", 128) == "2001:db8::1/128")
  }
}
