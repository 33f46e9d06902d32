import CFabric
import Provider

/// fi_endpoint(3), fi_endpoint
func domain_endpoint(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ ep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let info, let ep else { throw .invalidArgument }
    let endpoint = try Endpoint(object(domain, lfp_domain.self), info)
    let isDatagram = endpoint.type == .dgram
    let isConnected = endpoint.type == .msg
    ep.pointee = try open(endpoint) {
      $0.fid.fid = fid(fclass: Int(FI_CLASS_EP), context: context, ops: &endpointBaseOps)
      $0.fid.ops = isDatagram ? UnsafeMutablePointer(&datagramEndpointOps) : UnsafeMutablePointer(&endpointOps)
      $0.fid.cm =
        isDatagram
        ? UnsafeMutablePointer(&groupOps)
        : isConnected ? UnsafeMutablePointer(&connectionOps) : UnsafeMutablePointer(&nameOps)
      $0.fid.msg = UnsafeMutablePointer(&disabledMessageOps)
      $0.fid.tagged = isDatagram ? UnsafeMutablePointer(&noTaggedMessages) : UnsafeMutablePointer(&disabledTaggedOps)
      $0.fid.rma = isDatagram ? UnsafeMutablePointer(&noRemoteMemory) : UnsafeMutablePointer(&disabledRemoteMemoryOps)
      if endpoint.hasCollectives { $0.fid.collective = UnsafeMutablePointer(&disabledCollectiveOps) }
      if !isDatagram { $0.fid.atomic = UnsafeMutablePointer(&disabledAtomicOps) }
    }
  }
}

/// fi_endpoint(3), fi_scalable_ep: data calls are its contexts'.
func domain_scalable_ep(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ sep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let info, let sep else { throw .invalidArgument }
    let endpoint = try Endpoint(object(domain, lfp_domain.self), info, isScalable: true)
    sep.pointee = try open(endpoint) {
      $0.fid.fid = fid(fclass: Int(FI_CLASS_SEP), context: context, ops: &endpointBaseOps)
      $0.fid.ops = UnsafeMutablePointer(&scalableEndpointOps)
      $0.fid.cm = UnsafeMutablePointer(&nameOps)
      $0.fid.msg = UnsafeMutablePointer(&noMessages)
      $0.fid.tagged = UnsafeMutablePointer(&noTaggedMessages)
      $0.fid.rma = UnsafeMutablePointer(&noRemoteMemory)
      $0.fid.collective = UnsafeMutablePointer(&noCollectives)
    }
  }
}

/// A handle for an endpoint, which is closed where there is no memory for it.
private func open(_ endpoint: Endpoint, _ fill: (inout lfp_ep) -> Void) throws(FabricError) -> UnsafeMutablePointer<
  fid_ep
> {
  do throws(FabricError) {
    let handle = try makeHandle(endpoint, lfp_ep.self) {
      $0.fid.atomic = UnsafeMutablePointer(&noAtomics)
      $0.fid.collective = UnsafeMutablePointer(&noCollectives)
      fill(&$0)
      $0.transmit_flags = endpoint.options.transmitFlags
      $0.receive_flags = endpoint.options.receiveFlags
    }
    endpoint.fid = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid.self)
    return UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_ep.self)
  } catch {
    endpoint.close()
    throw error
  }
}

/// fi_endpoint(3), fi_endpoint2: no flag is known but FI_PEER_TRANSFER, for providers that only offload something; messages
/// of others are not carried.
func domain_endpoint2(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ ep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  flags == 0 ? domain_endpoint(domain, info, ep, context) : notBuilt
}

// MARK: fid

/// fi_endpoint(3), fi_close
private func ep_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  if let result = closeAlias(fid) { return result }
  let endpoint = object(fid, lfp_ep.self)
  if endpoint.hasGroups {
    return FabricError.busy.because(.endpointControl, "the endpoint is still a member of groups", in: "fi_close").result
  }
  if endpoint.hasProfile {
    return FabricError.busy.because(.endpointControl, "a profile of the endpoint is open", in: "fi_close").result
  }
  if endpoint.hasOpenContexts {
    return FabricError.busy.because(.endpointControl, "contexts of the endpoint are open", in: "fi_close").result
  }
  endpoint.close()
  destroyHandle(fid, lfp_ep.self)
  return 0
}

/// fi_endpoint(3), fi_ep_bind
private func ep_bind(_ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64) -> Int32 {
  status { () throws(FabricError) in
    guard let bfid else { throw .invalidArgument }
    let endpoint = object(fid, lfp_ep.self)
    switch UInt32(truncatingIfNeeded: bfid.pointee.fclass) {
    case UInt32(FI_CLASS_CQ): try endpoint.bind(object(bfid, lfp_cq.self), flags: flags)
    case UInt32(FI_CLASS_CNTR): try endpoint.bind(object(bfid, lfp_cntr.self), flags: flags)
    case UInt32(FI_CLASS_AV):
      if flags != 0 { throw .badFlags }
      try endpoint.bind(object(bfid, lfp_av.self))
    case UInt32(FI_CLASS_EQ):
      if flags != 0 { throw .badFlags }
      try endpoint.bind(object(bfid, lfp_eq.self))
    case UInt32(FI_CLASS_SRX_CTX):
      if flags != 0 { throw .badFlags }
      try endpoint.bind(object(bfid, lfp_srx.self))
    case UInt32(FI_CLASS_STX_CTX):
      if flags != 0 { throw .badFlags }
      try endpoint.bind(object(bfid, lfp_stx.self))
    default: throw flags != 0 ? .badFlags : .invalidArgument
    }
  }
}

/// fi_endpoint(3), fi_enable; fi_control(3), fi_ep_alias, and FI_GET_FD as fi_tcp(7) has it
private func ep_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    let endpoint = object(fid, lfp_ep.self)
    if Int(command) == Int(FI_GET_FD) {
      guard let argument else { throw .invalidArgument.because(.endpointControl, "no place for it", in: "fi_control") }
      return argument.storeBytes(of: endpoint.descriptor, as: Int32.self)
    }
    guard Int(command) == Int(FI_ENABLE) else {
      let flags = DefaultFlags(
        transmit: endpoint.type.transmitFlags, receive: endpoint.type.receiveFlags, capabilities: endpoint.capabilities)
      return try controlOperations(fid, command, argument, flags)
    }
    try endpoint.enable()
    openDataPath(of: endpoint, ownHandle(fid))
  }
}

/// From now on the tables of the data path are the real ones, of the handle that the endpoint was opened with and of its
/// aliases.
func openDataPath(of endpoint: Endpoint, _ handle: UnsafeMutablePointer<lfp_ep>) {
  if endpoint.contexts != nil { return }
  handle.pointee.port = endpoint.dataPort
  handle.pointee.receiver = endpoint.receiver?.toOpaque()
  handle.pointee.transmit_completion = endpoint.options.messageTransmitFlags
  handle.pointee.receive_completion = endpoint.options.messageReceiveFlags
  if endpoint.type == .dgram { return openDataPath(handle, &datagramMessageOps, &noTaggedMessages, &noRemoteMemory) }
  handle.pointee.fid.atomic = UnsafeMutablePointer(&atomicOps)
  if endpoint.hasCollectives { handle.pointee.fid.collective = UnsafeMutablePointer(&collectiveOps) }
  if endpoint.sharesReceives {
    openDataPath(handle, &sendingMessageOps, &sendingTaggedOps, &remoteMemoryOps)
  } else {
    openDataPath(handle, &messageOps, &taggedOps, &remoteMemoryOps)
  }
}

/// Whether an object of class FI_CLASS_EP or FI_CLASS_SEP is this library's.
func isEndpoint(_ fid: UnsafeMutablePointer<fid>) -> Bool { fid.pointee.ops == UnsafeMutablePointer(&endpointBaseOps) }

nonisolated(unsafe) private var endpointBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: ep_close, bind: ep_bind, control: ep_control, ops_open: ep_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

// MARK: fi_ops_ep

/// fi_endpoint(3), fi_cancel: 0 whether or not there was something to cancel; a completion tells.
private func ep_cancel(_ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?) -> Int {
  let endpoint = object(fid, lfp_ep.self)
  guard endpoint.isEnabled else { return -Int(FI_EOPBADSTATE) }
  endpoint.receiver?._withUnsafeGuaranteedRef { $0.cancel(context: bits(context)) }
  return 0
}

/// fi_endpoint(3), fi_getopt
func ep_getopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeMutableRawPointer?,
  _ optlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  readOption(level, optval, optlen) { (value, length) throws(FabricError) in
    try object(fid, lfp_ep.self).option(optname, value, &length)
  }
}

/// fi_endpoint(3), fi_setopt
func ep_setopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeRawPointer?, _ optlen: Int
) -> Int32 {
  setOption(level, optval) { (value) throws(FabricError) in
    try object(fid, lfp_ep.self).setOption(optname, value, optlen)
  }
}

/// fi_getopt of whatever has options.
func readOption(
  _ level: Int32, _ optval: UnsafeMutableRawPointer?, _ optlen: UnsafeMutablePointer<Int>?,
  _ read: (UnsafeMutableRawPointer, inout Int) throws(FabricError) -> Void
) -> Int32 {
  status { () throws(FabricError) in
    guard Int(level) == Int(FI_OPT_ENDPOINT) else { throw .noSuchOption }
    guard let optval, let optlen else { throw .invalidArgument }
    try read(optval, &optlen.pointee)
  }
}

/// fi_setopt of whatever has options.
func setOption(
  _ level: Int32, _ optval: UnsafeRawPointer?, _ set: (UnsafeRawPointer) throws(FabricError) -> Void
) -> Int32 {
  status { () throws(FabricError) in
    guard Int(level) == Int(FI_OPT_ENDPOINT) else { throw .noSuchOption }
    guard let optval else { throw .invalidArgument }
    try set(optval)
  }
}

/// fi_endpoint(3), fi_rx_size_left: receives that may still be posted.
private func ep_rx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  object(ep, lfp_ep.self).receiver?._withUnsafeGuaranteedRef { $0.receivesLeft } ?? -Int(FI_EOPBADSTATE)
}

/// fi_endpoint(3), fi_tx_size_left: operations that may still be posted.
private func ep_tx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  object(ep, lfp_ep.self).portReference?._withUnsafeGuaranteedRef { $0.operationsLeft } ?? -Int(FI_EOPBADSTATE)
}

nonisolated(unsafe) private var endpointOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: ep_cancel, getopt: ep_getopt, setopt: ep_setopt, tx_ctx: no_ep_tx_ctx,
  rx_ctx: no_ep_rx_ctx, rx_size_left: ep_rx_size_left, tx_size_left: ep_tx_size_left,
  export_xpu: no_ep_export_xpu)

// MARK: Tables of endpoints that are not enabled

/// -FI_EOPBADSTATE.
var notEnabled: Int { -Int(FI_EOPBADSTATE) }

nonisolated(unsafe) var disabledMessageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size,
  recv: { _, _, _, _, _, _ in notEnabled },
  recvv: { _, _, _, _, _, _ in notEnabled },
  recvmsg: { _, _, _ in notEnabled },
  send: { _, _, _, _, _, _ in notEnabled },
  sendv: { _, _, _, _, _, _ in notEnabled },
  sendmsg: { _, _, _ in notEnabled },
  inject: { _, _, _, _ in notEnabled },
  senddata: { _, _, _, _, _, _, _ in notEnabled },
  injectdata: { _, _, _, _, _ in notEnabled })

nonisolated(unsafe) var disabledTaggedOps = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size,
  recv: { _, _, _, _, _, _, _, _ in notEnabled },
  recvv: { _, _, _, _, _, _, _, _ in notEnabled },
  recvmsg: { _, _, _ in notEnabled },
  send: { _, _, _, _, _, _, _ in notEnabled },
  sendv: { _, _, _, _, _, _, _ in notEnabled },
  sendmsg: { _, _, _ in notEnabled },
  inject: { _, _, _, _, _ in notEnabled },
  senddata: { _, _, _, _, _, _, _, _ in notEnabled },
  injectdata: { _, _, _, _, _, _ in notEnabled })

nonisolated(unsafe) var disabledRemoteMemoryOps = fi_ops_rma(
  size: MemoryLayout<fi_ops_rma>.size,
  read: { _, _, _, _, _, _, _, _ in notEnabled },
  readv: { _, _, _, _, _, _, _, _ in notEnabled },
  readmsg: { _, _, _ in notEnabled },
  write: { _, _, _, _, _, _, _, _ in notEnabled },
  writev: { _, _, _, _, _, _, _, _ in notEnabled },
  writemsg: { _, _, _ in notEnabled },
  inject: { _, _, _, _, _, _ in notEnabled },
  writedata: { _, _, _, _, _, _, _, _, _ in notEnabled },
  injectdata: { _, _, _, _, _, _, _ in notEnabled })

nonisolated(unsafe) private var disabledCollectiveOps = fi_ops_collective(
  size: MemoryLayout<fi_ops_collective>.size,
  barrier: { _, _, _ in notEnabled },
  broadcast: { _, _, _, _, _, _, _, _, _ in notEnabled },
  alltoall: { _, _, _, _, _, _, _, _, _, _ in notEnabled },
  allreduce: { _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  allgather: { _, _, _, _, _, _, _, _, _, _ in notEnabled },
  reduce_scatter: { _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  reduce: { _, _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  scatter: { _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  gather: { _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  msg: { _, _, _, _, _, _ in notEnabled },
  barrier2: { _, _, _, _ in notEnabled })

nonisolated(unsafe) var disabledAtomicOps = fi_ops_atomic(
  size: MemoryLayout<fi_ops_atomic>.size,
  write: { _, _, _, _, _, _, _, _, _, _ in notEnabled },
  writev: { _, _, _, _, _, _, _, _, _, _ in notEnabled },
  writemsg: { _, _, _ in notEnabled },
  inject: { _, _, _, _, _, _, _, _ in notEnabled },
  readwrite: { _, _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  readwritev: { _, _, _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  readwritemsg: { _, _, _, _, _, _ in notEnabled },
  compwrite: { _, _, _, _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  compwritev: { _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _ in notEnabled },
  compwritemsg: { _, _, _, _, _, _, _, _, _ in notEnabled },
  writevalid: atomicOps.writevalid, readwritevalid: atomicOps.readwritevalid,
  compwritevalid: atomicOps.compwritevalid)
