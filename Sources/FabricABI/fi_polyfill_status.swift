import CFabric
import CPlatform
import Native
import Provider

/// How the process, a domain or an endpoint is doing: rdma/fi_ext_polyfill.h says all about arguments, threads and errors.
@c @implementation public func fi_polyfill_status(
  _ fid: UnsafeMutablePointer<fid>!, _ report: UnsafeMutablePointer<fi_polyfill_report>!, _ size: Int
) -> Int32 {
  status { () throws(FabricError) in
    guard let report, size >= MemoryLayout<UInt64>.size else {
      throw .invalidArgument.because(.core, "no room for a report", in: "fi_polyfill_status")
    }
    var full = fi_polyfill_report()
    describeLevel(&full)
    var values: ProfileValues?
    if let fid {
      values = try status(of: fid)
      full.level = (values == nil ? FI_POLYFILL_NATIVE : ownLevel).rawValue
    } else {
      values = Engines.status
    }
    let filled = min(size, MemoryLayout<fi_polyfill_report>.size)
    full.size = UInt64(filled)
    withUnsafeMutableBytes(of: &full) {
      let numbers = $0.baseAddress! + Int(LFP_REPORT_NUMBERS)
      values?.store(at: numbers.assumingMemoryBound(to: UInt64.self))
      memcpy(report, $0.baseAddress!, filled)
    }
    memset(UnsafeMutableRawPointer(report) + filled, 0, size - filled)
  }
}

/// What an object has to tell; nil for one that is not this library's.
private func status(of fid: UnsafeMutablePointer<fid>) throws(FabricError) -> ProfileValues? {
  switch UInt32(truncatingIfNeeded: fid.pointee.fclass) {
  case UInt32(FI_CLASS_DOMAIN): return isDomain(fid) ? object(fid, lfp_domain.self).engine.status : nil
  case UInt32(FI_CLASS_EP), UInt32(FI_CLASS_SEP): return isEndpoint(fid) ? object(fid, lfp_ep.self).status : nil
  default:
    throw .invalidArgument.because(.core, "neither a domain nor an endpoint", in: "fi_polyfill_status")
  }
}

/// The level of this library's own objects.
private var ownLevel: fi_polyfill_level { ProviderHost.current == nil ? FI_POLYFILL_UDP : FI_POLYFILL_PLUGIN }

/// Whose objects the program gets, and why.
private func describeLevel(_ report: inout fi_polyfill_report) {
  report.version = ProviderName.polyfill.version.rawValue
  if let host = ProviderHost.current {
    report.level = ownLevel.rawValue
    report.mode = FI_POLYFILL_MODE_UDP.rawValue
    report.native = FI_POLYFILL_NATIVE_HOST.rawValue
    report.native_version = host.version.rawValue
    report.native_path = host.path
    report.reason = ("a native libfabric has loaded this library as a provider" as StaticString).text
    return
  }
  report.mode =
    switch Configuration.current.mode {
    case .auto: FI_POLYFILL_MODE_AUTO.rawValue
    case .udp: FI_POLYFILL_MODE_UDP.rawValue
    case .native: FI_POLYFILL_MODE_NATIVE.rawValue
    }
  let standing = Standing.current
  report.level = (standing.outcome == .chosen ? FI_POLYFILL_NATIVE : ownLevel).rawValue
  report.native = number(of: standing.outcome).rawValue
  report.native_provider = standing.provider
  report.reason = standing.reason
  if let library = NativeLibrary.ifOpen {
    report.native_path = library.path
    report.native_version = library.version.rawValue
  }
}

private func number(of outcome: Standing.Outcome) -> fi_polyfill_native {
  switch outcome {
  case .unasked: FI_POLYFILL_NATIVE_UNASKED
  case .off: FI_POLYFILL_NATIVE_OFF
  case .missing: FI_POLYFILL_NATIVE_MISSING
  case .unusable: FI_POLYFILL_NATIVE_UNUSABLE
  case .noHardware: FI_POLYFILL_NATIVE_NO_HARDWARE
  case .failed: FI_POLYFILL_NATIVE_FAILED
  case .chosen: FI_POLYFILL_NATIVE_CHOSEN
  }
}
