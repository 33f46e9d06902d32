import CFabric
import Datagram
import Provider

/// fi_av(3), fi_av_open
func domain_av_open(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_av_attr>?,
  _ av: UnsafeMutablePointer<UnsafeMutablePointer<fid_av>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let av else {
      throw .invalidArgument.because(.addressVector, "no attributes, or no place for the vector", in: "fi_av_open")
    }
    let vector = try AddressVector(object(domain, lfp_domain.self), attr, context: context)
    // A peer context lasts no longer than this call.
    let isImported = attr.pointee.flags & FI_PEER != 0
    do throws(FabricError) {
      let handle = try makeHandle(vector, lfp_av.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_AV), context: isImported ? nil : context, ops: &avBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&avOps)
      }
      attr.pointee.type = vector.type
      if attr.pointee.name != nil, attr.pointee.map_addr == nil { attr.pointee.map_addr = vector.mapAddress }
      av.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_av.self)
    } catch {
      try vector.close()
      throw error
    }
  }
}

private func av_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_av.self).close()
    destroyHandle(fid, lfp_av.self)
  }
}

private func av_insert(
  _ av: UnsafeMutablePointer<fid_av>?, _ addr: UnsafeRawPointer?, _ count: Int,
  _ fi_addr: UnsafeMutablePointer<fi_addr_t>?, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  inserted(av) { () throws(FabricError) in
    try object(av, lfp_av.self).insert(addr, count: count, report(av, fi_addr, flags, context))
  }
}

private func av_insertsvc(
  _ av: UnsafeMutablePointer<fid_av>?, _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?,
  _ fi_addr: UnsafeMutablePointer<fi_addr_t>?, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  av_insertsym(av, node, 1, service, 1, fi_addr, flags, context)
}

private func av_insertsym(
  _ av: UnsafeMutablePointer<fid_av>?, _ node: UnsafePointer<CChar>?, _ nodecnt: Int,
  _ service: UnsafePointer<CChar>?, _ svccnt: Int, _ fi_addr: UnsafeMutablePointer<fi_addr_t>?, _ flags: UInt64,
  _ context: UnsafeMutableRawPointer?
) -> Int32 {
  inserted(av) { () throws(FabricError) in
    let report = try report(av, fi_addr, flags, context)
    guard let node, let service else {
      throw .invalidArgument.because(.addressVector, "no node or no service", in: "fi_av_insertsvc")
    }
    return try object(av, lfp_av.self).insert(
      node: node, nodeCount: nodecnt, service: service, serviceCount: svccnt, report)
  }
}

private func av_remove(
  _ av: UnsafeMutablePointer<fid_av>?, _ fi_addr: UnsafeMutablePointer<fi_addr_t>?, _ count: Int, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard flags & ~FI_AUTH_KEY == 0 else { throw .invalidArgument.because(.addressVector, "unknown flags") }
    guard count > 0 else { return }
    guard let fi_addr else { throw .invalidArgument.because(.addressVector, "no addresses") }
    if flags & FI_AUTH_KEY != 0 { return try object(av, lfp_av.self).removeKeys(fi_addr, count: count) }
    try object(av, lfp_av.self).remove(fi_addr, count: count)
  }
}

private func av_lookup(
  _ av: UnsafeMutablePointer<fid_av>?, _ fi_addr: fi_addr_t, _ addr: UnsafeMutableRawPointer?,
  _ addrlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in
    guard let addrlen else { throw .invalidArgument.because(.addressVector, "no place for the length") }
    addrlen.pointee = try object(av, lfp_av.self).lookup(fi_addr, into: addr, length: max(addrlen.pointee, 0))
  }
}

private func av_lookup2(
  _ av: UnsafeMutablePointer<fid_av>?, _ fi_addr: fi_addr_t, _ buf: UnsafeMutableRawPointer?,
  _ len: UnsafeMutablePointer<Int>?, _ flags: UInt64, _ ctx: UnsafeMutablePointer<fid_xpu_ctx>?
) -> Int32 {
  if flags == 0 { return av_lookup(av, fi_addr, buf, len) }
  return FabricError.notImplemented.because(.addressVector, "unknown flags", in: "fi_av_lookup2").result
}

private func av_straddr(
  _ av: UnsafeMutablePointer<fid_av>?, _ addr: UnsafeRawPointer?, _ buf: UnsafeMutablePointer<CChar>?,
  _ len: UnsafeMutablePointer<Int>?
) -> UnsafePointer<CChar>? {
  guard let addr, let len, let address = SocketAddress(sockaddr: addr, length: SocketAddress.sockaddrCapacity) else {
    return nil
  }
  return withUnsafeTemporaryAllocation(of: CChar.self, capacity: straddrCapacity) { memory in
    var text = TextWriter(buffer: memory.baseAddress!, capacity: straddrCapacity)
    if address.family == .ipv4 { text.append("fi_sockaddr_in://") } else { text.append("fi_sockaddr_in6://") }
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: SocketAddress.textCapacity) { plain in
      _ = address.write(to: plain.baseAddress!, capacity: SocketAddress.textCapacity)
      text.append(UnsafePointer(plain.baseAddress!))
    }
    if let buf, len.pointee > 0 {
      var target = TextWriter(buffer: buf, capacity: len.pointee)
      target.append(text.text)
    }
    len.pointee = text.count + 1
    return UnsafePointer(buf)
  }
}

/// fi_av(3), fi_av_insert_auth_key: flags must be 0.
private func av_insert_auth_key(
  _ av: UnsafeMutablePointer<fid_av>?, _ auth_key: UnsafeRawPointer?, _ auth_key_size: Int,
  _ fi_addr: UnsafeMutablePointer<fi_addr_t>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard flags == 0 else {
      throw .badFlags.because(.addressVector, "flags must be 0", in: "fi_av_insert_auth_key")
    }
    let number = try object(av, lfp_av.self).insertKey(auth_key, auth_key_size)
    fi_addr?.pointee = number
  }
}

/// fi_av(3), fi_av_lookup_auth_key
private func av_lookup_auth_key(
  _ av: UnsafeMutablePointer<fid_av>?, _ addr: fi_addr_t, _ auth_key: UnsafeMutableRawPointer?,
  _ auth_key_size: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in
    guard let auth_key_size else {
      throw .invalidArgument.because(.addressVector, "no place for the length", in: "fi_av_lookup_auth_key")
    }
    let capacity = max(auth_key_size.pointee, 0)
    auth_key_size.pointee = try object(av, lfp_av.self).lookupKey(addr, into: auth_key, length: capacity)
  }
}

/// fi_av(3), fi_av_set_user_id
private func av_set_user_id(
  _ av: UnsafeMutablePointer<fid_av>?, _ fi_addr: fi_addr_t, _ user_id: fi_addr_t, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard flags & ~FI_AUTH_KEY == 0 else {
      throw .badFlags.because(.addressVector, "unknown flags", in: "fi_av_set_user_id")
    }
    try object(av, lfp_av.self).setUserID(fi_addr, user_id, isKey: flags & FI_AUTH_KEY != 0)
  }
}

/// Where results of insertions go. Throws FI_EBADFLAGS for unknown flags, FI_ENOSYS for those of what is not built,
/// FI_EINVAL for FI_SYNC_ERR without room for the errors.
private func report(
  _ av: UnsafeMutablePointer<fid_av>?, _ numbers: UnsafeMutablePointer<fi_addr_t>?, _ flags: UInt64,
  _ context: UnsafeMutableRawPointer?
) throws(FabricError) -> InsertionReport {
  guard flags & ~(FI_MORE | FI_SYNC_ERR | FI_FIREWALL_ADDR | FI_AV_USER_ID | FI_AUTH_KEY) == 0 else {
    throw .badFlags.because(.addressVector, "unknown flags", in: "fi_av_insert")
  }
  if flags & FI_FIREWALL_ADDR != 0 {
    throw .notImplemented.because(.addressVector, "FI_FIREWALL_ADDR is not offered", in: "fi_av_insert")
  }
  let fid = UnsafeMutableRawPointer(av)?.assumingMemoryBound(to: fid.self)
  var report = InsertionReport(numbers: numbers, errors: nil, fid: fid, context: context)
  report.bringsIdentifiers = flags & FI_AV_USER_ID != 0
  report.bringsKeys = flags & FI_AUTH_KEY != 0
  guard flags & FI_SYNC_ERR != 0 else { return report }
  guard let context else {
    throw .invalidArgument.because(.addressVector, "FI_SYNC_ERR without room for errors", in: "fi_av_insert")
  }
  report.errors = context.assumingMemoryBound(to: Int32.self)
  report.context = nil
  return report
}

/// fi_av(3), fi_av_bind: an event queue, once, for a vector opened with FI_EVENT.
private func av_bind(
  _ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard flags == 0 else { throw .invalidArgument.because(.addressVector, "unknown flags", in: "fi_av_bind") }
    guard let bfid, bfid.pointee.fclass == Int(FI_CLASS_EQ) else {
      throw .invalidArgument.because(.addressVector, "no event queue", in: "fi_av_bind")
    }
    try object(fid, lfp_av.self).bind(object(bfid, lfp_eq.self))
  }
}

/// What a call that inserts returns. Owners of receives learn whom their unexpected messages come from.
private func inserted(_ av: UnsafeMutablePointer<fid_av>?, _ body: () throws(FabricError) -> Int) -> Int32 {
  let result = Int32(clamping: count(body))
  if result >= 0 { object(av, lfp_av.self).domain.engine.updateSources(peer_source) }
  return result
}

private var straddrCapacity: Int { SocketAddress.textCapacity + 24 }

nonisolated(unsafe) private var avBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: av_close, bind: av_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var avOps = fi_ops_av(
  size: MemoryLayout<fi_ops_av>.size, insert: av_insert, insertsvc: av_insertsvc, insertsym: av_insertsym,
  remove: av_remove, lookup: av_lookup, straddr: av_straddr, av_set: av_av_set,
  insert_auth_key: av_insert_auth_key, lookup_auth_key: av_lookup_auth_key, set_user_id: av_set_user_id,
  lookup2: av_lookup2)
