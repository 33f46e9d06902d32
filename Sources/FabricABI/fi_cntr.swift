import CFabric
import Provider

/// fi_cntr(3), fi_cntr_open
func domain_cntr_open(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_cntr_attr>?,
  _ cntr: UnsafeMutablePointer<UnsafeMutablePointer<fid_cntr>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let cntr else { throw .invalidArgument.because(.counter, "no place for the counter", in: "fi_cntr_open") }
    let counter = try Counter(object(domain, lfp_domain.self), attr, context: context)
    let isImported = counter.isImported
    do throws(FabricError) {
      let handle = try makeHandle(counter, lfp_cntr.self) {
        // A peer context lasts no longer than this call.
        $0.fid.fid = fid(fclass: Int(FI_CLASS_CNTR), context: isImported ? nil : context, ops: &counterBaseOps)
        $0.fid.ops = isImported ? UnsafeMutablePointer(&importedCounterOps) : UnsafeMutablePointer(&counterOps)
      }
      cntr.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_cntr.self)
    } catch {
      try counter.close()
      throw error
    }
  }
}

private func cntr_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_cntr.self).close()
    destroyHandle(fid, lfp_cntr.self)
  }
}

private func cntr_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in try object(fid, lfp_cntr.self).control(command, argument) }
}

private func cntr_read(_ cntr: UnsafeMutablePointer<fid_cntr>?) -> UInt64 {
  withObject(cntr, lfp_cntr.self) { $0.read() }
}

private func cntr_readerr(_ cntr: UnsafeMutablePointer<fid_cntr>?) -> UInt64 {
  withObject(cntr, lfp_cntr.self) { $0.readErrors() }
}

private func cntr_add(_ cntr: UnsafeMutablePointer<fid_cntr>?, _ value: UInt64) -> Int32 {
  withObject(cntr, lfp_cntr.self) { $0.add(value) }
  return 0
}

private func cntr_set(_ cntr: UnsafeMutablePointer<fid_cntr>?, _ value: UInt64) -> Int32 {
  withObject(cntr, lfp_cntr.self) { $0.set(value) }
  return 0
}

private func cntr_wait(_ cntr: UnsafeMutablePointer<fid_cntr>?, _ threshold: UInt64, _ timeout: Int32) -> Int32 {
  status { () throws(FabricError) in try object(cntr, lfp_cntr.self).wait(for: threshold, timeout: timeout) }
}

private func cntr_adderr(_ cntr: UnsafeMutablePointer<fid_cntr>?, _ value: UInt64) -> Int32 {
  withObject(cntr, lfp_cntr.self) { $0.addErrors(value) }
  return 0
}

private func cntr_seterr(_ cntr: UnsafeMutablePointer<fid_cntr>?, _ value: UInt64) -> Int32 {
  withObject(cntr, lfp_cntr.self) { $0.setErrors(value) }
  return 0
}

/// Whether an object of class FI_CLASS_CNTR is this library's.
func isCounter(_ fid: UnsafeMutablePointer<fid_cntr>) -> Bool {
  fid.pointee.fid.ops == UnsafeMutablePointer(&counterBaseOps)
}

nonisolated(unsafe) private var counterBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: cntr_close, bind: no_bind, control: cntr_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var counterOps = fi_ops_cntr(
  size: MemoryLayout<fi_ops_cntr>.size, read: cntr_read, readerr: cntr_readerr, add: cntr_add, set: cntr_set,
  wait: cntr_wait, adderr: cntr_adderr, seterr: cntr_seterr, export_xpu: no_cntr_export_xpu)

/// Of a counter that another provider owns: there is no count here, but reading drives progress.
nonisolated(unsafe) private var importedCounterOps = fi_ops_cntr(
  size: MemoryLayout<fi_ops_cntr>.size, read: cntr_read, readerr: { _ in 0 }, add: { _, _ in notBuilt },
  set: { _, _ in notBuilt }, wait: { _, _, _ in notBuilt }, adderr: { _, _ in notBuilt },
  seterr: { _, _ in notBuilt }, export_xpu: no_cntr_export_xpu)
