import CPlatform
import Transport

/// Memory that files back, or that is as good (FI_RMA_PMEM).
enum PersistentMemory {
  /// Has the kernel write the pages with these bytes to what backs them; false, with a line in the log, when it could not.
  /// Does nothing to memory that nothing backs.
  static func flush(_ slice: Slice) -> Bool {
    guard let base = slice.base, slice.count > 0 else { return true }
    let offset = Int(bitPattern: base) & (pageSize - 1)
    if msync(base - offset, slice.count + offset, MS_SYNC) == 0 { return true }
    Log.write(.warn, .memoryRegion, function: "msync") { $0.append("a peer's write could not be made persistent") }
    return false
  }

  private static let pageSize = Int(sysconf(Int32(_SC_PAGESIZE)))
}
