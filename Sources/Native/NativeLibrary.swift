import CFabric
import CPlatform
import Provider

/// A native libfabric: one that somebody else built, opened at run time.
///
/// A process opens at most one, and never closes it: its objects may be anywhere, and its threads. All its entry points
/// may be called from any thread, as their man pages say.
package struct NativeLibrary {
  /// Its entry points.
  package let calls: UnsafePointer<lfp_native>
  /// What its fi_version() says.
  package let version: APIVersion
  /// The file that it was loaded from.
  package let path: CString
  /// How much of each structure there is in what comes from it.
  package let sizes: StructureSizes
  private let handle: UnsafeMutableRawPointer

  /// Why a file does not serve.
  enum Flaw: Error {
    /// It cannot be opened; the loader says why.
    case notOpened
    case isPolyfill
    case isNoFabric
    case isTooOld(APIVersion)
    /// Its own calls cannot be kept from what came before it in the process.
    case notBound(Int32)

    /// The reason as text behind the library's path.
    func describe(to text: inout TextWriter) {
      switch self {
      case .notOpened:
        text.append("cannot be opened: ")
        text.append(platform_library_error().map { CString($0) })
      case .isPolyfill: text.append("is this library itself")
      case .isNoFabric: text.append("lacks entry points of a libfabric")
      case .isTooOld(let version):
        text.append("is too old: ")
        text.append(version: version)
        text.append(", and 1.9 is needed")
      case .notBound(let error):
        text.append("cannot be bound to itself: ")
        text.append(strerror(error))
      }
    }
  }

  /// Opens a library by its path, or by a name that the loader searches for.
  ///
  /// Names of versions are the newest that both sides know: the library's structures may be shorter than this one's,
  /// which it never notices, or longer, of which nothing is read.
  init(opening name: CString) throws(Flaw) {
    guard let library = platform_library_open(name) else { throw .notOpened }
    do {
      self = try Self.examine(library)
    } catch {
      platform_library_close(library)
      throw error
    }
  }

  /// A copy, in this library's layout, of a structure in this one's; nil without memory.
  package func copy(of info: UnsafePointer<fi_info>) -> UnsafeMutablePointer<fi_info>? {
    sizes.widen(info) { widened in widened.flatMap { try? InfoMemory.duplicate($0) } }
  }

  /// The file and the version, for the log.
  func describe(to text: inout TextWriter) {
    text.append(path)
    text.append(", version ")
    text.append(version: version)
  }

  /// Gives the library up: what it holds is left to the system when the process ends.
  func abandon() { platform_library_skip_destructors(handle) }

  private init(
    handle: UnsafeMutableRawPointer, calls: UnsafePointer<lfp_native>, path: CString, sizes: StructureSizes
  ) {
    self.handle = handle
    self.calls = calls
    self.path = path
    self.sizes = sizes
    version = APIVersion(rawValue: calls.pointee.fi_version())
  }

  private static func examine(_ library: UnsafeMutableRawPointer) throws(Flaw) -> NativeLibrary {
    // What libfabric has inline is in a node of this library's, whatever the name of its file.
    if platform_library_symbol(library, "fi_send", "POLYFILL_1.0") != nil { throw .isPolyfill }
    guard let getVersion = platform_library_symbol(library, "fi_version", nil) else { throw .isNoFabric }
    guard let (getInfo, sizes) = StructureSizes.newest(of: library) else {
      typealias Version = @convention(c) () -> UInt32
      throw .isTooOld(APIVersion(rawValue: unsafeBitCast(getVersion, to: Version.self)()))
    }
    // Before the first of its functions runs that calls another.
    let bound = platform_library_bind_to_itself(library)
    guard bound == 0 else { throw .notBound(-bound) }
    let calls = UnsafeMutablePointer<lfp_native>.allocate(capacity: 1)
    calls.initialize(to: lfp_native())
    let isComplete = lfp_native_fill(calls, getInfo, library) { platform_library_symbol($0, $1, nil) }
    guard isComplete, let path = platform_library_path(library).flatMap({ strdup($0) }) else {
      calls.deallocate()
      throw .isNoFabric
    }
    return NativeLibrary(handle: library, calls: UnsafePointer(calls), path: CString(path), sizes: sizes)
  }
}

extension TextWriter {
  /// Major and minor number with a point between.
  mutating func append(version: APIVersion) {
    append(decimal: UInt64(version.major))
    append(".")
    append(decimal: UInt64(version.minor))
  }
}
