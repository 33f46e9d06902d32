import CFabric
import Transport

/// What an endpoint was opened with, as its data path needs it; fixed when the endpoint is enabled.
package struct EndpointOptions {
  /// caps of the endpoint.
  package var capabilities: UInt64 = 0
  /// Operations in flight, and receives posted, at once.
  package var transmitQueueSize = 1024
  package var receiveQueueSize = 1024
  /// Messages of the provider's own in flight at once: of collective operations, and about connections.
  package var internalOperations: Int { (capabilities & FI_COLLECTIVE != 0 ? 256 : 0) + connectionMessages }
  /// Messages about connections in flight at once: one of an endpoint that connects or accepts.
  var connectionMessages = 0
  /// Largest injected payload in bytes.
  package var injectSize = 0
  /// Most pieces of local and of remote memory in one operation.
  package var iovLimit = Capabilities.iovLimit
  package var remoteIovLimit = 4
  /// tx_attr.op_flags and rx_attr.op_flags.
  package var transmitFlags: UInt64 = 0
  package var receiveFlags: UInt64 = 0
  /// FI_OPT_MIN_MULTI_RECV: a buffer with less room, in bytes, takes no further message.
  package var minimumMultiReceive = 16 * 1024
  /// Completions only for operations that ask for one (FI_SELECTIVE_COMPLETION at fi_ep_bind).
  package var selectiveTransmit = false
  package var selectiveReceive = false
  /// Opened with FI_SHARED_CONTEXT for the number of contexts.
  package var sharesTransmits = false
  package var sharesReceives = false
  /// Which completion queues are bound.
  package var hasTransmitQueue = false
  package var hasReceiveQueue = false
  /// The authorization key, of the endpoint or its domain; nil for none, or where keys come from the address vector.
  package var key: AuthorizationKey?

  package init() {}

  /// FI_SHARED_CONTEXT, SIZE_MAX as Swift imports size_t.
  package static var sharedContext: Int { -1 }

  /// Flags that calls with flags get beside their own: FI_COMPLETION unless completions are selective.
  package var messageTransmitFlags: UInt64 { selectiveTransmit ? 0 : FI_COMPLETION }
  package var messageReceiveFlags: UInt64 { selectiveReceive ? 0 : FI_COMPLETION }

  /// Whether a receive's source address means anything. FI_EXACT_DIRECTED_RECV by itself directs all receives.
  package func isDirected(tagged: Bool) -> Bool {
    let directed = capabilities & (FI_DIRECTED_RECV | FI_TAGGED_DIRECTED_RECV | FI_EXACT_DIRECTED_RECV)
    return directed & FI_DIRECTED_RECV != 0 || directed == FI_EXACT_DIRECTED_RECV
      || (tagged && directed & FI_TAGGED_DIRECTED_RECV != 0)
  }

  /// Whether a directed receive has to name its source.
  package var demandsSource: Bool { capabilities & FI_EXACT_DIRECTED_RECV != 0 }

  /// Whether completions from peers that are not in the address vector are errors.
  package var reportsUnknownSources: Bool {
    capabilities & (FI_SOURCE | FI_SOURCE_ERR) == FI_SOURCE | FI_SOURCE_ERR
  }

  /// Answers fi_getopt with an option's value. Throws FI_ETOOSMALL when `length` is, which becomes the option's size.
  static func store<Value: BitwiseCopyable>(
    _ option: Value, _ value: UnsafeMutableRawPointer, _ length: inout Int
  ) throws(FabricError) {
    let size = MemoryLayout<Value>.size
    let fits = length >= size
    length = size
    if !fits { throw .tooSmall }
    value.storeBytes(of: option, as: Value.self)
  }
}

/// FI_ADDR_UNSPEC: a receive from anybody.
package let unspecifiedAddress = UInt64.max
