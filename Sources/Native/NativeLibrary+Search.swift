import CFabric
import CPlatform
import Provider
import Synchronization

extension NativeLibrary {
  /// The process's native library, opened by the first call; nil if there is none, which ``Standing`` explains. Any
  /// thread, without an end in time: a library may hang in the loader.
  static func shared(_ configuration: Configuration) -> NativeLibrary? {
    let known = Knowledge(rawValue: knowledge.load(ordering: .acquiring))
    if known != .nothing { return found }
    guard gate.enter(unless: { NativeQuestion.isGivenUp }) else { return nil }
    defer { gate.leave() }
    if knowledge.load(ordering: .acquiring) == Knowledge.nothing.rawValue {
      found = search(configuration)
      if let found, configuration.mode == .native { Standing.note(.chosen) { found.describe(to: &$0) } }
      knowledge.store((found == nil ? Knowledge.absent : .open).rawValue, ordering: .releasing)
    }
    return found
  }

  /// The process's native library if it is open already. Any thread, at once.
  package static var ifOpen: NativeLibrary? {
    knowledge.load(ordering: .acquiring) == Knowledge.open.rawValue ? found : nil
  }

  /// Whether it is known that there is none.
  static var isAbsent: Bool { knowledge.load(ordering: .acquiring) == Knowledge.absent.rawValue }

  /// Around all that opens something on trial, the library first of all.
  static let gate = Gate()

  private enum Knowledge: UInt8 {
    case nothing, absent, open
  }

  private static let knowledge = Atomic<UInt8>(Knowledge.nothing.rawValue)
  /// Written once, before `knowledge` tells of it.
  private nonisolated(unsafe) static var found: NativeLibrary?

  // MARK: Searching

  private static func search(_ configuration: Configuration) -> NativeLibrary? {
    guard platform_has_libraries() else {
      Standing.note(.unusable) { $0.append("this program cannot open libraries") }
      return nil
    }
    // Who has borrowed rights must not choose code.
    let isPrivileged = platform_is_privileged()
    if !isPrivileged, let path = configuration.native { return attempt(path, isWanted: true) }
    if let library = attempt(fileName, isWanted: false) { return library }
    var library: NativeLibrary?
    if !isPrivileged, let directories = getenv("LD_LIBRARY_PATH") {
      // The loader's search ends at ourselves where we are called as the native library is.
      CText.forEachPart(of: directories, separator: UInt8(ascii: ":")) { directory, length in
        library = attempt(in: directory, length)
        return library == nil
      }
    }
    for directory in usualDirectories where library == nil {
      library = attempt(in: directory.text, directory.utf8CodeUnitCount)
    }
    if library == nil { Standing.note(.missing) { $0.append("there is none") } }
    return library
  }

  private static func attempt(in directory: CString, _ length: Int) -> NativeLibrary? {
    guard length > 0, length < Int(PATH_MAX) - 32 else { return nil }
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { memory in
      var path = TextWriter(buffer: memory.baseAddress!, capacity: Int(PATH_MAX))
      directory.withMemoryRebound(to: UInt8.self, capacity: length) { path.append($0, count: length) }
      path.append("/")
      path.append(fileName)
      return access(path.text, R_OK) == 0 ? attempt(path.text, isWanted: true) : nil
    }
  }

  /// Opens a candidate. That one which `isWanted`, because it is there, cannot be used is worth telling, unless it is
  /// this library under another name.
  private static func attempt(_ path: CString, isWanted: Bool) -> NativeLibrary? {
    do throws(Flaw) {
      return try NativeLibrary(opening: path)
    } catch {
      let isTold =
        switch error {
        case .notOpened: isWanted
        case .isPolyfill: Configuration.current.native != nil
        default: true
        }
      if isTold {
        Standing.note(.unusable) { text in
          text.append(path)
          text.append(" ")
          error.describe(to: &text)
        }
      }
      return nil
    }
  }

  private static var fileName: CString { ("libfabric.so.1" as StaticString).text }

  /// Where others install it, besides where the loader finds it: first who brings drivers along.
  private static var usualDirectories: [StaticString] {
    #if arch(arm64)
    let ofArchitecture: StaticString = "/usr/lib/aarch64-linux-gnu"
    #else
    let ofArchitecture: StaticString = "/usr/lib/x86_64-linux-gnu"
    #endif
    return [
      "/opt/amazon/efa/lib64", "/opt/amazon/efa/lib", "/usr/local/lib64", "/usr/local/lib", ofArchitecture,
      "/usr/lib64", "/usr/lib",
    ]
  }
}
