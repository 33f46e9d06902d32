/// How a transport endpoint behaves; fixed when it is made.
package struct TransportConfiguration: BitwiseCopyable {
  /// Seeds session ids and the cookie key. Production passes kernel randomness, a test its seed.
  package var seed: UInt64 = 1
  /// Operations of this side in flight over all connections (the endpoint's transmit queue).
  package var transmitQueueSize = 1024
  /// Messages and writes under way towards this side, the held ones included.
  package var inboundTransfers = 16 * 1024
  /// Datagrams in flight over all connections.
  package var packetsInFlight = 32 * 1024
  /// Largest UDP payload that this side's socket can send and receive: 65,507 for IPv4.
  package var maximumDatagram = 65_507
  /// What the path's first hop carries: interface MTU less IP and UDP headers. Where the search for the MTU ends.
  package var interfaceDatagram = 65_507
  /// Where the search begins: fits every path (RFC 8899 BASE_PLPMTU).
  package var baseDatagram = 1_200
  /// Datagrams that a transmit may carry (UDP_SEGMENT); 1 when the kernel cannot.
  package var maximumSegments = 64
  /// Bytes that this side's socket can hold before it drops.
  package var receiveBuffer = 212_992
  /// Messages and writes up to this size travel at once, larger ones after a PULL_REQUEST.
  package var eagerLimit = 64 * 1024
  /// Eager bytes that a peer may have under way to this side, and hold there unmatched.
  package var creditWindow = 1024 * 1024
  /// Messages of one peer that this side keeps unmatched; at least 64.
  package var operationWindow = 16 * 1024
  /// READ_REQUESTs of one peer that this side answers at once.
  package var maximumReads = 256
  /// Silence that this side tells its peers to bear, in milliseconds. Longer when nobody but the program's own calls
  /// drives progress.
  package var maximumSilence: UInt32 = 30_000
  /// How long after a poll without traffic an acknowledgement may still wait for company.
  package var acknowledgeDelay: UInt64 = microseconds(50)
  /// Payload is cut where pages of this size end, as many as a socket takes by reference in one datagram; 0 for anywhere.
  package var pageSize = 0
  /// Keys that peers must share; none for those without.
  package var authorizations = AuthorizationSet()

  package init() {}
}
