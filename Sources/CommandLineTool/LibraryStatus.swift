import CFabric
import Fabric

/// What the library tells about itself: which level is active, and why.
///
/// Man page: fi_polyfill_status, in rdma/fi_ext_polyfill.h
struct LibraryStatus: Encodable, Equatable {
  /// The native libfabric, as far as it was looked at.
  struct Native: Encodable, Equatable {
    /// `chosen`, `missing`, `failed` …
    var state: String
    /// Where it is; nil where there is none.
    var path: String?
    /// Its release, as `1.17`.
    var version: String?
    /// The provider with hardware that was chosen, or that failed.
    var provider: String?
  }

  /// `udp`, `native` or `plugin`.
  var level: String
  /// What FI_POLYFILL_MODE asks for: `auto`, `udp` or `native`.
  var mode: String
  /// Why it is so, in one line.
  var reason: String
  var native: Native

  /// How it stands now. Discovery may change it, so ask afterwards.
  static var current: LibraryStatus { LibraryStatus(report()) }

  init(level: String, mode: String, reason: String, native: Native) {
    self.level = level
    self.mode = mode
    self.reason = reason
    self.native = native
  }

  private init(_ report: fi_polyfill_report) {
    level = Self.levels[report.level] ?? "unknown"
    mode = Self.modes[report.mode] ?? "unknown"
    reason = Self.text(report.reason) ?? ""
    native = Native(
      state: Self.states[report.native] ?? "unknown", path: Self.text(report.native_path),
      version: report.native_version == 0 ? nil : Self.version(report.native_version),
      provider: Self.text(report.native_provider))
  }

  /// The library's own numbers for the whole process; zero where the library is not this one.
  static func report() -> fi_polyfill_report {
    var report = fi_polyfill_report()
    #if !Native
    fi_polyfill_status(nil, &report, MemoryLayout<fi_polyfill_report>.size)
    #endif
    return report
  }

  /// What --version prints.
  static var versionText: String {
    "provider polyfill \(version(report().version)), the interface of libfabric \(Library.version)"
  }

  private static func version(_ number: UInt32) -> String { "\(number >> 16).\(number & 0xFFFF)" }

  private static func text(_ text: UnsafePointer<CChar>?) -> String? { text.map { String(cString: $0) } }

  private static let levels: [UInt32: String] = [
    FI_POLYFILL_UDP.rawValue: "udp", FI_POLYFILL_NATIVE.rawValue: "native", FI_POLYFILL_PLUGIN.rawValue: "plugin",
  ]

  private static let modes: [UInt32: String] = [
    FI_POLYFILL_MODE_AUTO.rawValue: "auto", FI_POLYFILL_MODE_UDP.rawValue: "udp",
    FI_POLYFILL_MODE_NATIVE.rawValue: "native",
  ]

  private static let states: [UInt32: String] = [
    FI_POLYFILL_NATIVE_UNASKED.rawValue: "unasked", FI_POLYFILL_NATIVE_OFF.rawValue: "off",
    FI_POLYFILL_NATIVE_MISSING.rawValue: "missing", FI_POLYFILL_NATIVE_UNUSABLE.rawValue: "unusable",
    FI_POLYFILL_NATIVE_NO_HARDWARE.rawValue: "no hardware", FI_POLYFILL_NATIVE_FAILED.rawValue: "failed",
    FI_POLYFILL_NATIVE_CHOSEN.rawValue: "chosen", FI_POLYFILL_NATIVE_HOST.rawValue: "host",
  ]
}
