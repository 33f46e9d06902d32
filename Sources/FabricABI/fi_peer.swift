import CFabric
import Provider

// What other providers, the owners of receives that this one serves, call: fi_peer(3), "Peer SRX".

/// Messages that an owner has among its unexpected ones.
nonisolated(unsafe) var receivePeerOps = fi_ops_srx_peer(
  size: MemoryLayout<fi_ops_srx_peer>.size, start_msg: peer_start, start_tag: peer_start, discard_msg: peer_discard,
  discard_tag: peer_discard)

private func peer_start(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>?) -> Int32 {
  entry.map { Port.start($0) } ?? -FI_EINVAL
}

private func peer_discard(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>?) -> Int32 {
  entry.map { Port.discard($0) } ?? -FI_EINVAL
}

/// Whom an unexpected message comes from, for fi_ops_srx_owner::foreach_unspec_addr.
func peer_source(_ entry: UnsafeMutablePointer<fi_peer_rx_entry>?) -> fi_addr_t {
  entry.map { Port.source(of: $0) } ?? UInt64.max
}
