import CFabric
import CPlatform
import Datagram
import Testing

@testable import Provider

/// The entries of one fi_getinfo. Never freed: tests look into them through plain pointers.
struct Entries {
  private let head: UnsafeMutablePointer<fi_info>

  init(
    version: APIVersion = .library, node: String? = nil, service: String? = nil, flags: UInt64 = 0,
    hints: Hints? = nil, environment: [String: String] = [:]
  ) throws(FabricError) {
    let configuration = Configuration(environment: environment)
    var found: Result<UnsafeMutablePointer<fi_info>, FabricError>?
    withText(node) { node in
      withText(service) { service in
        do throws(FabricError) {
          found = .success(
            try Discovery.getInfo(
              version: version, node: node, service: service, flags: flags, hints: hints.map { UnsafePointer($0.info) },
              configuration: configuration))
        } catch {
          found = .failure(error)
        }
      }
    }
    head = try found!.get()
  }

  /// The entries for endpoints of the first one's type.
  var all: [fi_info] { every.filter { $0.ep_attr.pointee.type == first.ep_attr.pointee.type } }
  /// The entries for endpoints of all types.
  var every: [fi_info] {
    var list: [fi_info] = []
    var next: UnsafeMutablePointer<fi_info>? = head
    while let info = next {
      list.append(info.pointee)
      next = info.pointee.next
    }
    return list
  }
  var first: fi_info { head.pointee }
  var domains: [String] { all.map { String(cString: $0.domain_attr.pointee.name) } }
  var fabrics: [String] { all.map { String(cString: $0.fabric_attr.pointee.name) } }
  var providers: [String] { all.map { String(cString: $0.fabric_attr.pointee.prov_name) } }
  var sources: [SocketAddress] { all.map { SocketAddress(sockaddr: $0.src_addr, length: $0.src_addrlen)! } }
  var destinations: [SocketAddress?] {
    all.map { info in info.dest_addr.map { SocketAddress(sockaddr: $0, length: info.dest_addrlen)! } }
  }
}

extension Configuration {
  /// The configuration that these variables alone would make. Leaks their texts, as a process does.
  init(environment: [String: String]) {
    self.init { environment["\($0.description.environmentName)"].map { CString(strdup($0)) } }
  }
}

/// What a call throws, as its C result; 0 if nothing.
func code(_ body: () throws(FabricError) -> Void) -> Int32 {
  do throws(FabricError) {
    try body()
    return 0
  } catch {
    return error.result
  }
}

let loopback = SocketAddress(ipv4: 127, 0, 0, 1, port: 0)

@Suite struct DiscoveryTests {
  @Test func datagramEndpointsHaveEntriesOfTheirOwn() throws {
    let entries = try Entries()
    let datagrams = entries.every.filter { $0.ep_attr.pointee.type == FI_EP_DGRAM }
    #expect(datagrams.count == entries.all.count)
    let hints = try Hints()
    hints.endpoint.pointee.type = FI_EP_DGRAM
    let info = try Entries(hints: hints).first
    let offered = FI_MSG | FI_SEND | FI_RECV | FI_SOURCE | FI_MULTICAST
    #expect(info.caps & ~Capabilities.domain == offered)
    #expect(info.ep_attr.pointee.protocol == UInt32(FI_PROTO_UDP))
    #expect(info.ep_attr.pointee.max_msg_size == 1472)
    #expect(info.tx_attr.pointee.inject_size == 1472)
    #expect(info.ep_attr.pointee.msg_prefix_size == 0)
    #expect(info.domain_attr.pointee.cq_data_size == 0)
    for caps in [FI_TAGGED, FI_RMA, FI_ATOMIC, FI_DIRECTED_RECV] {
      let other = try Hints()
      other.endpoint.pointee.type = FI_EP_DGRAM
      other.endpoint.pointee.protocol = UInt32(FI_PROTO_UDP)
      other.info.pointee.caps = FI_MSG | caps
      #expect(code { () throws(FabricError) in _ = try Entries(hints: other) } == -FI_ENODATA)
    }
  }

  @Test func datagramsWithMoreThanBytesAreCarriedByTheTransport() throws {
    let hints = try Hints()
    hints.endpoint.pointee.type = FI_EP_DGRAM
    hints.domain.pointee.cq_data_size = 4
    let entries = try Entries(hints: hints)
    #expect(entries.all.allSatisfy { $0.ep_attr.pointee.type == FI_EP_DGRAM })
    #expect(entries.all.allSatisfy { $0.ep_attr.pointee.protocol == Capabilities.endpointProtocol })
    #expect(entries.first.domain_attr.pointee.cq_data_size >= 4)
  }

  @Test func oneEntryPerInterfaceAndFamilyWithLoopbackLast() throws {
    let entries = try Entries()
    var seen: Set<String> = []
    for (domain, info) in zip(entries.domains, entries.all) {
      #expect(seen.insert("\(domain) \(info.addr_format)").inserted)
    }
    let isLoopback = entries.sources.map { $0.isLoopback }
    #expect(isLoopback.contains(true))
    #expect(isLoopback == isLoopback.sorted { !$0 && $1 })
    #expect(entries.sources.allSatisfy { $0.port == 0 })
    #expect(Set(entries.providers) == ["polyfill"])
  }

  @Test func loopbackNetworksHaveTheNamesProgramsKnow() throws {
    let hints = try Hints()
    hints.set(domainName: "LO")
    let entries = try Entries(hints: hints)
    #expect(Set(entries.domains) == ["lo"])
    #expect(entries.fabrics.first == "127.0.0.1/32")
    #expect(entries.fabrics.allSatisfy { $0 == "127.0.0.1/32" || $0 == "::1/128" })
    #expect(entries.all.allSatisfy { $0.caps & FI_LOCAL_COMM != 0 && $0.caps & FI_REMOTE_COMM == 0 })
  }

  @Test func versionsAndPlainDefaults() throws {
    let info = try Entries(version: APIVersion(1, 17)).first
    #expect(info.fabric_attr.pointee.api_version == APIVersion(1, 17).rawValue)
    #expect(info.fabric_attr.pointee.prov_version == Capabilities.providerVersion.rawValue)
    let communication = FI_LOCAL_COMM | FI_REMOTE_COMM
    #expect(info.caps & ~communication == Capabilities.all & ~Capabilities.onlyByName & ~communication)
    #expect(info.mode == 0 && info.domain_attr.pointee.mr_mode == 0)
    #expect(info.tx_attr.pointee.op_flags == 0 && info.tx_attr.pointee.size == 1024)
    #expect(info.tx_attr.pointee.iov_limit == 4 && info.rx_attr.pointee.iov_limit == 4)
    #expect(info.domain_attr.pointee.threading == FI_THREAD_SAFE)
    #expect(info.domain_attr.pointee.progress == FI_PROGRESS_AUTO)
    #expect(info.domain_attr.pointee.max_cntr_value == .max)
    #expect(info.tx_attr.pointee.msg_order == 1095216660991)
    #expect(try Entries(version: APIVersion(1, 4)).first.domain_attr.pointee.mr_mode == MemoryMode.basic)
    #expect(try Entries(version: APIVersion(0, 0)).first.ep_attr.pointee.type == FI_EP_RDM)
  }

  @Test func hintsComeBack() throws {
    let hints = try Hints()
    hints.domain.pointee.threading = FI_THREAD_DOMAIN
    hints.domain.pointee.progress = FI_PROGRESS_MANUAL
    hints.domain.pointee.av_type = FI_AV_MAP
    hints.domain.pointee.mr_mode = FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT
    hints.transmit.pointee.op_flags = FI_COMPLETION | FI_DELIVERY_COMPLETE
    hints.transmit.pointee.size = 512
    hints.transmit.pointee.inject_size = 64
    hints.receive.pointee.size = 4096
    hints.transmit.pointee.iov_limit = Capabilities.iovLimit
    hints.receive.pointee.iov_limit = 1
    hints.endpoint.pointee.max_order_raw_size = 8
    hints.endpoint.pointee.max_order_war_size = 16
    hints.endpoint.pointee.max_order_waw_size = 8
    let info = try Entries(hints: hints).first
    #expect(info.domain_attr.pointee.threading == FI_THREAD_DOMAIN)
    #expect(info.domain_attr.pointee.progress == FI_PROGRESS_MANUAL)
    #expect(info.domain_attr.pointee.control_progress == FI_PROGRESS_MANUAL)
    #expect(info.domain_attr.pointee.av_type == FI_AV_MAP)
    #expect(info.domain_attr.pointee.mr_mode == 0)
    #expect(info.tx_attr.pointee.op_flags == FI_COMPLETION | FI_DELIVERY_COMPLETE)
    #expect(info.tx_attr.pointee.size == 512 && info.tx_attr.pointee.inject_size == 64)
    #expect(info.rx_attr.pointee.size == 4096)
    #expect(info.tx_attr.pointee.iov_limit == Capabilities.iovLimit && info.rx_attr.pointee.iov_limit == 1)
    #expect(info.ep_attr.pointee.max_order_war_size == 16)
    #expect(info.ep_attr.pointee.max_order_raw_size == 8 && info.ep_attr.pointee.max_order_waw_size == 8)
    let keys = try Entries(hints: hints, environment: ["FI_POLYFILL_MR_PROV_KEY": "1"]).first
    #expect(keys.domain_attr.pointee.mr_mode == FI_MR_PROV_KEY)
  }

  /// Hinted caps and what the endpoint, its transmit and its receive side then have, less where they reach.
  @Test(arguments: [
    (FI_MSG, FI_MSG | FI_SEND | FI_RECV, FI_MSG | FI_SEND, FI_MSG | FI_RECV),
    (FI_MSG | FI_SEND, FI_MSG | FI_SEND, FI_MSG | FI_SEND, FI_MSG),
    (
      FI_TAGGED | FI_SOURCE, FI_TAGGED | FI_SEND | FI_RECV | FI_SOURCE, FI_TAGGED | FI_SEND,
      FI_TAGGED | FI_RECV | FI_SOURCE
    ),
    (
      FI_RMA | FI_RMA_EVENT | FI_REMOTE_WRITE, FI_RMA | FI_REMOTE_WRITE | FI_RMA_EVENT, FI_RMA,
      FI_RMA | FI_REMOTE_WRITE | FI_RMA_EVENT
    ),
    (FI_MSG | FI_SEND | FI_FENCE, FI_MSG | FI_SEND | FI_FENCE, FI_MSG | FI_SEND | FI_FENCE, FI_MSG),
    (FI_RMA | FI_READ, FI_RMA | FI_READ, FI_RMA | FI_READ, FI_RMA),
    (
      FI_RMA, FI_RMA | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE, FI_RMA | FI_READ | FI_WRITE,
      FI_RMA | FI_REMOTE_READ | FI_REMOTE_WRITE
    ),
    (
      FI_MSG | FI_DIRECTED_RECV, FI_MSG | FI_SEND | FI_RECV | FI_DIRECTED_RECV, FI_MSG | FI_SEND,
      FI_MSG | FI_RECV | FI_DIRECTED_RECV
    ),
  ])
  func capabilities(hinted: UInt64, endpoint: UInt64, transmit: UInt64, receive: UInt64) throws {
    let hints = try Hints()
    hints.info.pointee.caps = hinted
    let info = try Entries(hints: hints).first
    #expect(info.caps & ~(FI_LOCAL_COMM | FI_REMOTE_COMM) == endpoint)
    #expect(info.caps & FI_LOCAL_COMM != 0)
    #expect(info.tx_attr.pointee.caps == transmit)
    #expect(info.rx_attr.pointee.caps == receive)
  }

  @Test func directionHintsCutTheDirections() throws {
    let hints = try Hints()
    hints.info.pointee.caps = FI_MSG | FI_TAGGED
    hints.transmit.pointee.caps = FI_TAGGED
    hints.receive.pointee.caps = FI_MSG | FI_SEND
    let info = try Entries(hints: hints).first
    #expect(info.tx_attr.pointee.caps == FI_TAGGED | FI_SEND)
    #expect(info.rx_attr.pointee.caps == FI_MSG | FI_RECV)
  }

  @Test func resultsServeAsHints() throws {
    for environment in [[:], ["FI_PROVIDER": "tcp;ofi_rxm"], ["FI_PROVIDER": "sockets"]] {
      let entries = try Entries(environment: environment)
      for var info in entries.all {
        let hints = try Hints()
        InfoMemory.free(hints.info.pointee.next)
        let copy = try InfoMemory.duplicate(&info)
        swap(&hints.info.pointee, &copy.pointee)
        InfoMemory.free(copy)
        let again = try Entries(hints: hints)
        #expect(again.all.count == 1)
        #expect(again.first.caps == info.caps && again.first.rx_attr.pointee.caps == info.rx_attr.pointee.caps)
        #expect(again.domains == [String(cString: info.domain_attr.pointee.name)])
        #expect(again.providers == [String(cString: info.fabric_attr.pointee.prov_name)])
        #expect(again.sources == [SocketAddress(sockaddr: info.src_addr, length: info.src_addrlen)!])
        #expect(again.first.ep_attr.pointee.protocol == info.ep_attr.pointee.protocol)
      }
    }
  }

  @Test(arguments: [("tcp;ofi_rxm", UInt32(11)), ("tcp", 25), ("sockets", 6), ("udp", 5), ("udp;ofi_rxd", 12)])
  func aliases(name: String, endpointProtocol: UInt32) throws {
    let hints = try Hints()
    hints.set(provider: name)
    hints.endpoint.pointee.protocol = endpointProtocol
    for entries in [try Entries(hints: hints), try Entries(environment: ["FI_PROVIDER": name])] {
      #expect(Set(entries.providers) == [name])
      let reliable = entries.every.filter { $0.ep_attr.pointee.type == FI_EP_RDM }
      #expect(!reliable.isEmpty && reliable.allSatisfy { $0.ep_attr.pointee.protocol == endpointProtocol })
      #expect(entries.every.allSatisfy { $0.fabric_attr.pointee.prov_version == 0x00CE_0000 })
    }
    let off = code { () throws(FabricError) in
      _ = try Entries(hints: hints, environment: ["FI_POLYFILL_ALIASES": "off"])
    }
    #expect(off == -FI_ENODATA)
  }

  /// `tcp` lists connected endpoints first, as upstream's does.
  @Test(arguments: [("polyfill", false, UInt32(0x8050_4C46)), ("tcp", true, 6), ("sockets", false, 6)])
  func connectedEndpoints(name: String, areFirst: Bool, endpointProtocol: UInt32) throws {
    let entries = try Entries(environment: ["FI_PROVIDER": name])
    #expect((entries.first.ep_attr.pointee.type == FI_EP_MSG) == areFirst)
    let connected = entries.every.filter { $0.ep_attr.pointee.type == FI_EP_MSG }
    let reliable = entries.every.filter { $0.ep_attr.pointee.type == FI_EP_RDM }
    #expect(connected.count == reliable.count)
    #expect(connected.allSatisfy { $0.ep_attr.pointee.protocol == endpointProtocol && $0.src_addr != nil })
    #expect(connected.allSatisfy { $0.caps & (FI_MSG | FI_TAGGED | FI_RMA) == FI_MSG | FI_TAGGED | FI_RMA })
    let hints = try Hints()
    hints.set(provider: name)
    hints.endpoint.pointee.type = FI_EP_MSG
    hints.info.pointee.caps = FI_MSG | FI_AV_USER_ID
    #expect(code { () throws(FabricError) in _ = try Entries(hints: hints) } == -FI_ENODATA)
  }

  @Test func severalNamesHaveAnEntrySetEach() throws {
    let hints = try Hints()
    hints.endpoint.pointee.type = FI_EP_RDM
    let one = try Entries(hints: hints)
    let three = try Entries(hints: hints, environment: ["FI_PROVIDER": "tcp,polyfill,udp"])
    let names = three.providers
    #expect(names.count == 3 * one.all.count)
    #expect(names.first == "tcp" && names[one.all.count] == "polyfill" && names.last == "udp")
  }

  @Test func remoteCommunicationSkipsLoopbackWhereThereIsMore() throws {
    let hints = try Hints()
    hints.info.pointee.caps = FI_MSG | FI_REMOTE_COMM
    let entries = try Entries(hints: hints)
    let hasMore = try Entries().sources.contains { !$0.isLoopback }
    #expect(entries.sources.allSatisfy { $0.isLoopback == !hasMore })
    #expect(entries.all.allSatisfy { $0.caps & FI_REMOTE_COMM != 0 })
    let only = try Entries(hints: hints, environment: ["FI_POLYFILL_IFACE": "lo"])
    #expect(Set(only.domains) == ["lo"] && only.first.caps & FI_REMOTE_COMM != 0)
  }

  @Test func providerOnlyQueryNamesTheProvider() throws {
    let entries = try Entries(flags: FI_PROV_ATTR_ONLY, environment: ["FI_PROVIDER": "^polyfill"])
    #expect(entries.providers == ["polyfill"])
    #expect(entries.first.caps == 0 && entries.first.src_addr == nil && entries.first.domain_attr.pointee.name == nil)
    #expect(entries.first.fabric_attr.pointee.prov_version == Capabilities.providerVersion.rawValue)
  }

  @Test func refusals() throws {
    #expect(code { () throws(FabricError) in _ = try Entries(version: APIVersion(2, 7)) } == -FI_ENOSYS)
    #expect(code { () throws(FabricError) in _ = try Entries(flags: FI_SOURCE) } == -FI_ENODATA)
    let iface = ["FI_POLYFILL_IFACE": "no-such-interface"]
    #expect(code { () throws(FabricError) in _ = try Entries(environment: iface) } == -FI_ENODATA)
    let hints = try Hints()
    hints.set(fabricName: "198.51.100.0/24")
    #expect(code { () throws(FabricError) in _ = try Entries(hints: hints) } == -FI_ENODATA)
  }
}

@Suite struct AddressTests {
  @Test func portAloneMeansEveryInterface() throws {
    let any = try Entries()
    let entries = try Entries(service: "7471", flags: FI_SOURCE)
    #expect(Set(entries.domains) == Set(any.domains) && entries.all.count == any.all.count)
    #expect(entries.sources.allSatisfy { $0.port == 7471 && !$0.isAny })
    let four = try Entries(node: "0.0.0.0", service: "7471", flags: FI_SOURCE | FI_NUMERICHOST)
    #expect(four.sources.allSatisfy { $0.family == .ipv4 && $0.port == 7471 && !$0.isAny })
  }

  @Test func namedSource() throws {
    let entries = try Entries(node: "127.0.0.1", service: "5000", flags: FI_SOURCE)
    #expect(entries.sources == [loopback.with(port: 5000)] && entries.domains == ["lo"])
    #expect(entries.destinations == [nil])
    let other = try Entries(node: "127.1.2.3", flags: FI_SOURCE)
    #expect(other.sources == [SocketAddress(ipv4: 127, 1, 2, 3, port: 0)] && other.domains == ["lo"])
  }

  @Test func destinationBringsTheSourceOfItsRoute() throws {
    let entries = try Entries(node: "127.0.0.1", service: "5000")
    #expect(entries.destinations == [loopback.with(port: 5000)])
    #expect(entries.sources == [loopback] && entries.domains == ["lo"])
    #expect(entries.first.dest_addrlen == 16 && entries.first.addr_format == UInt32(FI_SOCKADDR_IN))
    let service = try Entries(service: "5000")
    #expect(service.destinations.contains(loopback.with(port: 5000)))
  }

  @Test func addressesInHints() throws {
    let hints = try Hints()
    let peer = try AddressFormat.sockaddr(loopback.with(port: 9))
    hints.info.pointee.dest_addr = peer.memory
    hints.info.pointee.dest_addrlen = peer.length
    let routed = try Entries(hints: hints)
    #expect(routed.destinations == [loopback.with(port: 9)] && routed.sources == [loopback])
    // A node replaces the destination; with FI_SOURCE it is the source instead.
    let replaced = try Entries(node: "127.0.0.1", service: "10", hints: hints)
    #expect(replaced.destinations == [loopback.with(port: 10)])
    let both = try Entries(node: "127.0.0.1", service: "11", flags: FI_SOURCE, hints: hints)
    #expect(both.sources == [loopback.with(port: 11)] && both.destinations == [loopback.with(port: 9)])
    let own = try AddressFormat.sockaddr(SocketAddress.any(.ipv4, port: 12))
    hints.info.pointee.src_addr = own.memory
    hints.info.pointee.src_addrlen = own.length
    let wildcard = try Entries(hints: hints)
    #expect(wildcard.sources.allSatisfy { $0.family == .ipv4 && $0.port == 12 && !$0.isAny })
    #expect(wildcard.destinations.allSatisfy { $0 == loopback.with(port: 9) })
  }

  @Test func formatLimitsTheFamily() throws {
    let hints = try Hints()
    hints.info.pointee.addr_format = UInt32(FI_SOCKADDR_IN)
    #expect(try Entries(hints: hints).all.allSatisfy { $0.addr_format == UInt32(FI_SOCKADDR_IN) })
    let wrong = code { () throws(FabricError) in _ = try Entries(node: "::1", flags: FI_NUMERICHOST, hints: hints) }
    #expect(wrong == -FI_ENODATA)
  }

  @Test func addressStrings() throws {
    let entries = try Entries(node: "fi_sockaddr_in://127.0.0.1:7471")
    #expect(entries.destinations == [loopback.with(port: 7471)])
    let beside = code { () throws(FabricError) in
      _ = try Entries(node: "fi_sockaddr_in://127.0.0.1:7471", service: "1")
    }
    #expect(beside == -FI_ENODATA)
  }

  @Test(arguments: [
    ("fi_sockaddr://10.31.6.12:7471", "10.31.6.12:7471"), ("fi_sockaddr_in://10.31.6.12", "10.31.6.12:0"),
    ("fi_sockaddr_in6://[fe80::6:12]:7471", "[fe80::6:12]:7471"), ("fi_sockaddr://[::1]:65535", "[::1]:65535"),
    ("FI_SOCKADDR_IN://1.2.3.4:5?qos=3", "1.2.3.4:5"), ("fi_sockaddr_in://[::1]:5", nil),
    ("fi_sockaddr_in6://1.2.3.4:5", nil), ("fi_sockaddr_in://1.2.3.4:65536", nil), ("fi_sockaddr_in://1.2.3.4:", nil),
    ("fi_sockaddr_in://1.2.3.4:5x", nil), ("fi_sockaddr_in6://[::1", nil), ("fi_addr_efa://1.2.3.4:5", nil),
    ("fi_sockaddr_in://", nil), ("://", nil), ("1.2.3.4:5", nil),
    ("fi_sockaddr_in://" + String(repeating: "1", count: 200), nil),
  ])
  func parse(uri: String, expected: String?) {
    let address = withText(uri) { AddressFormat.parse(uri: $0!) }
    #expect(address.map(describe) == expected)
  }

  @Test(
    arguments: [
      ("256.1.1.1", nil, FI_NUMERICHOST), ("localhost", nil, FI_NUMERICHOST), (nil, "no-such-service", 0),
      ("198.51.100.7", nil, FI_SOURCE),
    ] as [(String?, String?, UInt64)])
  func leadsNowhere(node: String?, service: String?, flags: UInt64) {
    let result = code { () throws(FabricError) in _ = try Entries(node: node, service: service, flags: flags) }
    #expect(result == -FI_ENODATA)
  }

  @Test func malformedAddressInHints() throws {
    let hints = try Hints()
    hints.info.pointee.src_addr = calloc(1, 16)
    hints.info.pointee.src_addrlen = 16
    #expect(code { () throws(FabricError) in _ = try Entries(hints: hints) } == -FI_ENODATA)
    _ = loopback.store(to: hints.info.pointee.src_addr, capacity: 16)
    hints.info.pointee.src_addrlen = 8
    #expect(code { () throws(FabricError) in _ = try Entries(hints: hints) } == -FI_ENODATA)
  }

  private func describe(_ address: SocketAddress) -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: SocketAddress.textCapacity) { memory in
      _ = address.write(to: memory.baseAddress!, capacity: memory.count)
      return String(cString: memory.baseAddress!)
    }
  }
}
