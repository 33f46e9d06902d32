import CFabric
import Transport

/// The types of endpoints, with what an endpoint of each can do and how much of it. What all types have in common is in
/// ``Capabilities``.
///
/// Man pages: fi_endpoint(3), "type"; fi_getinfo(3), "endpoint types"
package enum EndpointType: Equatable {
  /// FI_EP_RDM: reliable, to any entry of an address vector.
  case rdm
  /// FI_EP_MSG: reliable, to the one peer it is connected to.
  case msg
  /// FI_EP_DGRAM: plain datagrams, which may be lost.
  case dgram
  /// FI_EP_DGRAM too, for what plain datagrams have no place for: remote CQ data, tags, shared contexts. Carried by the
  /// transport, so nothing is lost either.
  case carriedDgram

  /// The type with a number of `fi_ep_type` that speaks a protocol of `endpointProtocol(as:)`; nil for FI_EP_UNSPEC and
  /// others that there are not.
  package init?(_ number: fi_ep_type, protocol endpointProtocol: UInt32) {
    switch number {
    case FI_EP_RDM: self = .rdm
    case FI_EP_MSG: self = .msg
    case FI_EP_DGRAM:
      let isPlain = endpointProtocol == UInt32(FI_PROTO_UDP) || endpointProtocol == UInt32(FI_PROTO_UNSPEC)
      self = isPlain ? .dgram : .carriedDgram
    default: return nil
    }
  }

  package var number: fi_ep_type {
    switch self {
    case .rdm: FI_EP_RDM
    case .msg: FI_EP_MSG
    case .dgram, .carriedDgram: FI_EP_DGRAM
    }
  }

  // MARK: Offers

  /// The types that fi_getinfo lists under a provider's name, the first one first; of those with the same number only the
  /// first that does.
  package static func offered(as name: ProviderName) -> [EndpointType] {
    switch name {
    case .polyfill: [.rdm, .msg, .dgram, .carriedDgram]
    case .sockets: [.rdm, .msg, .carriedDgram]
    case .tcp: [.msg, .rdm]
    case .udp: [.dgram, .rdm]
    case .tcpRxm, .udpRxd: [.rdm]
    }
  }

  /// The endpoint protocol under a provider's name, and its version: programs hint them for the provider they think they
  /// ask.
  package func endpointProtocol(as name: ProviderName) -> (number: UInt32, version: UInt32) {
    switch name {
    case .polyfill:
      self == .dgram
        ? (UInt32(FI_PROTO_UDP), 0) : (Capabilities.endpointProtocol, Capabilities.endpointProtocolVersion)
    case .udp: (UInt32(FI_PROTO_UDP), 0)
    case .udpRxd: (UInt32(FI_PROTO_RXD), 1)
    case .tcp: self == .msg ? (UInt32(FI_PROTO_SOCK_TCP), 0) : (UInt32(FI_PROTO_XNET), 1)
    case .tcpRxm: (UInt32(FI_PROTO_RXM), 1)
    case .sockets: (UInt32(FI_PROTO_SOCK_TCP), 2)
    }
  }

  // MARK: Capability bits

  /// What transmits: ops that an endpoint initiates.
  package var transmit: UInt64 {
    switch self {
    case .rdm, .carriedDgram: Capabilities.transmit
    case .msg: Capabilities.transmit & ~Self.needsAddressVector
    case .dgram: FI_MSG | FI_SEND | FI_MULTICAST
    }
  }

  /// What an endpoint is the target of.
  package var receive: UInt64 {
    switch self {
    case .rdm, .carriedDgram: Capabilities.receive
    case .msg: Capabilities.receive & ~Self.needsAddressVector
    case .dgram: FI_MSG | FI_RECV | FI_SOURCE
    }
  }

  /// All that an endpoint may be asked for, its domain's capabilities included.
  package var all: UInt64 { transmit | receive | domain }

  /// What the domain of such endpoints can do. Other providers' objects (FI_PEER) are for endpoints without connections.
  package var domain: UInt64 {
    switch self {
    case .rdm: Capabilities.domain
    case .msg: Capabilities.domain & ~(FI_PEER | Self.needsAddressVector)
    case .dgram, .carriedDgram: Capabilities.domain & ~FI_PEER
    }
  }

  /// What makes sense only where peers are entries of an address vector.
  private static var needsAddressVector: UInt64 {
    FI_COLLECTIVE | FI_MULTICAST | FI_NAMED_RX_CTX | FI_AV_USER_ID | FI_SOURCE_ERR
  }

  /// Operation flags that an endpoint takes as its defaults.
  package var transmitFlags: UInt64 {
    self == .dgram ? FI_INJECT | FI_INJECT_COMPLETE | FI_COMPLETION | FI_MULTICAST : Capabilities.transmitFlags
  }
  package var receiveFlags: UInt64 { self == .dgram ? FI_COMPLETION : Capabilities.receiveFlags }

  // MARK: Limits

  package var messageOrder: UInt64 { self == .dgram ? 0 : Capabilities.messageOrder }
  package var maximumOrderRAW: Int { self == .dgram ? 0 : Capabilities.maximumOrderRAW }
  package var maximumOrderWAR: Int { self == .dgram ? 0 : Capabilities.maximumOrderWAR }
  package var maximumOrderWAW: Int { self == .dgram ? 0 : Capabilities.maximumOrderWAW }
  /// In bytes.
  package var maximumMessageSize: Int { self == .dgram ? Self.datagramPayload : Capabilities.maximumMessageSize }
  package var injectSize: Int { self == .dgram ? Self.datagramPayload : Capabilities.injectSize }
  package var remoteIovLimit: Int { self == .dgram ? 0 : Capabilities.remoteIovLimit }
  package var completionDataSize: Int { self == .dgram ? 0 : Capabilities.completionDataSize }
  package var authorizationKeySize: Int { self == .dgram ? 0 : Capabilities.authorizationKeySize }
  package var keysPerEndpoint: Int { self == .dgram ? 0 : Capabilities.keysPerEndpoint }
  /// Contexts of a scalable endpoint, of either kind.
  package var contextsPerEndpoint: Int { self == .rdm ? Capabilities.contextsPerEndpoint : 1 }
  package var tagFormat: UInt64 { self == .dgram ? 0 : Capabilities.tagFormat }

  /// An Ethernet frame's worth over IPv4.
  private static var datagramPayload: Int { 1472 }
}
