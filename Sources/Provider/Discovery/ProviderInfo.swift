import CFabric
import CPlatform
import Datagram

/// Builds the entries that fi_getinfo returns: what the provider has, cut to what hints ask for.
///
/// The hints were accepted by ``HintCheck`` for this name and type.
///
/// Man pages: fi_getinfo(3), fi_domain(3), fi_endpoint(3)
package struct ProviderInfo {
  private let name: ProviderName
  private let type: EndpointType
  private let version: APIVersion
  private let hints: fi_info?
  private let configuration: Configuration

  package init(
    name: ProviderName, type: EndpointType, version: APIVersion, hints: UnsafePointer<fi_info>?,
    configuration: Configuration
  ) {
    self.name = name
    self.type = type
    self.version = version
    self.hints = hints?.pointee
    self.configuration = configuration
  }

  /// Whether `choice` has the names that hints ask for, which compare without case.
  package func isWanted(_ choice: AddressChoice) -> Bool {
    if let domain = hints?.domain_attr?.pointee.name {
      guard choice.interface.withName({ CText.equal($0, domain) }) else { return false }
    }
    guard let fabric = hints?.fabric_attr?.pointee.name else { return true }
    return withFabricName(of: choice) { CText.equal($0, fabric) }
  }

  /// The entry for `choice`. Throws ``FabricError/noMemory``.
  package func entry(for choice: AddressChoice) throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    let info = try InfoMemory.allocate()
    do {
      try fillAddresses(info, choice)
      try fillFabric(info.pointee.fabric_attr, choice)
      try fillDomain(info.pointee.domain_attr, choice)
      try fillKey(info.pointee.ep_attr)
    } catch {
      InfoMemory.free(info)
      throw error
    }
    let caps = self.capabilities
    info.pointee.caps = caps & ~Capabilities.locality | communication(choice)
    info.pointee.handle = hints?.handle
    fillEndpoint(&info.pointee.ep_attr.pointee, caps)
    fillTransmit(&info.pointee.tx_attr.pointee, caps)
    fillReceive(&info.pointee.rx_attr.pointee, caps)
    if let fabric = info.pointee.fabric_attr.pointee.fabric {
      info.pointee.domain_attr.pointee.domain = OpenInstances.domain(
        named: info.pointee.domain_attr.pointee.name, in: fabric)
    }
    return info
  }

  // MARK: Capabilities

  /// The endpoint's capabilities: everything without hints; else what was hinted, the directions that a hinted kind of
  /// transfer implies, and the secondary capabilities that cost nothing.
  private var capabilities: UInt64 {
    let hinted = hints?.caps ?? 0
    if hinted == 0 { return type.all & ~Capabilities.onlyByName }
    let unasked = Capabilities.secondary & ~Capabilities.onRequest
    return directed(hinted & (Capabilities.primary | Capabilities.onRequest) | type.all & unasked)
  }

  /// The capabilities of one direction, `offered` being all that belong to it: those of the endpoint, cut to the ones
  /// hinted for the direction if any were.
  private func capabilities(_ offered: UInt64, hinted: UInt64, endpoint: UInt64) -> UInt64 {
    hinted & offered == 0 ? endpoint & offered : directed(hinted & offered) & offered
  }

  /// Sending and receiving mean both directions where neither is named.
  private func directed(_ caps: UInt64) -> UInt64 {
    var caps = caps
    let memory = FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE
    if caps & (FI_MSG | FI_TAGGED) != 0 && caps & (FI_SEND | FI_RECV) == 0 { caps |= FI_SEND | FI_RECV }
    if caps & (FI_RMA | FI_ATOMIC) != 0 && caps & memory == 0 { caps |= memory }
    return caps
  }

  /// A loopback interface reaches this host only; it says otherwise just where a program insists.
  private func communication(_ choice: AddressChoice) -> UInt64 {
    choice.interface.isLoopback ? FI_LOCAL_COMM | (hints?.caps ?? 0) & FI_REMOTE_COMM : Capabilities.locality
  }

  // MARK: Attributes

  private func fillAddresses(
    _ info: UnsafeMutablePointer<fi_info>, _ choice: AddressChoice
  ) throws(FabricError) {
    info.pointee.addr_format = AddressFormat.format(choice.source.family)
    let source = try AddressFormat.sockaddr(choice.source)
    info.pointee.src_addr = source.memory
    info.pointee.src_addrlen = source.length
    guard let peer = choice.destination else { return }
    let destination = try AddressFormat.sockaddr(peer)
    info.pointee.dest_addr = destination.memory
    info.pointee.dest_addrlen = destination.length
  }

  private func fillFabric(
    _ attributes: UnsafeMutablePointer<fi_fabric_attr>, _ choice: AddressChoice
  ) throws(FabricError) {
    attributes.pointee.prov_name = try InfoMemory.string(name.text.text)
    let fabric = withFabricName(of: choice) { strdup($0) }
    guard let fabric else { throw .noMemory }
    attributes.pointee.name = fabric
    attributes.pointee.prov_version = name.version.rawValue
    attributes.pointee.api_version = version.rawValue
    attributes.pointee.fabric = OpenInstances.fabric(named: fabric)
  }

  private func fillDomain(
    _ attributes: UnsafeMutablePointer<fi_domain_attr>, _ choice: AddressChoice
  ) throws(FabricError) {
    let hint = hints?.domain_attr?.pointee
    let domainName = choice.interface.withName { strdup($0) }
    guard let domainName else { throw .noMemory }
    attributes.pointee.name = domainName
    let level = hint?.threading ?? FI_THREAD_UNSPEC
    attributes.pointee.threading = level == FI_THREAD_UNSPEC ? FI_THREAD_SAFE : level
    let progress = hint?.progress ?? FI_PROGRESS_UNSPEC
    attributes.pointee.progress = progress == FI_PROGRESS_UNSPEC ? FI_PROGRESS_AUTO : progress
    attributes.pointee.control_progress = attributes.pointee.progress
    attributes.pointee.resource_mgmt = FI_RM_ENABLED
    attributes.pointee.av_type = hint?.av_type ?? FI_AV_UNSPEC
    let mode = HintCheck.memoryMode(
      hint: hint?.mr_mode ?? 0, version: version, grantsProviderKeys: configuration.grantsProviderKeys,
      registersDevices: (hints?.caps ?? 0) & FI_HMEM != 0)
    attributes.pointee.mr_mode = mode ?? 0
    attributes.pointee.mr_key_size = Capabilities.memoryKeySize
    attributes.pointee.cq_data_size = type.completionDataSize
    attributes.pointee.cq_cnt = Capabilities.completionQueueCount
    attributes.pointee.ep_cnt = Capabilities.endpointCount
    attributes.pointee.tx_ctx_cnt = Capabilities.endpointCount
    attributes.pointee.rx_ctx_cnt = Capabilities.endpointCount
    attributes.pointee.max_ep_tx_ctx = type.contextsPerEndpoint
    attributes.pointee.max_ep_rx_ctx = type.contextsPerEndpoint
    attributes.pointee.max_ep_stx_ctx = Capabilities.endpointCount
    attributes.pointee.max_ep_srx_ctx = Capabilities.endpointCount
    attributes.pointee.cntr_cnt = Capabilities.counterCount
    attributes.pointee.mr_iov_limit = Capabilities.memoryIovLimit
    attributes.pointee.mr_cnt = Capabilities.memoryRegionCount
    let requested = hints.map { $0.caps | ($0.domain_attr?.pointee.caps ?? 0) } ?? 0
    attributes.pointee.caps = Capabilities.locality | requested & type.domain
    attributes.pointee.max_ep_auth_key = type.keysPerEndpoint
    if let hint, version >= APIVersion(1, 5) {
      attributes.pointee.auth_key = try InfoMemory.key(hint.auth_key, hint.auth_key_size)
      attributes.pointee.auth_key_size = hint.auth_key_size
    }
    attributes.pointee.max_err_data = Capabilities.maximumErrorData
    attributes.pointee.max_cntr_value = .max
    attributes.pointee.max_err_cntr_value = .max
  }

  private func fillKey(_ attributes: UnsafeMutablePointer<fi_ep_attr>) throws(FabricError) {
    guard let hint = hints?.ep_attr?.pointee, version >= APIVersion(1, 5) else { return }
    attributes.pointee.auth_key = try InfoMemory.key(hint.auth_key, hint.auth_key_size)
    attributes.pointee.auth_key_size = hint.auth_key_size
  }

  private func fillEndpoint(_ attributes: inout fi_ep_attr, _ caps: UInt64) {
    let hint = hints?.ep_attr?.pointee
    let own = type.endpointProtocol(as: name)
    attributes.type = type.number
    attributes.protocol = own.number
    attributes.protocol_version = own.version
    attributes.max_msg_size = type.maximumMessageSize
    attributes.max_order_raw_size = type.maximumOrderRAW
    attributes.max_order_war_size = type.maximumOrderWAR
    attributes.max_order_waw_size = type.maximumOrderWAW
    if let hint, caps & (FI_RMA | FI_ATOMIC) != 0 {
      attributes.max_order_raw_size = chosen(hint.max_order_raw_size, type.maximumOrderRAW)
      attributes.max_order_war_size = chosen(hint.max_order_war_size, type.maximumOrderWAR)
      attributes.max_order_waw_size = chosen(hint.max_order_waw_size, type.maximumOrderWAW)
    }
    attributes.mem_tag_format = type.tagFormat
    attributes.tx_ctx_cnt = chosen(hint?.tx_ctx_cnt, 1)
    attributes.rx_ctx_cnt = chosen(hint?.rx_ctx_cnt, 1)
  }

  private func fillTransmit(_ attributes: inout fi_tx_attr, _ caps: UInt64) {
    let hint = hints?.tx_attr?.pointee
    attributes.caps = capabilities(type.transmit, hinted: hint?.caps ?? 0, endpoint: caps)
    attributes.op_flags = hint?.op_flags ?? 0
    attributes.msg_order = type.messageOrder
    attributes.inject_size = chosen(hint?.inject_size, type.injectSize)
    attributes.size = chosen(hint?.size, configuration.txSize)
    attributes.iov_limit = chosen(hint?.iov_limit, Capabilities.standardIovLimit)
    attributes.rma_iov_limit = chosen(hint?.rma_iov_limit, type.remoteIovLimit)
  }

  private func fillReceive(_ attributes: inout fi_rx_attr, _ caps: UInt64) {
    let hint = hints?.rx_attr?.pointee
    attributes.caps = capabilities(type.receive, hinted: hint?.caps ?? 0, endpoint: caps)
    attributes.op_flags = hint?.op_flags ?? 0
    attributes.msg_order = type.messageOrder
    attributes.size = chosen(hint?.size, configuration.rxSize)
    attributes.iov_limit = chosen(hint?.iov_limit, Capabilities.standardIovLimit)
  }

  private func chosen(_ hint: Int?, _ standard: Int) -> Int { hint.map { $0 == 0 ? standard : $0 } ?? standard }

  // MARK: Names

  /// The network in CIDR form. Loopback addresses are each a network of their own, as upstream's providers have it.
  private func withFabricName<Result>(of choice: AddressChoice, _ body: (CString) -> Result) -> Result {
    let address = choice.interface.address
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: SocketAddress.textCapacity) { memory in
      let text = memory.baseAddress!
      if address.isLoopback {
        let longest = address.family == .ipv4 ? 32 : 128
        _ = SocketAddress.loopback(address.family, port: 0).writeNetwork(
          prefixLength: longest, to: text, capacity: SocketAddress.textCapacity)
      } else {
        _ = choice.interface.writeNetwork(to: text, capacity: SocketAddress.textCapacity)
      }
      return body(text)
    }
  }
}
