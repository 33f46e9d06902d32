import CFabric
import CPlatform
import Provider

/// fi_eq(3), fi_eq_open
func fabric_eq_open(
  _ fabric: UnsafeMutablePointer<fid_fabric>?, _ attr: UnsafeMutablePointer<fi_eq_attr>?,
  _ eq: UnsafeMutablePointer<UnsafeMutablePointer<fid_eq>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let eq else {
      throw .invalidArgument.because(.eventQueue, "no attributes, or no place for the queue", in: "fi_eq_open")
    }
    let queue = try EventQueue(object(fabric, lfp_fabric.self), attr, context: context)
    let isImported = queue.isImported
    do throws(FabricError) {
      let handle = try makeHandle(queue, lfp_eq.self) {
        // A peer context lasts no longer than this call.
        $0.fid.fid = fid(fclass: Int(FI_CLASS_EQ), context: isImported ? nil : context, ops: &eqBaseOps)
        $0.fid.ops = isImported ? UnsafeMutablePointer(&importedEQOps) : UnsafeMutablePointer(&eqOps)
      }
      eq.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_eq.self)
    } catch {
      try queue.close()
      throw error
    }
  }
}

private func eq_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_eq.self).close()
    destroyHandle(fid, lfp_eq.self)
  }
}

private func eq_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in try object(fid, lfp_eq.self).control(command, argument) }
}

private func eq_read(
  _ eq: UnsafeMutablePointer<fid_eq>?, _ event: UnsafeMutablePointer<UInt32>?, _ buf: UnsafeMutableRawPointer?,
  _ len: Int, _ flags: UInt64
) -> Int {
  count { () throws(FabricError) in
    try object(eq, lfp_eq.self).read(event: event, into: buf, length: len, flags: flags)
  }
}

private func eq_readerr(
  _ eq: UnsafeMutablePointer<fid_eq>?, _ buf: UnsafeMutablePointer<fi_eq_err_entry>?, _ flags: UInt64
) -> Int {
  count { () throws(FabricError) in
    guard let buf else { throw .invalidArgument.because(.eventQueue, "no entry", in: "fi_eq_readerr") }
    return try object(eq, lfp_eq.self).readError(into: buf, flags: flags)
  }
}

private func eq_write(
  _ eq: UnsafeMutablePointer<fid_eq>?, _ event: UInt32, _ buf: UnsafeRawPointer?, _ len: Int, _ flags: UInt64
) -> Int {
  count { () throws(FabricError) in try object(eq, lfp_eq.self).write(event: event, buf, length: len) }
}

private func eq_sread(
  _ eq: UnsafeMutablePointer<fid_eq>?, _ event: UnsafeMutablePointer<UInt32>?, _ buf: UnsafeMutableRawPointer?,
  _ len: Int, _ timeout: Int32, _ flags: UInt64
) -> Int {
  count { () throws(FabricError) in
    try object(eq, lfp_eq.self).wait(event: event, into: buf, length: len, timeout: timeout, flags: flags)
  }
}

private func eq_strerror(
  _ eq: UnsafeMutablePointer<fid_eq>?, _ error: Int32, _ data: UnsafeRawPointer?, _ buf: UnsafeMutablePointer<CChar>?,
  _ len: Int
) -> UnsafePointer<CChar>? {
  strerrorText(error, buf, len)
}

/// The text for a provider's error number, which is a fabric or system error number; copied to `buffer` if there is one.
func strerrorText(_ error: Int32, _ buffer: UnsafeMutablePointer<CChar>?, _ length: Int) -> UnsafePointer<CChar>? {
  let text = fi_strerror(error)
  guard let text, let buffer, length > 0 else { return text }
  var writer = TextWriter(buffer: buffer, capacity: length)
  writer.append(text)
  return UnsafePointer(buffer)
}

nonisolated(unsafe) private var eqBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: eq_close, bind: no_bind, control: eq_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var eqOps = fi_ops_eq(
  size: MemoryLayout<fi_ops_eq>.size, read: eq_read, readerr: eq_readerr, write: eq_write, sread: eq_sread,
  strerror: eq_strerror)

/// Of a queue that another provider owns: there is nothing to read, but polling hands on what had no room there.
nonisolated(unsafe) private var importedEQOps = fi_ops_eq(
  size: MemoryLayout<fi_ops_eq>.size,
  read: { eq, _, _, _, _ in
    object(eq, lfp_eq.self).forward()
    return -Int(FI_EAGAIN)
  }, readerr: { _, _, _ in Int(notBuilt) }, write: { _, _, _, _, _ in Int(notBuilt) },
  sread: { _, _, _, _, _, _ in Int(notBuilt) }, strerror: eq_strerror)
