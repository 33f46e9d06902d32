import CFabric
import CPlatform
import Testing

@testable import Provider

/// Hints with all attributes, freed at the end.
final class Hints {
  let info: UnsafeMutablePointer<fi_info>

  init() throws { info = try InfoMemory.allocate() }
  deinit { InfoMemory.free(info) }

  var transmit: UnsafeMutablePointer<fi_tx_attr> { info.pointee.tx_attr }
  var receive: UnsafeMutablePointer<fi_rx_attr> { info.pointee.rx_attr }
  var endpoint: UnsafeMutablePointer<fi_ep_attr> { info.pointee.ep_attr }
  var domain: UnsafeMutablePointer<fi_domain_attr> { info.pointee.domain_attr }
  var fabric: UnsafeMutablePointer<fi_fabric_attr> { info.pointee.fabric_attr }

  func set(domainName: String) { domain.pointee.name = strdup(domainName) }
  func set(fabricName: String) { fabric.pointee.name = strdup(fabricName) }
  func set(provider: String) { fabric.pointee.prov_name = strdup(provider) }

  func isAccepted(as name: ProviderName = .polyfill, version: APIVersion = .library) -> Bool {
    HintCheck(info, name: name, version: version).obstacle() == nil
  }
}

@Suite struct HintTests {
  /// A change to otherwise empty hints, and whether it can be met.
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let accepted: Bool
    let version: APIVersion
    let change: @Sendable (Hints) -> Void

    init(
      _ description: String, _ accepted: Bool, _ version: APIVersion = .library,
      _ change: @escaping @Sendable (Hints) -> Void
    ) {
      testDescription = description
      self.accepted = accepted
      self.version = version
      self.change = change
    }
  }

  static let general: [Case] = [
    Case("nothing", true) { _ in },
    Case("reliable datagrams", true) { $0.endpoint.pointee.type = FI_EP_RDM },
    Case("connected endpoints", false) { $0.endpoint.pointee.type = FI_EP_MSG },
    Case("datagrams", false) { $0.endpoint.pointee.type = FI_EP_DGRAM },
    Case("all capabilities", true) { $0.info.pointee.caps = Capabilities.all & ~FI_HMEM },
    Case("atomics", true) { $0.info.pointee.caps = FI_ATOMIC },
    Case("multi-receive", true) { $0.info.pointee.caps = FI_MSG | FI_MULTI_RECV },
    Case("tagged multi-receive", true) { $0.info.pointee.caps = FI_TAGGED | FI_TAGGED_MULTI_RECV },
    Case("unknown sources", true) { $0.info.pointee.caps = FI_MSG | FI_SOURCE | FI_SOURCE_ERR },
    Case("unknown sources alone", false) { $0.info.pointee.caps = FI_MSG | FI_SOURCE_ERR },
    Case("variable messages of 1.x", true, APIVersion(1, 17)) { $0.info.pointee.caps = FI_MSG | 1 << 48 },
    Case("counted writes", true) { $0.info.pointee.caps = FI_RMA | FI_RMA_EVENT },
    Case("operations of a device", false) { $0.info.pointee.caps = FI_MSG | FI_XPU },
    Case("every mode bit", true) { $0.info.pointee.mode = ~0 },
    Case("any socket address", true) { $0.info.pointee.addr_format = UInt32(FI_SOCKADDR) },
    Case("any IP address", true) { $0.info.pointee.addr_format = UInt32(FI_SOCKADDR_IP) },
    Case("IPv6", true) { $0.info.pointee.addr_format = UInt32(FI_SOCKADDR_IN6) },
    Case("InfiniBand addresses", false) { $0.info.pointee.addr_format = UInt32(FI_SOCKADDR_IB) },
    Case("address strings", false) { $0.info.pointee.addr_format = UInt32(FI_ADDR_STR) },
    Case("an old provider version", true) { $0.fabric.pointee.prov_version = 1 },
    Case("a new provider version", false) { $0.fabric.pointee.prov_version = 2 << 16 },
  ]

  static let domain: [Case] = [
    Case("thread safe", true) { $0.domain.pointee.threading = FI_THREAD_SAFE },
    Case("thread domain", true) { $0.domain.pointee.threading = FI_THREAD_DOMAIN },
    Case("thread completion", true) { $0.domain.pointee.threading = FI_THREAD_COMPLETION },
    Case("thread endpoint", false) { $0.domain.pointee.threading = FI_THREAD_ENDPOINT },
    Case("thread fid", false) { $0.domain.pointee.threading = FI_THREAD_FID },
    Case("thread endpoint before 2.0", true, APIVersion(1, 17)) { $0.domain.pointee.threading = FI_THREAD_ENDPOINT },
    Case("unknown threading", false) { $0.domain.pointee.threading = fi_threading(rawValue: 9) },
    Case("manual progress", true) { $0.domain.pointee.progress = FI_PROGRESS_MANUAL },
    Case("unified progress", true) { $0.domain.pointee.progress = FI_PROGRESS_CONTROL_UNIFIED },
    Case("unknown progress", false) { $0.domain.pointee.progress = fi_progress(rawValue: 9) },
    Case("resource management off", true) { $0.domain.pointee.resource_mgmt = FI_RM_DISABLED },
    Case("unknown resource management", false) { $0.domain.pointee.resource_mgmt = fi_resource_mgmt(rawValue: 9) },
    Case("address map", true) { $0.domain.pointee.av_type = FI_AV_MAP },
    Case("unknown address vector", false) { $0.domain.pointee.av_type = fi_av_type(rawValue: 9) },
    Case("8 bytes of completion data", true) { $0.domain.pointee.cq_data_size = 8 },
    Case("9 bytes of completion data", false) { $0.domain.pointee.cq_data_size = 9 },
    Case("SIZE_MAX bytes of completion data", false) { $0.domain.pointee.cq_data_size = -1 },
    Case("counters", true) { $0.domain.pointee.cntr_cnt = 1 },
    Case("more counters", false) { $0.domain.pointee.cntr_cnt = Capabilities.counterCount + 1 },
    Case("counters before 1.5", true, APIVersion(1, 4)) { $0.domain.pointee.cntr_cnt = -1 },
    Case("regions of several pieces", true) { $0.domain.pointee.mr_iov_limit = Capabilities.memoryIovLimit },
    Case("regions of more pieces", false) { $0.domain.pointee.mr_iov_limit = Capabilities.memoryIovLimit + 1 },
    Case("domain capabilities", true) { $0.domain.pointee.caps = FI_LOCAL_COMM | FI_REMOTE_COMM },
    Case("shared address vectors", true) { $0.domain.pointee.caps = FI_SHARED_AV },
    Case("error data", true) { $0.domain.pointee.max_err_data = 28 },
    Case("more error data", false) { $0.domain.pointee.max_err_data = 29 },
    Case("authorization key", true) { $0.domain.pointee.auth_key_size = 64 },
    Case("longer authorization key", false) { $0.domain.pointee.auth_key_size = 65 },
    Case("longer authorization key before 1.5", true, APIVersion(1, 4)) { $0.domain.pointee.auth_key_size = 65 },
    Case("keys of the vector", true, APIVersion(1, 20)) { $0.domain.pointee.auth_key_size = -1 },
    Case("keys of the vector before 1.20", false, APIVersion(1, 19)) { $0.domain.pointee.auth_key_size = -1 },
    Case("keys of the vector and of the endpoint", false, APIVersion(1, 20)) {
      $0.domain.pointee.auth_key_size = -1
      $0.endpoint.pointee.auth_key_size = 4
    },
    Case("keys per endpoint", true, APIVersion(1, 20)) { $0.domain.pointee.max_ep_auth_key = 8 },
    Case("more keys per endpoint", false, APIVersion(1, 20)) { $0.domain.pointee.max_ep_auth_key = 9 },
    Case("more keys per endpoint before 1.20", true, APIVersion(1, 19)) { $0.domain.pointee.max_ep_auth_key = 9 },
    Case("peer groups", false) { $0.domain.pointee.max_group_id = 1 },
    Case("peer groups before 2.0", true, APIVersion(1, 22)) { $0.domain.pointee.max_group_id = 1 },
    Case("counter values", true) { $0.domain.pointee.max_cntr_value = .max },
  ]

  static let endpoint: [Case] = [
    Case("own protocol", true) { $0.endpoint.pointee.protocol = Capabilities.endpointProtocol },
    Case("another protocol", false) { $0.endpoint.pointee.protocol = UInt32(FI_PROTO_XNET) },
    Case("protocol version", true) { $0.endpoint.pointee.protocol_version = 1 },
    Case("newer protocol version", false) { $0.endpoint.pointee.protocol_version = 2 },
    Case("messages of SIZE_MAX", true) { $0.endpoint.pointee.max_msg_size = -1 },
    Case("one context", true) { $0.endpoint.pointee.tx_ctx_cnt = 1 },
    Case("as many transmit contexts as there are", true) { $0.endpoint.pointee.tx_ctx_cnt = 256 },
    Case("one more receive context", false) { $0.endpoint.pointee.rx_ctx_cnt = 257 },
    Case("a shared receive context", true) { $0.endpoint.pointee.rx_ctx_cnt = -1 },
    Case("a shared transmit context", true) { $0.endpoint.pointee.tx_ctx_cnt = -1 },
    Case("as many contexts as there are numbers but one", false) { $0.endpoint.pointee.tx_ctx_cnt = -2 },
    Case("write after read order of any size", true) {
      $0.info.pointee.caps = FI_RMA
      $0.endpoint.pointee.max_order_war_size = -1
    },
    Case("MPI's tag format", true) { $0.endpoint.pointee.mem_tag_format = 0x00c0_0000_7fff_ffff },
    Case("endpoint key", true) { $0.endpoint.pointee.auth_key_size = 64 },
    Case("longer endpoint key", false) { $0.endpoint.pointee.auth_key_size = 65 },
    Case("longer endpoint key before 1.5", true, APIVersion(1, 4)) { $0.endpoint.pointee.auth_key_size = 65 },
  ]

  static let queues: [Case] = [
    Case("persistent memory", true) { $0.info.pointee.caps = FI_RMA | FI_RMA_PMEM },
    Case("persistent memory without RMA", false) { $0.info.pointee.caps = FI_MSG | FI_RMA_PMEM },
    Case("inject limit", true) { $0.transmit.pointee.inject_size = Capabilities.injectSize },
    Case("above inject limit", false) { $0.transmit.pointee.inject_size = Capabilities.injectSize + 1 },
    Case("largest queues", true) {
      $0.transmit.pointee.size = 65_536
      $0.receive.pointee.size = 65_536
    },
    Case("transmit queue too large", false) { $0.transmit.pointee.size = 65_537 },
    Case("receive queue too large", false) { $0.receive.pointee.size = 65_537 },
    Case("transmit pieces", true) { $0.transmit.pointee.iov_limit = Capabilities.iovLimit },
    Case("too many transmit pieces", false) { $0.transmit.pointee.iov_limit = Capabilities.iovLimit + 1 },
    Case("too many receive pieces", false) { $0.receive.pointee.iov_limit = Capabilities.iovLimit + 1 },
    Case("too many remote pieces", false) { $0.transmit.pointee.rma_iov_limit = Capabilities.remoteIovLimit + 1 },
    Case("delivery complete", true) { $0.transmit.pointee.op_flags = FI_DELIVERY_COMPLETE | FI_COMPLETION },
    Case("commit complete", true) { $0.transmit.pointee.op_flags = FI_COMMIT_COMPLETE },
    Case("multi-receive by default", true) { $0.receive.pointee.op_flags = FI_MULTI_RECV },
    Case("message order", true) { $0.transmit.pointee.msg_order = FI_ORDER_SAS | FI_ORDER_RAW },
    Case("write after read", true) { $0.transmit.pointee.msg_order = FI_ORDER_WAR | FI_ORDER_RMA_WAR },
    Case("send after read", true) { $0.receive.pointee.msg_order = FI_ORDER_SAR },
    Case("an order that there is not", false) { $0.transmit.pointee.msg_order = 1 << 40 },
    Case("completion order", false) { $0.transmit.pointee.comp_order = FI_ORDER_SAS },
    Case("receive completion order", false) { $0.receive.pointee.comp_order = FI_ORDER_SAS },
    Case("buffered receives", false) { $0.receive.pointee.total_buffered_recv = 1 },
    Case("the endpoint's capabilities on both queues", true) {
      $0.transmit.pointee.caps = Capabilities.all
      $0.receive.pointee.caps = Capabilities.all
    },
    Case("transmit atomics", true) { $0.transmit.pointee.caps = FI_ATOMIC },
    Case("receive atomics", true) { $0.receive.pointee.caps = FI_ATOMIC },
  ]

  @Test(arguments: general + domain + endpoint + queues)
  func obstacle(_ test: Case) throws {
    let hints = try Hints()
    test.change(hints)
    #expect(hints.isAccepted(version: test.version) == test.accepted)
  }

  @Test func hintsWithoutAttributesAreAccepted() {
    var bare = fi_info()
    #expect(HintCheck(&bare, name: .polyfill, version: .library).obstacle() == nil)
  }

  @Test(arguments: ProviderName.allCases)
  func aliasesAcceptTheirProtocolOnly(name: ProviderName) throws {
    let hints = try Hints()
    for other in ProviderName.allCases {
      hints.endpoint.pointee.protocol = EndpointType.rdm.endpointProtocol(as: other).number
      hints.endpoint.pointee.protocol_version = 0
      #expect(hints.isAccepted(as: name) == (name == other))
    }
  }

  /// Version, hint, answer (nil: refused), and the answer with FI_POLYFILL_MR_PROV_KEY.
  @Test(arguments: [
    (APIVersion(1, 1), Int32(0), Int32?(1), Int32?(1)), (APIVersion(1, 4), 1, 1, 1), (APIVersion(1, 4), 2, 2, 2),
    (APIVersion(1, 4), 4, nil, nil), (APIVersion(1, 4), 0x34, nil, nil), (APIVersion(1, 4), -1, nil, nil),
    (APIVersion(0, 0), 0, 1, 1), (APIVersion(1, 5), 0, 0, 0), (APIVersion(1, 5), 1, 1, 1),
    (APIVersion(1, 5), 2, 2, 2), (APIVersion(1, 5), 4, 0, 0), (APIVersion(1, 5), 0x10, 0, 0),
    (APIVersion(1, 5), 0x74, 0, 0x40), (APIVersion(2, 6), 0x7fc, 0, 0x40), (APIVersion(2, 6), 0x41, nil, nil),
    (APIVersion(2, 6), 3, nil, nil), (APIVersion(2, 6), -1, nil, nil),
  ])
  func memoryMode(version: APIVersion, hint: Int32, expected: Int32?, withKeys: Int32?) {
    #expect(HintCheck.memoryMode(hint: hint, version: version, grantsProviderKeys: false) == expected)
    #expect(HintCheck.memoryMode(hint: hint, version: version, grantsProviderKeys: true) == withKeys)
  }

  @Test func registrationOfDeviceMemoryIsAskedForWithTheCapability() {
    let version = APIVersion(2, 6)
    let mode = { HintCheck.memoryMode(hint: $0, version: version, grantsProviderKeys: false, registersDevices: true) }
    #expect(mode(FI_MR_HMEM | FI_MR_LOCAL) == FI_MR_HMEM)
    #expect(mode(0) == 0)
    #expect(mode(MemoryMode.basic) == MemoryMode.basic)
  }

  @Test func deviceMemoryIsAbsentWithoutItsDrivers() {
    #expect(DeviceMemory.isAbsent { _ in false })
    #expect(!DeviceMemory.isAbsent { CText.equal($0.text, "/dev/kfd") })
  }

  @Test func basicModeMeansKeysAndAddressesOfTheProvider() {
    #expect(MemoryMode.hasProviderKeys(MemoryMode.basic) && MemoryMode.hasVirtualAddresses(MemoryMode.basic))
    #expect(!MemoryMode.hasProviderKeys(MemoryMode.scalable) && !MemoryMode.hasVirtualAddresses(MemoryMode.scalable))
    #expect(MemoryMode.hasProviderKeys(FI_MR_PROV_KEY) && !MemoryMode.hasVirtualAddresses(FI_MR_PROV_KEY))
    #expect(!MemoryMode.hasProviderKeys(FI_MR_VIRT_ADDR) && MemoryMode.hasVirtualAddresses(FI_MR_VIRT_ADDR))
  }
}

extension APIVersion: CustomTestStringConvertible {
  /// The version as programs write it.
  public var testDescription: String { "\(major).\(minor)" }
}
