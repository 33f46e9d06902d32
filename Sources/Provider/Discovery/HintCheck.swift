import CFabric
import Datagram

/// Whether the provider can satisfy hints, in the order and by the rules that programs know from upstream's providers.
///
/// A non-zero hint is a requirement; zero leaves the choice to the provider. Fields that came with a later interface
/// version than the program asked for are not looked at.
///
/// Man pages: fi_getinfo(3), fi_domain(3), fi_endpoint(3)
package struct HintCheck {
  private let hints: fi_info
  private let name: ProviderName
  private let type: EndpointType
  private let version: APIVersion

  /// The hints are checked for endpoints of `type` under the provider's `name`.
  package init(
    _ hints: UnsafePointer<fi_info>, name: ProviderName, type: EndpointType = .rdm, version: APIVersion
  ) {
    self.hints = hints.pointee
    self.name = name
    self.type = type
    self.version = version
  }

  /// Why the hints cannot be met; nil if they can.
  package func obstacle() -> StaticString? {
    if let endpoint = hints.ep_attr?.pointee, endpoint.type != FI_EP_UNSPEC, endpoint.type != type.number {
      return "the endpoint type is another one"
    }
    if hints.caps & ~type.all != 0 { return "a capability is not offered" }
    if hints.caps & FI_HMEM != 0 && !DeviceMemory.isAbsent {
      return "FI_HMEM is not offered on a host with an accelerator, unless FI_HMEM=system is set"
    }
    if hints.caps & (FI_SOURCE | FI_SOURCE_ERR) == FI_SOURCE_ERR { return "FI_SOURCE_ERR needs FI_SOURCE" }
    if hints.caps & (FI_RMA | FI_RMA_PMEM) == FI_RMA_PMEM { return "FI_RMA_PMEM needs FI_RMA" }
    if AddressFormat.family(hints.addr_format) == nil { return "the address format is not an IP one" }
    if let fabric = hints.fabric_attr?.pointee, fabric.prov_version > name.version.rawValue {
      return "the provider is older than the version asked for"
    }
    return hints.domain_attr.flatMap { domain($0.pointee) } ?? hints.ep_attr.flatMap { endpoint($0.pointee) }
      ?? hints.rx_attr.flatMap { receive($0.pointee) } ?? hints.tx_attr.flatMap { transmit($0.pointee) }
  }

  /// What mr_mode to answer for a hint; nil if the hint makes no sense.
  ///
  /// The provider needs nothing of the program, so bits are dropped: keys are the program's and addresses are offsets.
  /// - FI_MR_BASIC and FI_MR_SCALABLE, alone, are echoed; basic means provider keys and virtual addresses.
  /// - FI_MR_PROV_KEY stays if it is hinted and FI_POLYFILL_MR_PROV_KEY is set.
  /// - FI_MR_HMEM stays with FI_HMEM (`registersDevices`): memory of a device is to be registered, which is refused.
  /// - Before version 1.5 the value is one of 0, basic and scalable, and the answer is never 0.
  package static func memoryMode(
    hint: Int32, version: APIVersion, grantsProviderKeys: Bool, registersDevices: Bool = false
  ) -> Int32? {
    if hint == MemoryMode.basic || hint == MemoryMode.scalable { return hint }
    if version < APIVersion(1, 5) { return hint == 0 ? MemoryMode.basic : nil }
    if hint & (MemoryMode.basic | MemoryMode.scalable) != 0 { return nil }
    return hint & ((grantsProviderKeys ? FI_MR_PROV_KEY : 0) | (registersDevices ? FI_MR_HMEM : 0))
  }

  // MARK: Attributes

  private func domain(_ domain: fi_domain_attr) -> StaticString? {
    if !isOffered(domain.threading) { return "the threading level is not offered" }
    if domain.progress.rawValue > FI_PROGRESS_CONTROL_UNIFIED.rawValue { return "the progress model is unknown" }
    if domain.resource_mgmt.rawValue > FI_RM_ENABLED.rawValue { return "the resource management model is unknown" }
    if domain.av_type.rawValue > FI_AV_TABLE.rawValue { return "the address vector type is unknown" }
    if exceeds(domain.cq_data_size, type.completionDataSize) { return "cq_data_size is too large" }
    if Self.memoryMode(hint: domain.mr_mode, version: version, grantsProviderKeys: false) == nil {
      return "mr_mode is not a valid combination"
    }
    return version < APIVersion(1, 5) ? nil : domainSince1_5(domain)
  }

  private func domainSince1_5(_ domain: fi_domain_attr) -> StaticString? {
    if exceeds(domain.cntr_cnt, Capabilities.counterCount) { return "cntr_cnt is too large" }
    if exceeds(domain.mr_iov_limit, Capabilities.memoryIovLimit) { return "mr_iov_limit is too large" }
    if exceeds(domain.mr_cnt, Capabilities.memoryRegionCount) { return "mr_cnt is too large" }
    if domain.caps & ~type.domain != 0 { return "a domain capability is not offered" }
    if exceeds(domain.max_err_data, Capabilities.maximumErrorData) { return "max_err_data is too large" }
    if domain.auth_key_size != Capabilities.vectorKeys || type.keysPerEndpoint == 0 || version < APIVersion(1, 20) {
      if exceeds(domain.auth_key_size, type.authorizationKeySize) { return "the authorization key is too long" }
    } else if let endpoint = hints.ep_attr?.pointee, endpoint.auth_key_size != 0 {
      return "an endpoint's key does not go with FI_AV_AUTH_KEY"
    }
    if version >= APIVersion(1, 20) && exceeds(domain.max_ep_auth_key, type.keysPerEndpoint) {
      return "an endpoint cannot have so many authorization keys"
    }
    if version >= APIVersion(2, 0) && domain.max_group_id != 0 { return "peer groups are not offered" }
    return nil
  }

  private func endpoint(_ endpoint: fi_ep_attr) -> StaticString? {
    let own = type.endpointProtocol(as: name)
    if endpoint.protocol != UInt32(FI_PROTO_UNSPEC) {
      if endpoint.protocol != own.number { return "the endpoint protocol is another one" }
    }
    if endpoint.protocol_version > own.version { return "the endpoint protocol version is too new" }
    if exceeds(endpoint.max_msg_size, type.maximumMessageSize) { return "max_msg_size is too large" }
    if !isOffered(contexts: endpoint.tx_ctx_cnt) || !isOffered(contexts: endpoint.rx_ctx_cnt) {
      return "an endpoint has not so many contexts"
    }
    if hints.caps & (FI_RMA | FI_ATOMIC) != 0 {
      let tooLarge =
        exceeds(endpoint.max_order_raw_size, type.maximumOrderRAW)
        || exceeds(endpoint.max_order_war_size, type.maximumOrderWAR)
        || exceeds(endpoint.max_order_waw_size, type.maximumOrderWAW)
      if tooLarge { return "a max_order size is too large" }
    }
    if version >= APIVersion(1, 5) && exceeds(endpoint.auth_key_size, type.authorizationKeySize) {
      return "the authorization key is too long"
    }
    return nil
  }

  private func transmit(_ attributes: fi_tx_attr) -> StaticString? {
    let ignored = Capabilities.ignoredForTransmit | Capabilities.domain
    if attributes.caps & ~(type.transmit | ignored) != 0 { return "a transmit capability is not offered" }
    if attributes.op_flags & ~type.transmitFlags != 0 { return "a transmit operation flag is not offered" }
    if attributes.msg_order & ~type.messageOrder != 0 { return "the transmit message order is not kept" }
    if attributes.comp_order != 0 { return "completions have no order" }
    if exceeds(attributes.inject_size, type.injectSize) { return "inject_size is too large" }
    if exceeds(attributes.size, Capabilities.maximumQueueSize) { return "the transmit queue is too large" }
    if exceeds(attributes.iov_limit, Capabilities.iovLimit) { return "iov_limit is too large" }
    if exceeds(attributes.rma_iov_limit, type.remoteIovLimit) { return "rma_iov_limit is too large" }
    return nil
  }

  private func receive(_ attributes: fi_rx_attr) -> StaticString? {
    let ignored = Capabilities.ignoredForReceive | Capabilities.domain
    if attributes.caps & ~(type.receive | ignored) != 0 { return "a receive capability is not offered" }
    if attributes.op_flags & ~type.receiveFlags != 0 { return "a receive operation flag is not offered" }
    if attributes.msg_order & ~type.messageOrder != 0 { return "the receive message order is not kept" }
    if attributes.comp_order != 0 { return "completions have no order" }
    if attributes.total_buffered_recv != 0 { return "total_buffered_recv is not offered" }
    if exceeds(attributes.size, Capabilities.maximumQueueSize) { return "the receive queue is too large" }
    if exceeds(attributes.iov_limit, Capabilities.iovLimit) { return "iov_limit is too large" }
    return nil
  }

  /// FI_THREAD_FID and FI_THREAD_ENDPOINT went with version 2.0; older programs still get them, served as
  /// FI_THREAD_SAFE, which promises more.
  private func isOffered(_ level: fi_threading) -> Bool {
    switch level {
    case FI_THREAD_UNSPEC, FI_THREAD_SAFE, FI_THREAD_DOMAIN, FI_THREAD_COMPLETION: true
    case FI_THREAD_FID, FI_THREAD_ENDPOINT: version < APIVersion(2, 0)
    default: false
    }
  }

  /// A number of contexts, or FI_SHARED_CONTEXT.
  private func isOffered(contexts count: Int) -> Bool {
    !exceeds(count, type.contextsPerEndpoint) || count == EndpointOptions.sharedContext && type != .dgram
  }
}

/// The two values of mr_mode that are no bits of their own, from before version 1.5, and what a domain's mr_mode means.
package enum MemoryMode {
  package static var basic: Int32 { 1 }
  package static var scalable: Int32 { 2 }

  /// Whether a domain opened with `mode` chooses the keys of its memory regions.
  package static func hasProviderKeys(_ mode: Int32) -> Bool { mode & (basic | FI_MR_PROV_KEY) != 0 }

  /// Whether peers of a domain opened with `mode` name memory by virtual addresses, not by offsets.
  package static func hasVirtualAddresses(_ mode: Int32) -> Bool { mode & (basic | FI_MR_VIRT_ADDR) != 0 }
}
