import CFabric
import Transport

/// What the UDP provider can do and how much of it: the one place where an answer of fi_getinfo and the endpoints
/// behind it agree.
///
/// Man pages: fi_getinfo(3), fi_endpoint(3), fi_domain(3)
package enum Capabilities {
  // MARK: Identity

  package static var providerVersion: APIVersion { APIVersion(1, 0) }

  /// The wire protocol's number in ep_attr.protocol; numbers with the highest bit set are not upstream's.
  package static var endpointProtocol: UInt32 { 0x8050_4C46 }
  package static var endpointProtocolVersion: UInt32 { 1 }

  // MARK: Capability bits

  /// What transmits: ops that an endpoint initiates.
  package static var transmit: UInt64 {
    transfer | FI_SEND | FI_READ | FI_WRITE | FI_FENCE | FI_NAMED_RX_CTX | FI_RMA_PMEM | FI_TRIGGER
  }
  /// What an endpoint is the target of.
  package static var receive: UInt64 {
    let messages = FI_SOURCE | FI_SOURCE_ERR | directed | FI_MULTI_RECV | FI_TAGGED_MULTI_RECV
    let remotes = FI_REMOTE_READ | FI_REMOTE_WRITE | FI_RMA_EVENT | FI_RMA_PMEM
    return transfer | FI_RECV | remotes | messages | FI_TRIGGER
  }
  package static var domain: UInt64 { locality | addressing | FI_PEER }
  /// Whom endpoints reach.
  package static var locality: UInt64 { FI_LOCAL_COMM | FI_REMOTE_COMM }
  /// What address vectors can do.
  package static var addressing: UInt64 { FI_SHARED_AV | FI_AV_USER_ID }
  package static var all: UInt64 { transmit | receive | domain }

  static var directed: UInt64 { FI_DIRECTED_RECV | FI_TAGGED_DIRECTED_RECV | FI_EXACT_DIRECTED_RECV }
  /// FI_HMEM where ``DeviceMemory`` is absent.
  private static var transfer: UInt64 { FI_MSG | FI_TAGGED | FI_RMA | FI_ATOMIC | FI_COLLECTIVE | FI_HMEM }

  /// Capabilities that must be asked for; all others are secondary and may be answered unasked.
  package static var primary: UInt64 {
    let shared = FI_MSG | FI_RMA | FI_TAGGED | FI_ATOMIC | FI_COLLECTIVE | FI_HMEM | FI_XPU
    let transmit = FI_MULTICAST | FI_READ | FI_WRITE | FI_SEND | FI_NAMED_RX_CTX
    let receive = FI_REMOTE_READ | FI_REMOTE_WRITE | FI_RECV | directed
    return shared | transmit | receive | FI_AV_USER_ID | FI_PEER
  }
  package static var secondary: UInt64 {
    FI_LOCAL_COMM | FI_REMOTE_COMM | onRequest
  }

  /// Secondary capabilities that are answered only where they are asked for: FI_SOURCE and FI_RMA_EVENT cost time, and
  /// FI_SHARED_AV, FI_FENCE, FI_RMA_PMEM and FI_TRIGGER say nothing to programs that do not use them, the others change what calls
  /// mean.
  package static var onRequest: UInt64 {
    let messages = FI_SOURCE | FI_SOURCE_ERR | FI_MULTI_RECV | FI_TAGGED_MULTI_RECV
    return messages | FI_SHARED_AV | FI_RMA_EVENT | FI_RMA_PMEM | FI_FENCE | FI_TRIGGER
  }
  /// What is not even answered to those who name no capability: what forbids something that is allowed otherwise or makes
  /// errors of what is none, the receives of version 2, which say more about tagged messages than programs that take
  /// all there is can know, and what is for programs that are providers or use devices.
  package static var onlyByName: UInt64 {
    FI_EXACT_DIRECTED_RECV | FI_SOURCE_ERR | FI_TAGGED_DIRECTED_RECV | FI_TAGGED_MULTI_RECV | FI_PEER | FI_HMEM
  }

  /// Bits that older programs set in the wrong direction's attributes; they are ignored there.
  package static var ignoredForTransmit: UInt64 {
    FI_REMOTE_READ | FI_REMOTE_WRITE | FI_RECV | directed | FI_MULTI_RECV | FI_TAGGED_MULTI_RECV | FI_SOURCE
      | FI_RMA_EVENT | FI_SOURCE_ERR
  }
  package static var ignoredForReceive: UInt64 {
    FI_READ | FI_WRITE | FI_SEND | FI_FENCE | FI_MULTICAST | FI_NAMED_RX_CTX
  }

  /// Operation flags that an endpoint takes as its defaults.
  package static var transmitFlags: UInt64 {
    let levels = FI_INJECT_COMPLETE | FI_TRANSMIT_COMPLETE | FI_DELIVERY_COMPLETE | FI_COMMIT_COMPLETE
    return levels | FI_INJECT | FI_COMPLETION
  }
  package static var receiveFlags: UInt64 { FI_COMPLETION | FI_MULTI_RECV }

  // MARK: Ordering

  package static var messageOrder: UInt64 {
    let messages = FI_ORDER_RAS | FI_ORDER_WAS | FI_ORDER_SAR | FI_ORDER_SAW | FI_ORDER_SAS
    let memory = FI_ORDER_RAR | FI_ORDER_RAW | FI_ORDER_WAR | FI_ORDER_WAW
    let remoteMemory = FI_ORDER_RMA_RAR | FI_ORDER_RMA_RAW | FI_ORDER_RMA_WAR | FI_ORDER_RMA_WAW
    let atomics = FI_ORDER_ATOMIC_RAR | FI_ORDER_ATOMIC_RAW | FI_ORDER_ATOMIC_WAR | FI_ORDER_ATOMIC_WAW
    return messages | memory | remoteMemory | atomics
  }
  /// Largest transfers that keep the order read after write, write after read, write after write; in bytes.
  package static var maximumOrderRAW: Int { unlimited }
  package static var maximumOrderWAR: Int { unlimited }
  package static var maximumOrderWAW: Int { unlimited }

  // MARK: Limits

  /// SIZE_MAX as Swift imports size_t.
  package static var unlimited: Int { Int(bitPattern: UInt.max) }

  package static var maximumMessageSize: Int { unlimited }
  /// Largest payload of an injected operation, in bytes.
  package static var injectSize: Int { 1024 }
  /// Less than `maximumSlices`: regions of several pieces need more.
  package static var iovLimit: Int { 8 }
  /// For who does not ask for so many: what nearly all of upstream's providers have.
  package static var standardIovLimit: Int { 4 }
  package static var remoteIovLimit: Int { 4 }
  /// Largest queue that a hint may ask for, in operations.
  package static var maximumQueueSize: Int { 65_536 }
  package static var completionDataSize: Int { 8 }
  /// The most that comes with an error entry: an address.
  package static var maximumErrorData: Int { 28 }
  package static var memoryKeySize: Int { 8 }
  package static var memoryIovLimit: Int { RegionPieces.maximumCount }
  package static var memoryRegionCount: Int { 65_536 }
  package static var completionQueueCount: Int { 65_536 }
  package static var endpointCount: Int { 32_768 }
  /// Transmit contexts, and receive contexts, of a scalable endpoint.
  package static var contextsPerEndpoint: Int { 256 }
  /// Longest authorization key in bytes, and keys of an endpoint.
  package static var authorizationKeySize: Int { AuthorizationKey.longest }
  package static var keysPerEndpoint: Int { AuthorizationSet.capacity }
  /// FI_AV_AUTH_KEY, as auth_key_size of a domain: keys come from the address vector.
  package static var vectorKeys: Int { unlimited }
  package static var counterCount: Int { 65_536 }
  /// FI_TAG_GENERIC: all 64 bits of a tag, without fields.
  package static var tagFormat: UInt64 { 0xAAAA_AAAA_AAAA_AAAA }
}

/// Compares as size_t, which Swift imports as a signed number.
func exceeds(_ value: Int, _ limit: Int) -> Bool { UInt(bitPattern: value) > UInt(bitPattern: limit) }
