import CFabric
import Provider

/// fi_cq(3), fi_cq_open
func domain_cq_open(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_cq_attr>?,
  _ cq: UnsafeMutablePointer<UnsafeMutablePointer<fid_cq>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let cq else {
      throw .invalidArgument.because(.completionQueue, "no attributes, or no place for the queue", in: "fi_cq_open")
    }
    let queue = try CompletionQueue(object(domain, lfp_domain.self), attr, context: context)
    let isImported = queue.owner != nil
    do throws(FabricError) {
      let handle = try makeHandle(queue, lfp_cq.self) {
        // A peer context lasts no longer than this call.
        $0.fid.fid = fid(fclass: Int(FI_CLASS_CQ), context: isImported ? nil : context, ops: &cqBaseOps)
        $0.fid.ops = isImported ? UnsafeMutablePointer(&importedCQOps) : UnsafeMutablePointer(&cqOps)
      }
      cq.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_cq.self)
    } catch {
      try queue.close()
      throw error
    }
  }
}

private func cq_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_cq.self).close()
    destroyHandle(fid, lfp_cq.self)
  }
}

private func cq_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in try object(fid, lfp_cq.self).control(command, argument) }
}

private func cq_read(_ cq: UnsafeMutablePointer<fid_cq>?, _ buf: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  withObject(cq, lfp_cq.self) { $0.read(into: buf, count: count, sources: nil) }
}

private func cq_readfrom(
  _ cq: UnsafeMutablePointer<fid_cq>?, _ buf: UnsafeMutableRawPointer?, _ count: Int,
  _ src_addr: UnsafeMutablePointer<fi_addr_t>?
) -> Int {
  withObject(cq, lfp_cq.self) { $0.read(into: buf, count: count, sources: src_addr) }
}

private func cq_readerr(
  _ cq: UnsafeMutablePointer<fid_cq>?, _ buf: UnsafeMutablePointer<fi_cq_err_entry>?, _ flags: UInt64
) -> Int {
  guard let buf else {
    return Int(FabricError.invalidArgument.because(.completionQueue, "no entry", in: "fi_cq_readerr").result)
  }
  return withObject(cq, lfp_cq.self) { $0.readError(into: buf) }
}

private func cq_sread(
  _ cq: UnsafeMutablePointer<fid_cq>?, _ buf: UnsafeMutableRawPointer?, _ count: Int, _ cond: UnsafeRawPointer?,
  _ timeout: Int32
) -> Int {
  cq_sreadfrom(cq, buf, count, nil, cond, timeout)
}

private func cq_sreadfrom(
  _ cq: UnsafeMutablePointer<fid_cq>?, _ buf: UnsafeMutableRawPointer?, _ count: Int,
  _ src_addr: UnsafeMutablePointer<fi_addr_t>?, _ cond: UnsafeRawPointer?, _ timeout: Int32
) -> Int {
  // With FI_CQ_COND_THRESHOLD `cond` is no pointer but the number of entries.
  let threshold = Int(clamping: UInt(bitPattern: cond))
  return withObject(cq, lfp_cq.self) {
    $0.wait(into: buf, count: count, sources: src_addr, threshold: threshold, timeout: timeout)
  }
}

private func cq_signal(_ cq: UnsafeMutablePointer<fid_cq>?) -> Int32 {
  status { () throws(FabricError) in try object(cq, lfp_cq.self).interrupt() }
}

private func cq_strerror(
  _ cq: UnsafeMutablePointer<fid_cq>?, _ error: Int32, _ data: UnsafeRawPointer?, _ buf: UnsafeMutablePointer<CChar>?,
  _ len: Int
) -> UnsafePointer<CChar>? {
  strerrorText(error, buf, len)
}

nonisolated(unsafe) private var cqBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: cq_close, bind: no_bind, control: cq_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var cqOps = fi_ops_cq(
  size: MemoryLayout<fi_ops_cq>.size, read: cq_read, readfrom: cq_readfrom, readerr: cq_readerr, sread: cq_sread,
  sreadfrom: cq_sreadfrom, signal: cq_signal, strerror: cq_strerror, export_xpu: no_cq_export_xpu)

/// Of a queue that another provider owns: there is nothing to read, but polling drives progress.
nonisolated(unsafe) private var importedCQOps = fi_ops_cq(
  size: MemoryLayout<fi_ops_cq>.size, read: { cq, _, _ in withObject(cq, lfp_cq.self) { $0.pollForOwner() } },
  readfrom: { _, _, _, _ in Int(notBuilt) }, readerr: { _, _, _ in Int(notBuilt) },
  sread: { _, _, _, _, _ in Int(notBuilt) }, sreadfrom: { _, _, _, _, _, _ in Int(notBuilt) },
  signal: { _ in notBuilt }, strerror: cq_strerror, export_xpu: no_cq_export_xpu)
