import CFabric
import CPlatform
import Provider

// Profiles of endpoints and domains: fi_profile(3).

/// fi_open_ops of an endpoint, which has a profile unless it sends datagrams.
func ep_ops_open(
  _ fid: UnsafeMutablePointer<fid>?, _ name: UnsafePointer<CChar>?, _ flags: UInt64,
  _ ops: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  let endpoint = object(fid, lfp_ep.self)
  if endpoint.type == .dgram { return no_ops_open(fid, name, flags, ops, context) }
  return openProfile(fid, name, flags, ops, context) { () throws(FabricError) in try Profile(endpoint) }
}

/// fi_open_ops of a domain.
func domain_ops_open(
  _ fid: UnsafeMutablePointer<fid>?, _ name: UnsafePointer<CChar>?, _ flags: UInt64,
  _ ops: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  openProfile(fid, name, flags, ops, context) { () throws(FabricError) in
    try Profile(object(fid, lfp_domain.self))
  }
}

/// Opens a profile if that is what `name` asks for. `ops` becomes the place of the table in it, see fi_profile_open.
private func openProfile(
  _ fid: UnsafeMutablePointer<fid>?, _ name: UnsafePointer<CChar>?, _ flags: UInt64,
  _ ops: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ context: UnsafeMutableRawPointer?,
  _ open: () throws(FabricError) -> Profile
) -> Int32 {
  guard let name, let ops, strcmp(name, "fi_profile_ops") == 0 else {
    return no_ops_open(fid, name, flags, ops, context)
  }
  return status { () throws(FabricError) in
    if flags != 0 { throw .badFlags.because(.endpointControl, "unknown flags", in: "fi_profile_open") }
    let profile = try open()
    do throws(FabricError) {
      let handle = try makeHandle(profile, lfp_profile.self) {
        $0.fid.fid = CFabric.fid(fclass: Int(FI_CLASS_PROFILE), context: context, ops: &profileBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&profileOps)
      }
      profile.handle = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_profile.self)
      ops.pointee = withUnsafeMutablePointer(to: &handle.pointee.fid.ops) { UnsafeMutableRawPointer($0) }
    } catch {
      profile.close()
      throw error
    }
  }
}

private func profile_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  object(fid, lfp_profile.self).close()
  destroyHandle(fid, lfp_profile.self)
  return 0
}

nonisolated(unsafe) private var profileBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: profile_close, bind: no_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

// MARK: fi_profile_ops

/// Stores descriptions and returns how many; `count` is the room for them, and becomes how many there are.
private func query(
  _ list: UnsafeMutablePointer<fi_profile_desc>?, _ count: UnsafeMutablePointer<Int>?, _ total: Int,
  _ describe: (Int) -> fi_profile_desc
) -> Int {
  guard let count else { return Int(-FI_EINVAL) }
  let stored = list == nil ? 0 : min(max(count.pointee, 0), total)
  for index in 0..<stored { list.unsafelyUnwrapped[index] = describe(index) }
  count.pointee = total
  return stored
}

/// fi_profile(3), fi_profile_read_u64 and its kin. Returns the bytes of the value; `size` is the room for it, and becomes
/// what it takes.
private func profile_read_var(
  _ fid: UnsafeMutablePointer<fid_profile>?, _ number: UInt32, _ data: UnsafeMutableRawPointer?,
  _ size: UnsafeMutablePointer<Int>?
) -> Int {
  guard let index = ProfileValues.index(number), let size else {
    return Int(FabricError.invalidArgument.because(.endpointControl, "no such variable", in: "fi_profile_read").result)
  }
  let profile = object(fid, lfp_profile.self)
  let room = data == nil ? 0 : max(size.pointee, 0)
  if number == UInt32(FI_VAR_UNEXP_MSG_QUEUE) {
    let stride = MemoryLayout<fi_cq_err_entry>.stride
    let entries = data?.assumingMemoryBound(to: fi_cq_err_entry.self)
    size.pointee = profile.unexpectedMessages(entries, capacity: room / stride) * stride
  } else {
    size.pointee = MemoryLayout<UInt64>.size
    if room >= size.pointee { data?.storeBytes(of: profile.value(index), as: UInt64.self) }
  }
  return room < size.pointee ? -Int(FI_ETOOSMALL) : size.pointee
}

private func profile_reg_callback(
  _ fid: UnsafeMutablePointer<fid_profile>?, _ event: UInt32, _ callback: Profile.Callback?,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  guard event < UInt32(Profile.eventCount) else {
    return FabricError.invalidArgument.because(
      .endpointControl, "no such event", in: "fi_profile_register_callback"
    ).result
  }
  object(fid, lfp_profile.self).listen(Int(event), callback, context)
  return 0
}

nonisolated(unsafe) private var profileOps = fi_profile_ops(
  size: MemoryLayout<fi_profile_ops>.size,
  // As with upstream's tcp, nothing starts anew: what counts up does so from the endpoint's beginning.
  reset: { _, _ in },
  query_vars: { _, list, count in query(list, count, ProfileValues.count) { Profile.description(variable: $0) } },
  query_events: { _, list, count in query(list, count, Profile.eventCount) { Profile.description(event: $0) } },
  read_var: profile_read_var, reg_callback: profile_reg_callback,
  start_reads: { fid, _ in object(fid, lfp_profile.self).startReads() },
  end_reads: { fid, _ in object(fid, lfp_profile.self).endReads() })
