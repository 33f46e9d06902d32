import CFabric
import Glibc
import Synchronization

#if !Native
import Provider
#endif

/// The library's own variables, as it reads them itself.
enum LibraryVariables {
  #if Native
  // Those of another library are its own business.
  static let names: Set<String> = []
  static var complaints: [String] { [] }
  #else
  /// Their names.
  static var names: Set<String> { Set(Variable.allCases.map { "\($0.description.environmentName)" }) }

  /// What the library has to say about the values that are set now: the lines that it logs as warnings.
  static var complaints: [String] {
    lines.withLock { $0 = [] }
    Log.install(collector)
    defer { Log.uninstall() }
    _ = Configuration { getenv("\($0.description.environmentName)").map { UnsafePointer($0) } }
    return lines.withLock { $0 }
  }

  private static let lines = Mutex<[String]>([])

  private static var collector: fi_ops_log {
    fi_ops_log(
      size: MemoryLayout<fi_ops_log>.size,
      enabled: { _, level, _, _ in level == FI_LOG_WARN ? 1 : 0 },
      ready: { _, level, _, _, _ in level == FI_LOG_WARN ? 1 : 0 },
      log: { _, _, _, _, _, message in
        guard let message else { return }
        let line = String(cString: message)
        LibraryVariables.lines.withLock { $0.append(line.last == "\n" ? String(line.dropLast()) : line) }
      })
  }
  #endif
}
