import CFabric
import Provider

// Contexts that several endpoints share: fi_endpoint(3), "Shared contexts".

// MARK: Shared receive contexts

/// fi_endpoint(3), fi_srx_context. Receives may be posted at once; with FI_PEER they are, by their owner and there.
func domain_srx_ctx(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_rx_attr>?,
  _ rx_ep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let rx_ep else { throw .invalidArgument }
    let domain = object(domain, lfp_domain.self)
    let isImported = (attr?.pointee.op_flags ?? 0) & FI_PEER != 0
    let shared =
      try isImported ? SharedReceiveContext(domain, importing: context) : SharedReceiveContext(domain, attr)
    do throws(FabricError) {
      let handle = try makeHandle(shared, lfp_srx.self) {
        // A peer context lasts no longer than this call.
        let context = isImported ? nil : context
        $0.fid.fid = fid(fclass: Int(FI_CLASS_SRX_CTX), context: context, ops: &sharedReceiveBaseOps)
        $0.fid.ops = isImported ? UnsafeMutablePointer(&nothingPostedOps) : UnsafeMutablePointer(&sharedReceiveOps)
        $0.fid.cm = UnsafeMutablePointer(&noConnections)
        $0.tables.msg = isImported ? UnsafeMutablePointer(&noMessages) : UnsafeMutablePointer(&receivingMessageOps)
        $0.tables.tagged =
          isImported ? UnsafeMutablePointer(&noTaggedMessages) : UnsafeMutablePointer(&receivingTaggedOps)
        $0.tables.rma = UnsafeMutablePointer(&noRemoteMemory)
        $0.fid.msg = $0.tables.msg
        $0.fid.tagged = $0.tables.tagged
        $0.fid.rma = $0.tables.rma
        $0.fid.atomic = UnsafeMutablePointer(&noAtomics)
        $0.fid.collective = UnsafeMutablePointer(&noCollectives)
        $0.receiver = Unmanaged.passUnretained(shared.context).toOpaque()
        $0.receive_flags = shared.defaultFlags
        $0.receive_completion = FI_COMPLETION
      }
      shared.owner?.pointee.peer_ops = UnsafeMutablePointer(&receivePeerOps)
      rx_ep.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_ep.self)
    } catch {
      try shared.close()
      throw error
    }
  }
}

private func srx_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  if let result = closeAlias(fid) { return result }
  return status { () throws(FabricError) in
    try object(fid, lfp_srx.self).close()
    destroyHandle(fid, lfp_srx.self)
  }
}

/// With FI_RECV a completion queue, for receives that met no message, or a counter of all receives.
private func srx_bind(_ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64) -> Int32 {
  status { () throws(FabricError) in
    let shared = object(fid, lfp_srx.self)
    switch bfid.map({ UInt32(truncatingIfNeeded: $0.pointee.fclass) }) {
    case UInt32(FI_CLASS_CQ): try shared.bind(object(bfid, lfp_cq.self), flags: flags)
    case UInt32(FI_CLASS_CNTR): try shared.bind(object(bfid, lfp_cntr.self), flags: flags)
    default: throw .invalidArgument.because(.endpointControl, "shared contexts have no such object", in: "fi_ep_bind")
    }
  }
}

/// fi_control(3). FI_ENABLE is not needed.
private func srx_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    if Int(command) == Int(FI_ENABLE) { return }
    let capabilities = object(fid, lfp_srx.self).context.capabilities
    let flags = DefaultFlags(receive: Capabilities.receiveFlags, capabilities: capabilities)
    try controlOperations(fid, command, argument, flags)
  }
}

nonisolated(unsafe) private var sharedReceiveBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: srx_close, bind: srx_bind, control: srx_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

/// fi_endpoint(3), fi_cancel: of receives that no message has taken.
func receiver_cancel(_ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?) -> Int {
  withReceiver(UnsafeMutableRawPointer(fid.unsafelyUnwrapped).assumingMemoryBound(to: fid_ep.self)) { receiver, _ in
    receiver.cancel(context: bits(context))
  }
  return 0
}

/// fi_endpoint(3), fi_rx_size_left
func receiver_rx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  withReceiver(ep) { receiver, _ in receiver.receivesLeft }
}

private func srx_getopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeMutableRawPointer?,
  _ optlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  readOption(level, optval, optlen) { (value, length) throws(FabricError) in
    try object(fid, lfp_srx.self).option(optname, value, &length)
  }
}

private func srx_setopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeRawPointer?, _ optlen: Int
) -> Int32 {
  setOption(level, optval) { (value) throws(FabricError) in
    try object(fid, lfp_srx.self).setOption(optname, value, optlen)
  }
}

nonisolated(unsafe) private var sharedReceiveOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: receiver_cancel, getopt: srx_getopt, setopt: srx_setopt,
  tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx, rx_size_left: receiver_rx_size_left,
  tx_size_left: { _ in Int(notBuilt) }, export_xpu: no_ep_export_xpu)

// MARK: Shared transmit contexts

/// fi_endpoint(3), fi_stx_context
func domain_stx_ctx(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_tx_attr>?,
  _ stx: UnsafeMutablePointer<UnsafeMutablePointer<fid_stx>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let stx else { throw .invalidArgument }
    let shared = try SharedTransmitContext(object(domain, lfp_domain.self), attr)
    do throws(FabricError) {
      let handle = try makeHandle(shared, lfp_stx.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_STX_CTX), context: context, ops: &sharedTransmitBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&nothingPostedOps)
      }
      stx.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_stx.self)
    } catch {
      try shared.close()
      throw error
    }
  }
}

private func stx_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_stx.self).close()
    destroyHandle(fid, lfp_stx.self)
  }
}

nonisolated(unsafe) private var sharedTransmitBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: stx_close, bind: no_bind,
  control: { _, command, _ in Int(command) == Int(FI_ENABLE) ? 0 : notBuilt }, ops_open: no_ops_open, tostr: no_tostr,
  ops_set: no_ops_set)

/// Of contexts on which nothing is posted.
nonisolated(unsafe) private var nothingPostedOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: { _, _ in Int(notBuilt) },
  getopt: { _, _, _, _, _ in -Int32(FI_ENOPROTOOPT) }, setopt: { _, _, _, _, _ in -Int32(FI_ENOPROTOOPT) },
  tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx, rx_size_left: { _ in Int(notBuilt) },
  tx_size_left: { _ in Int(notBuilt) }, export_xpu: no_ep_export_xpu)

// MARK: Tables of what only receives, and of endpoints that only send

/// Messages, where receives are posted and nothing is sent.
nonisolated(unsafe) var receivingMessageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size, recv: msg_recv, recvv: msg_recvv, recvmsg: msg_recvmsg, send: noMessages.send,
  sendv: noMessages.sendv, sendmsg: noMessages.sendmsg, inject: noMessages.inject, senddata: noMessages.senddata,
  injectdata: noMessages.injectdata)

/// Tagged messages, where receives are posted and nothing is sent.
nonisolated(unsafe) var receivingTaggedOps = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size, recv: tagged_recv, recvv: tagged_recvv, recvmsg: tagged_recvmsg,
  send: noTaggedMessages.send, sendv: noTaggedMessages.sendv, sendmsg: noTaggedMessages.sendmsg,
  inject: noTaggedMessages.inject, senddata: noTaggedMessages.senddata, injectdata: noTaggedMessages.injectdata)

/// Messages, where receives are posted elsewhere.
nonisolated(unsafe) var sendingMessageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size, recv: noMessages.recv, recvv: noMessages.recvv, recvmsg: noMessages.recvmsg,
  send: messageOps.send, sendv: messageOps.sendv, sendmsg: messageOps.sendmsg, inject: messageOps.inject,
  senddata: messageOps.senddata, injectdata: messageOps.injectdata)

/// Tagged messages, where receives are posted elsewhere.
nonisolated(unsafe) var sendingTaggedOps = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size, recv: noTaggedMessages.recv, recvv: noTaggedMessages.recvv,
  recvmsg: noTaggedMessages.recvmsg, send: taggedOps.send, sendv: taggedOps.sendv, sendmsg: taggedOps.sendmsg,
  inject: taggedOps.inject, senddata: taggedOps.senddata, injectdata: taggedOps.injectdata)

/// What has no connections and no name.
nonisolated(unsafe) var noConnections = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: { _, _, _ in notBuilt }, getname: { _, _, _ in notBuilt },
  getpeer: no_cm_getpeer, connect: no_cm_connect, listen: no_cm_listen, accept: no_cm_accept, reject: no_cm_reject,
  shutdown: no_cm_shutdown, join: no_cm_join)
