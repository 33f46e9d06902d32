import CFabric
import Provider

/// fi_domain(3)
func fabric_domain(
  _ fabric: UnsafeMutablePointer<fid_fabric>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ domain: UnsafeMutablePointer<UnsafeMutablePointer<fid_domain>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let fabric, let info, let domain else {
      throw .invalidArgument.because(.domain, "no fabric, no info, or no place for the domain", in: "fi_domain")
    }
    let object = try Domain(object(fabric, lfp_fabric.self), info)
    do throws(FabricError) {
      let handle = try makeHandle(object, lfp_domain.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_DOMAIN), context: context, ops: &domainBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&domainOps)
        $0.fid.mr = UnsafeMutablePointer(&mrOps)
      }
      let opened = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_domain.self)
      do throws(FabricError) {
        try OpenInstances.add(domain: opened, fabric: fabric, name: object.name)
      } catch {
        destroyHandle(handle, lfp_domain.self)
        throw error
      }
      domain.pointee = opened
    } catch {
      try object.close()
      throw error
    }
  }
}

/// fi_domain(3), fi_domain2: no flag is known. That includes FI_PEER, with which a provider that only offloads something
/// works in another's domain, and which others refuse so (fi_peer(3)).
func fabric_domain2(
  _ fabric: UnsafeMutablePointer<fid_fabric>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ domain: UnsafeMutablePointer<UnsafeMutablePointer<fid_domain>?>?, _ flags: UInt64,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  if flags == 0 { return fabric_domain(fabric, info, domain, context) }
  let error = flags == FI_PEER ? FabricError.invalidArgument : .badFlags
  return error.because(.domain, "flags that are unknown or not offered", in: "fi_domain2").result
}

private func domain_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_domain.self).close()
    if let fid { OpenInstances.remove(UnsafeMutableRawPointer(fid)) }
    destroyHandle(fid, lfp_domain.self)
  }
}

/// fi_domain(3), fi_domain_bind: an event queue, once, without flags.
private func domain_bind(
  _ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard flags == 0 else { throw .badFlags.because(.domain, "unknown flags", in: "fi_domain_bind") }
    guard let bfid, bfid.pointee.fclass == Int(FI_CLASS_EQ) else {
      throw .invalidArgument.because(.domain, "no event queue", in: "fi_domain_bind")
    }
    try object(fid, lfp_domain.self).bind(object(bfid, lfp_eq.self))
  }
}

private func domain_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  switch Int(command) {
  case Int(FI_MAP_RAW_MR): return mapRawKey(argument)
  // A mapped key is the key itself, so there is nothing to take back.
  case Int(FI_UNMAP_KEY) where argument != nil: return 0
  case Int(FI_QUEUE_WORK): return queueWork(argument)
  case Int(FI_CANCEL_WORK): return cancelWork(object(fid, lfp_domain.self), argument)
  case Int(FI_FLUSH_WORK): return flushWork(object(fid, lfp_domain.self), argument)
  case Int(FI_UNMAP_KEY): return FabricError.invalidArgument.because(.domain, "no key", in: "fi_mr_unmap_key").result
  default: return FabricError.notImplemented.because(.domain, "unknown command", in: "fi_control").result
  }
}

/// Whether an object of class FI_CLASS_DOMAIN is this library's.
func isDomain(_ fid: UnsafeMutablePointer<fid>) -> Bool { fid.pointee.ops == UnsafeMutablePointer(&domainBaseOps) }

nonisolated(unsafe) private var domainBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: domain_close, bind: domain_bind, control: domain_control,
  ops_open: domain_ops_open, tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var domainOps = fi_ops_domain(
  size: MemoryLayout<fi_ops_domain>.size, av_open: domain_av_open, cq_open: domain_cq_open,
  endpoint: domain_endpoint, scalable_ep: domain_scalable_ep, cntr_open: domain_cntr_open,
  poll_open: domain_poll_open, stx_ctx: domain_stx_ctx, srx_ctx: domain_srx_ctx,
  query_atomic: domain_query_atomic, query_collective: domain_query_collective, endpoint2: domain_endpoint2,
  xpu_ctx: no_domain_xpu_ctx)
