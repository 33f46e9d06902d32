import CFabric
import CPlatform
import Synchronization

/// The libfabric that has loaded this library as one of its providers, and has its variables and its log. A process has
/// one at most.
///
/// It calls from under its own locks: nothing here is called before `adopt` has returned, or after `leave`.
///
/// Man pages: fi_provider(3), fi_provider(7)
package struct ProviderHost {
  package let sizes: StructureSizes
  package let version: APIVersion
  /// The file that it was loaded from; empty for a program that contains it.
  package let path: CString
  private let library: UnsafeMutableRawPointer
  private let calls: UnsafePointer<lfp_native>

  /// Nil unless there is one.
  package private(set) nonisolated(unsafe) static var current: ProviderHost?

  /// Makes the libfabric whose code is at `caller` the host: the log goes there, and it knows the variables. False if it
  /// is too old, if there is another one, and where the program uses this library itself, be it through another
  /// libfabric that this one has opened.
  package static func adopt(caller: UnsafeRawPointer) -> Bool {
    guard platform_has_libraries(), let library = platform_library_at(caller) else { return false }
    // It stays anyway until it says that it goes away.
    defer { platform_library_close(library) }
    if let current { return current.library == library }
    guard !Configuration.isSettled, let host = ProviderHost(library) else { return false }
    current = host
    Log.adopt(hostLog)
    for variable in Variable.allCases where variable.description.owner == .polyfill && variable.isForProviders {
      host.define(variable)
    }
    return true
  }

  /// The host goes away, and with it the log.
  package static func leave() {
    Log.uninstall()
    current = nil
  }

  private init?(_ library: UnsafeMutableRawPointer) {
    guard let (getInfo, sizes) = StructureSizes.newest(of: library) else { return nil }
    let table = UnsafeMutablePointer<lfp_native>.allocate(capacity: 1)
    table.initialize(to: lfp_native())
    guard lfp_native_fill(table, getInfo, library, { platform_library_symbol($0, $1, nil) }),
      let path = platform_library_path(library).flatMap({ strdup($0) })
    else {
      table.deallocate()
      return nil
    }
    self.library = library
    self.sizes = sizes
    self.path = CString(path)
    calls = UnsafePointer(table)
    version = APIVersion(rawValue: table.pointee.fi_version())
  }

  // MARK: Variables

  private func define(_ variable: Variable) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2 * Variable.textCapacity) { memory in
      var name = TextWriter(buffer: memory.baseAddress!, capacity: Variable.textCapacity)
      variable.writeParameterName(to: &name)
      var help = TextWriter(buffer: memory.baseAddress! + Variable.textCapacity, capacity: Variable.textCapacity)
      variable.writeHelp(to: &help)
      let type = fi_param_type(rawValue: variable.description.kind.rawValue)
      _ = lfp_native_param_define(calls, ProviderRecord.polyfill, name.text, type, help.text)
    }
  }

  /// The text of a variable, wherever the host has it from, which is valid until the next call with the same `buffer`, of
  /// `Variable.textCapacity` bytes. What is the host's own business has a fixed one, or none.
  func text(_ variable: Variable, _ buffer: UnsafeMutablePointer<CChar>) -> CString? {
    switch variable {
    case .provider, .native, .hardware, .nativeTimeout: return nil
    case .mode: return ("udp" as StaticString).text
    case .aliases: return ("0" as StaticString).text
    default: break
    }
    let owner = variable.description.owner == .core ? nil : ProviderRecord.polyfill
    var name = TextWriter(buffer: buffer, capacity: Variable.textCapacity)
    variable.writeParameterName(to: &name)
    var value: UInt64 = 0
    switch calls.pointee.fi_param_get(owner, name.text, &value) {
    case 0: break
    // One that it does not know.
    case -FI_ENOENT: return getenv(variable.description.environmentName.text).map { CString($0) }
    default: return nil
    }
    var text = TextWriter(buffer: buffer, capacity: Variable.textCapacity)
    switch variable.description.kind {
    case .string: return CString(bitPattern: UInt(value))
    case .integer, .boolean: text.append(decimal: Int64(Int32(truncatingIfNeeded: value)))
    case .size: text.append(decimal: Int64(bitPattern: value))
    }
    return text.text
  }

  // MARK: Log

  /// Whatever this library has to say is of the provider that the host knows.
  private static let hostLog = fi_ops_log(
    size: MemoryLayout<fi_ops_log>.size,
    enabled: { _, level, subsystem, _ in
      ProviderHost.current?.calls.pointee.fi_log_enabled(ProviderRecord.polyfill, level, subsystem) ?? 0
    },
    ready: { _, level, subsystem, _, showTime in
      guard let calls = ProviderHost.current?.calls.pointee else { return 0 }
      // Since 1.14; without it nothing is limited.
      return calls.fi_log_ready?(ProviderRecord.polyfill, level, subsystem, showTime)
        ?? calls.fi_log_enabled(ProviderRecord.polyfill, level, subsystem)
    },
    log: { _, level, subsystem, function, line, message in
      guard let host = ProviderHost.current else { return }
      lfp_native_log(host.calls, ProviderRecord.polyfill, level, subsystem, function, line, message)
    })
}
