import CFabric
import Provider

// Contexts of scalable endpoints: fi_endpoint(3), "Scalable endpoints".

nonisolated(unsafe) var scalableEndpointOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: { _, _ in Int(notBuilt) }, getopt: ep_getopt, setopt: ep_setopt,
  tx_ctx: sep_tx_ctx, rx_ctx: sep_rx_ctx, rx_size_left: { _ in Int(notBuilt) }, tx_size_left: { _ in Int(notBuilt) },
  export_xpu: no_ep_export_xpu)

// MARK: Transmit contexts

/// fi_endpoint(3), fi_tx_context
private func sep_tx_ctx(
  _ sep: UnsafeMutablePointer<fid_ep>?, _ index: Int32, _ attr: UnsafeMutablePointer<fi_tx_attr>?,
  _ tx_ep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let tx_ep else { throw .invalidArgument }
    let opened = try TransmitContext(object(sep, lfp_ep.self), Int(index), attr)
    do throws(FabricError) {
      let handle = try makeHandle(opened, lfp_tx_ctx.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_TX_CTX), context: context, ops: &transmitContextBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&transmitContextOps)
        $0.fid.cm = UnsafeMutablePointer(&noConnections)
        $0.fid.msg = UnsafeMutablePointer(&disabledMessageOps)
        $0.fid.tagged = UnsafeMutablePointer(&disabledTaggedOps)
        $0.fid.rma = UnsafeMutablePointer(&disabledRemoteMemoryOps)
        $0.fid.atomic = UnsafeMutablePointer(&disabledAtomicOps)
        $0.fid.collective = UnsafeMutablePointer(&noCollectives)
        $0.transmit_context = opened.number
        $0.transmit_flags = opened.defaultFlags
      }
      tx_ep.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_ep.self)
    } catch {
      opened.close()
      throw error
    }
  }
}

private func tx_ctx_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  if let result = closeAlias(fid) { return result }
  object(fid, lfp_tx_ctx.self).close()
  destroyHandle(fid, lfp_tx_ctx.self)
  return 0
}

private func tx_ctx_bind(
  _ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard let bfid else { throw .invalidArgument }
    let context = object(fid, lfp_tx_ctx.self)
    switch UInt32(truncatingIfNeeded: bfid.pointee.fclass) {
    case UInt32(FI_CLASS_CQ): try context.bind(object(bfid, lfp_cq.self), flags: flags)
    case UInt32(FI_CLASS_CNTR): try context.bind(object(bfid, lfp_cntr.self), flags: flags)
    default: throw noSuchBinding
    }
  }
}

/// fi_endpoint(3), fi_enable; fi_control(3), and fi_ep_alias
private func tx_ctx_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    let context = object(fid, lfp_tx_ctx.self)
    guard Int(command) == Int(FI_ENABLE) else {
      let flags = DefaultFlags(
        transmit: context.endpoint.type.transmitFlags, capabilities: context.endpoint.capabilities)
      return try controlOperations(fid, command, argument, flags)
    }
    try context.enable()
    let handle = ownHandle(fid)
    handle.pointee.port = context.endpoint.dataPort
    handle.pointee.transmit_completion = context.messageFlags
    handle.pointee.fid.atomic = UnsafeMutablePointer(&atomicOps)
    openDataPath(handle, &sendingMessageOps, &sendingTaggedOps, &remoteMemoryOps)
  }
}

nonisolated(unsafe) private var transmitContextBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: tx_ctx_close, bind: tx_ctx_bind, control: tx_ctx_control,
  ops_open: no_ops_open, tostr: no_tostr, ops_set: no_ops_set)

/// fi_endpoint(3), fi_tx_size_left
private func tx_ctx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  let context = object(ep, lfp_tx_ctx.self)
  return context.isEnabled ? context.operationsLeft : -Int(FI_EOPBADSTATE)
}

/// fi_endpoint(3), fi_cancel: of triggered operations that wait.
private func tx_ctx_cancel(_ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?) -> Int {
  object(fid, lfp_tx_ctx.self).cancelTriggered(context: bits(context)) ? 0 : -Int(FI_ENOENT)
}

nonisolated(unsafe) private var transmitContextOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: tx_ctx_cancel,
  getopt: { _, _, _, _, _ in -Int32(FI_ENOPROTOOPT) }, setopt: { _, _, _, _, _ in -Int32(FI_ENOPROTOOPT) },
  tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx, rx_size_left: { _ in Int(notBuilt) }, tx_size_left: tx_ctx_size_left,
  export_xpu: no_ep_export_xpu)

// MARK: Receive contexts

/// fi_endpoint(3), fi_rx_context
private func sep_rx_ctx(
  _ sep: UnsafeMutablePointer<fid_ep>?, _ index: Int32, _ attr: UnsafeMutablePointer<fi_rx_attr>?,
  _ rx_ep: UnsafeMutablePointer<UnsafeMutablePointer<fid_ep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let rx_ep else { throw .invalidArgument }
    let opened = try NamedReceiveContext(object(sep, lfp_ep.self), Int(index), attr)
    do throws(FabricError) {
      let handle = try makeHandle(opened, lfp_rx_ctx.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_RX_CTX), context: context, ops: &receiveContextBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&receiveContextOps)
        $0.fid.cm = UnsafeMutablePointer(&noConnections)
        $0.fid.msg = UnsafeMutablePointer(&disabledMessageOps)
        $0.fid.tagged = UnsafeMutablePointer(&disabledTaggedOps)
        $0.fid.rma = UnsafeMutablePointer(&noRemoteMemory)
        $0.fid.atomic = UnsafeMutablePointer(&noAtomics)
        $0.fid.collective = UnsafeMutablePointer(&noCollectives)
        $0.receive_flags = opened.options.receiveFlags
      }
      rx_ep.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_ep.self)
    } catch {
      opened.close()
      throw error
    }
  }
}

private func rx_ctx_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  if let result = closeAlias(fid) { return result }
  object(fid, lfp_rx_ctx.self).close()
  destroyHandle(fid, lfp_rx_ctx.self)
  return 0
}

private func rx_ctx_bind(
  _ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard let bfid else { throw .invalidArgument }
    let context = object(fid, lfp_rx_ctx.self)
    switch UInt32(truncatingIfNeeded: bfid.pointee.fclass) {
    case UInt32(FI_CLASS_CQ): try context.bind(object(bfid, lfp_cq.self), flags: flags)
    case UInt32(FI_CLASS_CNTR): try context.bind(object(bfid, lfp_cntr.self), flags: flags)
    default: throw noSuchBinding
    }
  }
}

private var noSuchBinding: FabricError {
  FabricError.invalidArgument.because(
    .endpointControl, "contexts have queues and counters, all else is the endpoint's", in: "fi_ep_bind")
}

/// fi_endpoint(3), fi_enable; fi_control(3), and fi_ep_alias
private func rx_ctx_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    let context = object(fid, lfp_rx_ctx.self)
    guard Int(command) == Int(FI_ENABLE) else {
      let flags = DefaultFlags(
        receive: context.endpoint.type.receiveFlags, capabilities: context.options.capabilities)
      return try controlOperations(fid, command, argument, flags)
    }
    try context.enable()
    let handle = ownHandle(fid)
    handle.pointee.receiver = context.context?.toOpaque()
    handle.pointee.receive_completion = context.options.messageReceiveFlags
    openDataPath(handle, &receivingMessageOps, &receivingTaggedOps, &noRemoteMemory)
  }
}

nonisolated(unsafe) private var receiveContextBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: rx_ctx_close, bind: rx_ctx_bind, control: rx_ctx_control,
  ops_open: no_ops_open, tostr: no_tostr, ops_set: no_ops_set)

private func rx_ctx_cancel(_ fid: UnsafeMutablePointer<fid>?, _ context: UnsafeMutableRawPointer?) -> Int {
  endpointHandle(fid).pointee.receiver == nil ? notEnabled : receiver_cancel(fid, context)
}

private func rx_ctx_size_left(_ ep: UnsafeMutablePointer<fid_ep>?) -> Int {
  endpointHandle(ep).pointee.receiver == nil ? notEnabled : receiver_rx_size_left(ep)
}

private func rx_ctx_getopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeMutableRawPointer?,
  _ optlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  readOption(level, optval, optlen) { (value, length) throws(FabricError) in
    try object(fid, lfp_rx_ctx.self).option(optname, value, &length)
  }
}

private func rx_ctx_setopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeRawPointer?, _ optlen: Int
) -> Int32 {
  setOption(level, optval) { (value) throws(FabricError) in
    try object(fid, lfp_rx_ctx.self).setOption(optname, value, optlen)
  }
}

nonisolated(unsafe) private var receiveContextOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: rx_ctx_cancel, getopt: rx_ctx_getopt, setopt: rx_ctx_setopt,
  tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx, rx_size_left: rx_ctx_size_left, tx_size_left: { _ in Int(notBuilt) },
  export_xpu: no_ep_export_xpu)
