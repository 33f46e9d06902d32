import CFabric

/// What a program wants of a fabric. Everything is optional: `Hints()` asks for reliable unconnected endpoints with all
/// kinds of operation.
///
/// The threading level cannot be chosen: it is `FI_THREAD_SAFE`, which lets any thread call anything. Only so can
/// ``Endpoint``, ``CompletionQueue`` and the others be `Sendable`, and be used from tasks, which move between threads.
/// What it costs is an uncontended lock per call where the provider needs one.
///
/// Man page: fi_getinfo(3)
public struct Hints: Sendable {
  /// How endpoints talk to each other.
  public enum EndpointType: Sendable {
    /// Unconnected and reliable; any number of peers. `FI_EP_RDM`
    case reliableDatagram
    /// Connected to one peer, see ``PassiveEndpoint``. `FI_EP_MSG`
    case connected
    /// Unconnected; messages of one datagram that may be lost. `FI_EP_DGRAM`
    case datagram
  }

  /// Who makes transfers progress.
  public enum Progress: Sendable {
    /// The provider by itself. A peer reaches this side's memory although this program does nothing. `FI_PROGRESS_AUTO`
    case automatic
    /// Calls of the program, as ``CompletionQueue/read(limit:_:)``. `FI_PROGRESS_MANUAL`
    case manual
  }

  /// When a send, write or atomic operation completes.
  public enum CompletionLevel: Sendable {
    /// Once the transfer no longer depends on this side. `FI_TRANSMIT_COMPLETE`
    case transmitted
    /// Once the peer's memory holds the data. `FI_DELIVERY_COMPLETE`
    case delivered
  }

  /// What must be offered. An ``Info`` may offer more.
  public var capabilities: Capabilities

  /// The kind of endpoint.
  public var endpointType: EndpointType

  /// The provider, in libfabric's notation: `tcp;ofi_rxm`. nil leaves the choice to the library, and to the variable
  /// `FI_PROVIDER`.
  public var provider: String?

  /// The name of a domain, as ``Info/domainName`` has it: a network interface or device.
  public var domainName: String?

  /// Who makes progress; nil is the provider's preference.
  public var progress: Progress?

  /// When operations complete; nil is the provider's preference.
  public var completionLevel: CompletionLevel?

  /// Hints that ask for what is given here and leave the rest open.
  public init(
    capabilities: Capabilities = .all, endpointType: EndpointType = .reliableDatagram, provider: String? = nil,
    domainName: String? = nil, progress: Progress? = nil, completionLevel: CompletionLevel? = nil
  ) {
    self.capabilities = capabilities
    self.endpointType = endpointType
    self.provider = provider
    self.domainName = domainName
    self.progress = progress
    self.completionLevel = completionLevel
  }
}

extension Hints {
  /// The hints as fi_getinfo() takes them, in the library's own memory and thus of the size its release has. No field is
  /// touched that came after release 1.5.
  func makeInfo() throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    guard let info = fi_allocinfo() else { throw FabricError(.noMemory, in: "fi_allocinfo") }
    info.pointee.caps = capabilities.rawValue
    info.pointee.mode = FI_CONTEXT | FI_CONTEXT2
    info.pointee.ep_attr.pointee.type = endpointType.value
    info.pointee.tx_attr.pointee.op_flags = completionLevel?.flags ?? 0
    let domain = info.pointee.domain_attr!
    domain.pointee.threading = FI_THREAD_SAFE
    domain.pointee.resource_mgmt = FI_RM_ENABLED
    domain.pointee.mr_mode = Hints.registrationModes
    if let progress {
      domain.pointee.control_progress = progress.value
      domain.pointee.data_progress = progress.value
    }
    // The names are freed with the structure.
    if let domainName { domain.pointee.name = strdup(domainName) }
    if let provider { info.pointee.fabric_attr.pointee.prov_name = strdup(provider) }
    return info
  }

  /// What regions do where the provider wants it: see ``RegisteredMemory``.
  private static let registrationModes =
    FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_ENDPOINT
}

extension Hints.EndpointType {
  var value: fi_ep_type {
    switch self {
    case .reliableDatagram: FI_EP_RDM
    case .connected: FI_EP_MSG
    case .datagram: FI_EP_DGRAM
    }
  }

  init?(_ value: fi_ep_type) {
    switch value {
    case FI_EP_RDM: self = .reliableDatagram
    case FI_EP_MSG: self = .connected
    case FI_EP_DGRAM: self = .datagram
    default: return nil
    }
  }
}

extension Hints.Progress {
  var value: fi_progress {
    switch self {
    case .automatic: FI_PROGRESS_AUTO
    case .manual: FI_PROGRESS_MANUAL
    }
  }
}

extension Hints.CompletionLevel {
  var flags: UInt64 {
    switch self {
    case .transmitted: FI_TRANSMIT_COMPLETE
    case .delivered: FI_DELIVERY_COMPLETE
    }
  }
}
