import CFabric

#if Native && (Polyfill || NativeFallback)
#error("the trait Native goes alone: name it without Polyfill (a default) and NativeFallback")
#endif

extension TransportProvider.Level {
  /// The level of an open domain, and why it is that.
  static func explain(_ domain: Domain) -> (Self, reason: String) {
    #if Native
    (.native, "this program is linked with libfabric \(Library.version)")
    #else
    (report(domain.handle.base).level == FI_POLYFILL_NATIVE.rawValue ? .native : .udp, reason(report(nil)))
    #endif
  }

  #if !Native
  /// What the library says of an object, or of the process.
  private static func report(_ object: UnsafeMutablePointer<fid>?) -> fi_polyfill_report {
    var report = fi_polyfill_report()
    fi_polyfill_status(object, &report, MemoryLayout<fi_polyfill_report>.size)
    return report
  }

  private static func reason(_ report: fi_polyfill_report) -> String {
    report.reason.map { String(cString: $0) } ?? ""
  }
  #endif
}
