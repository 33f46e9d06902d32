import CFabric
import Provider

// Sets of addresses, and the groups that are joined with them: fi_av_set(3), fi_collective(3).

/// fi_av_set(3), fi_av_set
func av_av_set(
  _ av: UnsafeMutablePointer<fid_av>?, _ attr: UnsafeMutablePointer<fi_av_set_attr>?,
  _ av_set: UnsafeMutablePointer<UnsafeMutablePointer<fid_av_set>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let av_set else {
      throw .invalidArgument.because(.addressVector, "no attributes, or no place for the set", in: "fi_av_set")
    }
    let set = try AddressSet(object(av, lfp_av.self), attr)
    do throws(FabricError) {
      let handle = try makeHandle(set, lfp_av_set.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_AV_SET), context: context, ops: &setBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&setOps)
      }
      av_set.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_av_set.self)
    } catch {
      try set.close()
      throw error
    }
  }
}

private func set_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_av_set.self).close()
    destroyHandle(fid, lfp_av_set.self)
  }
}

private func set_union(_ dst: UnsafeMutablePointer<fid_av_set>?, _ src: UnsafePointer<fid_av_set>?) -> Int32 {
  status { () throws(FabricError) in try object(dst, lfp_av_set.self).unite(with: source(src)) }
}

private func set_intersect(_ dst: UnsafeMutablePointer<fid_av_set>?, _ src: UnsafePointer<fid_av_set>?) -> Int32 {
  status { () throws(FabricError) in try object(dst, lfp_av_set.self).intersect(with: source(src)) }
}

private func set_diff(_ dst: UnsafeMutablePointer<fid_av_set>?, _ src: UnsafePointer<fid_av_set>?) -> Int32 {
  status { () throws(FabricError) in try object(dst, lfp_av_set.self).subtract(source(src)) }
}

private func set_insert(_ set: UnsafeMutablePointer<fid_av_set>?, _ addr: fi_addr_t) -> Int32 {
  status { () throws(FabricError) in try object(set, lfp_av_set.self).insert(addr) }
}

private func set_remove(_ set: UnsafeMutablePointer<fid_av_set>?, _ addr: fi_addr_t) -> Int32 {
  status { () throws(FabricError) in try object(set, lfp_av_set.self).remove(addr) }
}

private func set_addr(_ set: UnsafeMutablePointer<fid_av_set>?, _ coll_addr: UnsafeMutablePointer<fi_addr_t>?) -> Int32
{
  status { () throws(FabricError) in
    guard let coll_addr else {
      throw .invalidArgument.because(.addressVector, "no place for the address", in: "fi_av_set_addr")
    }
    coll_addr.pointee = object(set, lfp_av_set.self).address
  }
}

private func source(_ set: UnsafePointer<fid_av_set>?) -> AddressSet {
  object(UnsafeMutableRawPointer(mutating: set), lfp_av_set.self)
}

nonisolated(unsafe) private var setBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: set_close, bind: no_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var setOps = fi_ops_av_set(
  size: MemoryLayout<fi_ops_av_set>.size, set_union: set_union, intersect: set_intersect, diff: set_diff,
  insert: set_insert, remove: set_remove, addr: set_addr)

// MARK: Joining

/// fi_collective(3), fi_join_collective: fi_join with FI_COLLECTIVE and a `fi_collective_addr`.
func joinCollective(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ addr: UnsafeRawPointer?, _ flags: UInt64,
  _ mc: UnsafeMutablePointer<UnsafeMutablePointer<fid_mc>?>?, _ context: UnsafeMutableRawPointer?
) throws(FabricError) {
  guard let addr, let mc else { throw .invalidArgument.because(.endpointControl, "no set, or no place for the group") }
  let wanted = addr.assumingMemoryBound(to: fi_collective_addr.self).pointee
  guard wanted.set != nil else { throw .invalidArgument.because(.endpointControl, "no set", in: "fi_join_collective") }
  let set = source(wanted.set)
  let endpoint = object(ep, lfp_ep.self)
  let number = try endpoint.join(set, over: wanted.coll_addr, flags: flags & ~FI_COLLECTIVE)
  do throws(FabricError) {
    let handle = try makeMembership(GroupMembership(endpoint, number, of: set), context)
    let group = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid.self)
    // The event may come before this call returns.
    mc.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_mc.self)
    do throws(FabricError) {
      try endpoint.startJoin(number, group, context)
    } catch {
      mc.pointee = nil
      destroyHandle(group, lfp_mc.self)
      throw error
    }
  } catch {
    endpoint.leave(number, of: set)
    throw error
  }
}
