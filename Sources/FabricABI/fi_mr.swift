import CFabric
import Provider
import Transport

/// fi_mr(3), fi_mr_reg
private func mr_reg(
  _ fid: UnsafeMutablePointer<fid>?, _ buf: UnsafeRawPointer?, _ len: Int, _ acs: UInt64, _ offset: UInt64,
  _ requested_key: UInt64, _ flags: UInt64, _ mr: UnsafeMutablePointer<UnsafeMutablePointer<fid_mr>?>?,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  var pieces = RegionPieces()
  pieces.append(Slice(base: UnsafeMutableRawPointer(mutating: buf), count: len))
  return register(fid, pieces, acs, requested_key, flags, mr, context)
}

/// fi_mr(3), fi_mr_regv
private func mr_regv(
  _ fid: UnsafeMutablePointer<fid>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ acs: UInt64, _ offset: UInt64,
  _ requested_key: UInt64, _ flags: UInt64, _ mr: UnsafeMutablePointer<UnsafeMutablePointer<fid_mr>?>?,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  register(fid, iov, count, acs, requested_key, flags, mr, context)
}

/// fi_mr(3), fi_mr_regattr. Fields that the program's version of the structure does not have are not read, and those that
/// tell what memory it is only in domains with FI_HMEM; authorization keys of regions are not offered.
private func mr_regattr(
  _ fid: UnsafeMutablePointer<fid>?, _ attr: UnsafePointer<fi_mr_attr>?, _ flags: UInt64,
  _ mr: UnsafeMutablePointer<UnsafeMutablePointer<fid_mr>?>?
) -> Int32 {
  guard let attr, fid?.pointee.fclass == Int(FI_CLASS_DOMAIN) else { return refuse("no domain or no attributes") }
  let version = object(fid, lfp_domain.self).fabric.apiVersion
  if version >= APIVersion(1, 20) && flags & FI_MR_DMABUF != 0 {
    return refuse("device memory is not offered", .notImplemented)
  }
  // A part is of the same kind of memory as the whole.
  if version >= APIVersion(2, 0), let base = attr.pointee.base_mr {
    if base.pointee.fid.fclass != Int(FI_CLASS_MR) { return refuse("base_mr is no region") }
    return register(
      fid, attr.pointee.mr_iov, attr.pointee.iov_count, attr.pointee.access, attr.pointee.requested_key, flags, mr,
      attr.pointee.context, within: object(UnsafeMutableRawPointer(mutating: base), lfp_mr.self))
  }
  if object(fid, lfp_domain.self).capabilities & FI_HMEM != 0, let error = refuseDevice(attr, flags, version) {
    return error
  }
  return register(
    fid, attr.pointee.mr_iov, attr.pointee.iov_count, attr.pointee.access, attr.pointee.requested_key, flags, mr,
    attr.pointee.context)
}

private func register(
  _ domain: UnsafeMutablePointer<fid>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ access: UInt64, _ key: UInt64,
  _ flags: UInt64, _ mr: UnsafeMutablePointer<UnsafeMutablePointer<fid_mr>?>?, _ context: UnsafeMutableRawPointer?,
  within whole: MemoryRegion? = nil
) -> Int32 {
  guard let iov, count >= 1, count <= RegionPieces.maximumCount else {
    return refuse("a region consists of 1 to mr_iov_limit buffers")
  }
  var pieces = RegionPieces()
  for index in 0..<count { pieces.append(Slice(base: iov[index].iov_base, count: iov[index].iov_len)) }
  return register(domain, pieces, access, key, flags, mr, context, within: whole)
}

/// Refuses memory that is not the host's; nil if it is.
private func refuseDevice(_ attr: UnsafePointer<fi_mr_attr>, _ flags: UInt64, _ version: APIVersion) -> Int32? {
  let interface = attr.pointee.iface
  guard let name = ConstantName.memoryInterface(Int(interface.rawValue)) else { return refuse("unknown iface") }
  if version >= APIVersion(1, 19) && attr.pointee.hmem_data != nil { return refuse("hmem_data must be null") }
  // What the device's library allocated in the host's memory is as good as other memory.
  let isHost = interface == FI_HMEM_SYSTEM || flags & FI_HMEM_HOST_ALLOC != 0
  if isHost && flags & FI_HMEM_DEVICE_ONLY == 0 { return nil }
  Log.write(.warn, .memoryRegion, function: "fi_mr_regattr") { text in
    text.append("memory of a device cannot be reached, only that of FI_HMEM_SYSTEM: iface is ")
    text.append(name)
  }
  return FabricError.notImplemented.result
}

private func register(
  _ domain: UnsafeMutablePointer<fid>?, _ pieces: RegionPieces, _ access: UInt64, _ key: UInt64, _ flags: UInt64,
  _ mr: UnsafeMutablePointer<UnsafeMutablePointer<fid_mr>?>?, _ context: UnsafeMutableRawPointer?,
  within whole: MemoryRegion? = nil
) -> Int32 {
  status { () throws(FabricError) in
    guard let domain, domain.pointee.fclass == Int(FI_CLASS_DOMAIN), let mr else {
      throw .invalidArgument.because(.memoryRegion, "no domain, or no place for the region", in: "fi_mr_reg")
    }
    guard flags & ~knownFlags == 0 else {
      throw .badFlags.because(.memoryRegion, "unknown flags", in: "fi_mr_reg")
    }
    let region = try MemoryRegion(
      object(domain, lfp_domain.self), pieces, access: access, requestedKey: key,
      isCounted: flags & FI_RMA_EVENT != 0, isPersistent: flags & FI_RMA_PMEM != 0, within: whole)
    do throws(FabricError) {
      let handle = try makeHandle(region, lfp_mr.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_MR), context: context, ops: &mrBaseOps)
        $0.fid.key = region.key
      }
      // Local operations need no descriptor here; programs only check that there is one.
      handle.pointee.fid.mem_desc = UnsafeMutableRawPointer(handle)
      mr.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_mr.self)
    } catch {
      region.close()
      throw error
    }
  }
}

private func refuse(
  _ reason: StaticString, _ error: FabricError = .invalidArgument, in call: StaticString = "fi_mr_reg"
) -> Int32 {
  error.because(.memoryRegion, reason, in: call).result
}

/// Flags that say nothing to a provider without device memory; FI_RMA_EVENT, which says something in domains with
/// FI_MR_RMA_EVENT; and FI_RMA_PMEM.
private var knownFlags: UInt64 { FI_RMA_EVENT | FI_RMA_PMEM | FI_HMEM_HOST_ALLOC | FI_HMEM_DEVICE_ONLY | FI_MORE }

private func mr_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  let region = object(fid, lfp_mr.self)
  if region.hasParts { return refuse("parts of the region are still open", .busy, in: "fi_close") }
  region.close()
  destroyHandle(fid, lfp_mr.self)
  return 0
}

/// fi_mr(3), fi_mr_bind: a counter of peers' accesses. All endpoints of the domain may use the region, so binding it to
/// one changes nothing.
private func mr_bind(
  _ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  switch bfid?.pointee.fclass {
  case Int(FI_CLASS_EP), Int(FI_CLASS_SEP), Int(FI_CLASS_TX_CTX), Int(FI_CLASS_RX_CTX):
    return flags == 0 ? 0 : refuse("unknown flags", .badFlags, in: "fi_mr_bind")
  case Int(FI_CLASS_CNTR):
    return status { () throws(FabricError) in
      try object(fid, lfp_mr.self).bind(object(bfid, lfp_cntr.self), flags: flags)
    }
  default: return refuse("neither an endpoint nor a counter", in: "fi_mr_bind")
  }
}

/// fi_mr(3), fi_mr_enable, fi_mr_refresh, fi_mr_raw_attr: memory is reached through the process's own page tables, so
/// a region is up to date, and enabled from the start unless its accesses are counted in a domain with FI_MR_RMA_EVENT.
private func mr_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  switch Int(command) {
  case Int(FI_ENABLE):
    object(fid, lfp_mr.self).enable()
    return 0
  case Int(FI_REFRESH): return argument == nil ? refuse("nothing to refresh", in: "fi_mr_refresh") : 0
  case Int(FI_GET_RAW_MR): return rawKey(object(fid, lfp_mr.self), argument)
  default: return refuse("unknown command", .notImplemented, in: "fi_control")
  }
}

/// A raw key is the key's eight bytes. FI_ETOOSMALL, with the size that it takes, when there is less room.
private func rawKey(_ region: MemoryRegion, _ argument: UnsafeMutableRawPointer?) -> Int32 {
  guard let attr = argument?.assumingMemoryBound(to: fi_mr_raw_attr.self), let size = attr.pointee.key_size,
    attr.pointee.flags == 0
  else { return refuse("no place for the key's size, or unknown flags", in: "fi_mr_raw_attr") }
  let room = size.pointee
  size.pointee = MemoryLayout<UInt64>.size
  // A program may only want to know the size, so this is worth no warning.
  guard room >= MemoryLayout<UInt64>.size, let raw = attr.pointee.raw_key else { return FabricError.tooSmall.result }
  UnsafeMutableRawPointer(raw).storeBytes(of: region.key.littleEndian, as: UInt64.self)
  attr.pointee.base_addr?.pointee = region.baseAddress
  return 0
}

/// fi_mr(3), fi_mr_map_raw: the other side's raw key as a key for fi_write and its like.
func mapRawKey(_ argument: UnsafeMutableRawPointer?) -> Int32 {
  guard let map = argument?.assumingMemoryBound(to: fi_mr_map_raw.self), let raw = map.pointee.raw_key,
    let key = map.pointee.key, map.pointee.key_size == MemoryLayout<UInt64>.size, map.pointee.flags == 0
  else { return refuse("no raw key of 8 bytes, no place for the key, or unknown flags", in: "fi_mr_map_raw") }
  key.pointee = UInt64(littleEndian: UnsafeRawPointer(raw).loadUnaligned(as: UInt64.self))
  return 0
}

nonisolated(unsafe) private var mrBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: mr_close, bind: mr_bind, control: mr_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

/// The registration calls of every domain.
nonisolated(unsafe) var mrOps = fi_ops_mr(
  size: MemoryLayout<fi_ops_mr>.size, reg: mr_reg, regv: mr_regv, regattr: mr_regattr)
