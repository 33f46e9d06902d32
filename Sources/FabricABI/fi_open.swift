import CFabric
import CPlatform
import Native
import Provider
import Synchronization

/// Opens an object of the library itself: "logging", through which a program takes over the log, or "mr_cache", which
/// takes a monitor of memory mappings. Names compare without case.
///
/// Returns 0; -FI_EINVAL for attributes, which neither has, for a version below 1.13 or a missing argument;
/// -FI_EBADFLAGS for any flag; -FI_EALREADY for "logging" while a program's functions are in use; -FI_ENOMEM;
/// -FI_ENOSYS for another name. What is opened takes the program's object with fi_import_fid. Any thread.
///
/// Man page: fi_open(3)
@c @implementation public func fi_open(
  _ version: UInt32, _ name: UnsafePointer<CChar>!, _ attr: UnsafeMutableRawPointer!, _ attr_len: Int,
  _ flags: UInt64, _ fid: UnsafeMutablePointer<UnsafeMutablePointer<fid>?>!, _ context: UnsafeMutableRawPointer!
) -> Int32 {
  if let call = Delegation.everything?.pointee.fi_open {
    return call(version, name, attr, attr_len, flags, fid, context)
  }
  do throws(FabricError) {
    guard let name, let fid else { throw .invalidArgument }
    let isLog = CText.equal(name, "logging")
    // Only hardware has a use for a monitor of memory mappings, or for what else a native library may know.
    if !isLog, let call = Delegation.hardware?.pointee.fi_open {
      return call(version, name, attr, attr_len, flags, fid, context)
    }
    guard isLog || CText.equal(name, "mr_cache") else { throw .notImplemented }
    if APIVersion(rawValue: version) < APIVersion(1, 13) || attr_len != 0 { throw .invalidArgument }
    if flags != 0 { throw .badFlags }
    if isLog && Log.isInstalled { throw .already }
    fid.pointee = try isLog ? openLog(context) : openCache(context)
    return FI_SUCCESS
  } catch {
    Log.write(.warn, .core, source: .core) { text in
      text.append("cannot open ")
      text.append(name)
    }
    return error.result
  }
}

private typealias Object = UnsafeMutablePointer<fid>

// MARK: Logging

private func openLog(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> Object {
  guard let memory = calloc(1, MemoryLayout<fid_logging>.stride) else { throw .noMemory }
  let object = memory.bindMemory(to: fid_logging.self, capacity: 1)
  object.pointee.fid.fclass = Int(FI_CLASS_LOG)
  object.pointee.fid.context = context
  object.pointee.fid.ops = pointer(to: &logOperations)
  object.pointee.ops = pointer(to: &ownLog)
  return memory.assumingMemoryBound(to: fid.self)
}

/// Puts a program's functions, those that it has, in place of the library's until it closes its object.
private func bindLog(_ object: Object?, _ foreign: Object?, _ flags: UInt64) -> Int32 {
  guard flags == 0, let foreign, foreign.pointee.fclass == Int(FI_CLASS_LOG) else {
    return FabricError.invalidArgument.result
  }
  let log = UnsafeMutableRawPointer(foreign).assumingMemoryBound(to: fid_logging.self)
  guard let functions = log.pointee.ops, functions.pointee.size >= MemoryLayout<fi_ops_log>.size else {
    return FabricError.invalidArgument.result
  }
  Log.install(functions.pointee)
  foreign.pointee.ops = pointer(to: &importedLogOperations)
  return FI_SUCCESS
}

private nonisolated(unsafe) var logOperations = operations(
  close: { object in
    free(object)
    return FI_SUCCESS
  }, bind: bindLog)

private nonisolated(unsafe) var importedLogOperations = operations(
  close: { _ in
    Log.uninstall()
    return FI_SUCCESS
  })

/// The library's own functions, for a program that wants to call them from its own.
private nonisolated(unsafe) var ownLog = fi_ops_log(
  size: MemoryLayout<fi_ops_log>.size,
  enabled: { provider, level, subsystem, _ in fi_log_enabled(provider, level, subsystem) },
  ready: { provider, level, subsystem, _, showTime in fi_log_ready(provider, level, subsystem, showTime) },
  log: { provider, level, subsystem, function, line, message in
    guard let message else { return }
    lfp_log_write(provider, level, subsystem, function, line, message)
  })

// MARK: Memory monitors

private func openCache(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> Object {
  guard let memory = calloc(1, MemoryLayout<fid>.stride) else { throw .noMemory }
  let object = memory.bindMemory(to: fid.self, capacity: 1)
  object.pointee.fclass = Int(FI_CLASS_MR_CACHE)
  object.pointee.context = context
  object.pointee.ops = pointer(to: &cacheOperations)
  return object
}

/// Takes a monitor, one at a time: -FI_EBUSY until the one before was closed. Memory is never pinned here and no
/// registration is cached, so the monitor is never started, and what it notifies of is of no consequence.
private func bindMonitor(_ object: Object?, _ foreign: Object?, _ flags: UInt64) -> Int32 {
  guard flags == 0, let foreign, foreign.pointee.fclass == Int(FI_CLASS_MEM_MONITOR) else {
    return FabricError.invalidArgument.result
  }
  let monitor = UnsafeMutableRawPointer(foreign).assumingMemoryBound(to: fid_mem_monitor.self)
  guard let functions = monitor.pointee.export_ops,
    functions.pointee.size >= MemoryLayout<fi_ops_mem_monitor>.size
  else { return FabricError.invalidArgument.result }
  guard hasMonitor.compareExchange(expected: false, desired: true, ordering: .acquiringAndReleasing).exchanged else {
    return FabricError.busy.because(.memoryRegion, "there is a memory monitor already", in: "fi_import_fid").result
  }
  monitor.pointee.import_ops = pointer(to: &monitorNotifications)
  foreign.pointee.ops = pointer(to: &importedMonitorOperations)
  return FI_SUCCESS
}

private nonisolated(unsafe) var cacheOperations = operations(
  close: { object in
    free(object)
    return FI_SUCCESS
  }, bind: bindMonitor)

private nonisolated(unsafe) var importedMonitorOperations = operations(
  close: { _ in
    hasMonitor.store(false, ordering: .releasing)
    return FI_SUCCESS
  })

private let hasMonitor = Atomic<Bool>(false)

private nonisolated(unsafe) var monitorNotifications = fi_ops_mem_notify(
  size: MemoryLayout<fi_ops_mem_notify>.size, notify: { _, _, _ in })

// MARK: Tables

private func operations(
  close: @escaping @convention(c) (Object?) -> Int32,
  bind: @escaping @convention(c) (Object?, Object?, UInt64) -> Int32 = { _, _, _ in FabricError.notImplemented.result }
) -> fi_ops {
  fi_ops(
    size: MemoryLayout<fi_ops>.size, close: close, bind: bind,
    control: { _, _, _ in FabricError.notImplemented.result },
    ops_open: { _, _, _, _, _ in FabricError.notImplemented.result },
    tostr: { _, _, _ in FabricError.notImplemented.result },
    ops_set: { _, _, _, _, _ in FabricError.notImplemented.result })
}

/// The address of a table, which is global and stays where it is.
private func pointer<Table>(to table: inout Table) -> UnsafeMutablePointer<Table> {
  withUnsafeMutablePointer(to: &table) { $0 }
}
