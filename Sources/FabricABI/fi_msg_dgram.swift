import CFabric
import CPlatform
import Provider

// Messages of datagram endpoints: fi_msg(3). The tables are in use on enabled endpoints only.

/// Calls `body` with the port behind a datagram endpoint's handle, and the handle.
@inline(__always)
private func withPort<Result>(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ body: (DatagramPort, UnsafeMutablePointer<lfp_ep>) -> Result
) -> Result {
  let handle = endpointHandle(ep)
  let port = Unmanaged<DatagramPort>.fromOpaque(handle.pointee.port.unsafelyUnwrapped)
  return port._withUnsafeGuaranteedRef { body($0, handle) }
}

/// Calls `body` with the pieces of a vector; an empty one is an empty piece.
@inline(__always)
private func withVector(_ iov: UnsafePointer<iovec>?, _ count: Int, _ limit: Int, _ body: (Pieces) -> Int) -> Int {
  if iov != nil && count > 0 && count <= limit { return body(pieces(iov, count)) }
  return count == 0 ? withPiece(nil, 0, body) : Int(-FI_EINVAL)
}

// MARK: Sending

private func dgram_send(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ dest_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withPort(ep) { port, handle in
    withPiece(buf, len) {
      port.send(
        $0, to: dest_addr, context: bits(context),
        flags: handle.pointee.transmit_flags | handle.pointee.transmit_completion)
    }
  }
}

private func dgram_sendv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ dest_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withPort(ep) { port, handle in
    withVector(iov, count, port.options.iovLimit) {
      port.send(
        $0, to: dest_addr, context: bits(context),
        flags: handle.pointee.transmit_flags | handle.pointee.transmit_completion)
    }
  }
}

private func dgram_sendmsg(_ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg>?, _ flags: UInt64) -> Int {
  // What needs an answer of the peer, or room for data beside the payload, no datagram has.
  let impossible = FI_REMOTE_CQ_DATA | FI_DELIVERY_COMPLETE | FI_MATCH_COMPLETE | FI_COMMIT_COMPLETE
  guard let msg, flags & (impossible | FI_TRIGGER) == 0 else {
    return Int(msg == nil ? -FI_EINVAL : notBuilt)
  }
  return withPort(ep) { port, handle in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, port.options.iovLimit) {
      port.send(
        $0, to: msg.pointee.addr, context: bits(msg.pointee.context), flags: flags | handle.pointee.transmit_completion)
    }
  }
}

private func dgram_inject(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ dest_addr: fi_addr_t
) -> Int {
  withPort(ep) { port, handle in
    withPiece(buf, len) {
      port.send($0, to: dest_addr, context: 0, flags: FI_INJECT | handle.pointee.transmit_flags & FI_MULTICAST)
    }
  }
}

// MARK: Receiving

private func dgram_recv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeMutableRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ src_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withPort(ep) { port, handle in
    withPiece(buf, len) {
      port.receive($0, context: bits(context), flags: handle.pointee.receive_flags | handle.pointee.receive_completion)
    }
  }
}

private func dgram_recvv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ src_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withPort(ep) { port, handle in
    withVector(iov, count, port.options.iovLimit) {
      port.receive($0, context: bits(context), flags: handle.pointee.receive_flags | handle.pointee.receive_completion)
    }
  }
}

private func dgram_recvmsg(_ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg>?, _ flags: UInt64) -> Int {
  guard let msg, flags & (FI_MULTI_RECV | FI_PEEK | FI_CLAIM | FI_DISCARD) == 0 else {
    return Int(msg == nil ? -FI_EINVAL : notBuilt)
  }
  return withPort(ep) { port, handle in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, port.options.iovLimit) {
      port.receive($0, context: bits(msg.pointee.context), flags: flags | handle.pointee.receive_completion)
    }
  }
}

nonisolated(unsafe) var datagramMessageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size, recv: dgram_recv, recvv: dgram_recvv, recvmsg: dgram_recvmsg,
  send: dgram_send, sendv: dgram_sendv, sendmsg: dgram_sendmsg, inject: dgram_inject,
  senddata: { _, _, _, _, _, _, _ in Int(notBuilt) }, injectdata: { _, _, _, _, _ in Int(notBuilt) })

// MARK: fi_ops_ep

/// fi_endpoint(3), fi_cancel: 0 whether or not there was something to cancel; a completion tells.
private func dgram_cancel(_ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?) -> Int {
  let endpoint = object(fid, lfp_ep.self)
  guard endpoint.isEnabled else { return -Int(FI_EOPBADSTATE) }
  endpoint.datagramPortReference?._withUnsafeGuaranteedRef { $0.cancel(context: bits(context)) }
  return 0
}

/// fi_endpoint(3), fi_rx_size_left: receives that may still be posted.
private func dgram_rx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  let port = object(ep, lfp_ep.self).datagramPortReference
  return port?._withUnsafeGuaranteedRef { $0.receivesLeft } ?? -Int(FI_EOPBADSTATE)
}

/// fi_endpoint(3), fi_tx_size_left: all of the queue, since what is sent is over at once.
private func dgram_tx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  let port = object(ep, lfp_ep.self).datagramPortReference
  return port?._withUnsafeGuaranteedRef { $0.options.transmitQueueSize } ?? -Int(FI_EOPBADSTATE)
}

nonisolated(unsafe) var datagramEndpointOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: dgram_cancel, getopt: ep_getopt, setopt: ep_setopt,
  tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx, rx_size_left: dgram_rx_size_left, tx_size_left: dgram_tx_size_left,
  export_xpu: no_ep_export_xpu)
