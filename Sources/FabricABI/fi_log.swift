import CFabric
import Native
import Provider

/// Whether a message would be written, 1 or 0. Any thread.
///
/// Man page: fi_provider(3)
@c @implementation public func fi_log_enabled(
  _ prov: UnsafePointer<fi_provider>!, _ level: fi_log_level, _ subsys: fi_log_subsys
) -> Int32 {
  if let native = Delegation.everything { return native.pointee.fi_log_enabled(prov, level, subsys) }
  return Log.isEnabled(provider: prov, level: level.rawValue, subsystem: subsys.rawValue) ? 1 : 0
}

/// As fi_log_enabled, but 1 at most once in FI_LOG_INTERVAL milliseconds for each `showtime`, which the caller starts
/// at 0 and keeps. Without a `showtime` nothing is limited. Any thread.
///
/// Man page: fi_provider(3)
@c @implementation public func fi_log_ready(
  _ prov: UnsafePointer<fi_provider>!, _ level: fi_log_level, _ subsys: fi_log_subsys,
  _ showtime: UnsafeMutablePointer<UInt64>!
) -> Int32 {
  if let call = Delegation.everything?.pointee.fi_log_ready { return call(prov, level, subsys, showtime) }
  guard let showtime else { return fi_log_enabled(prov, level, subsys) }
  let ready = Log.isReady(provider: prov, level: level.rawValue, subsystem: subsys.rawValue, showTime: showtime)
  return ready ? 1 : 0
}

/// fi_log, after C has formatted the message. Levels are not looked at.
///
/// Man page: fi_provider(3)
@c @implementation public func lfp_log_write(
  _ prov: UnsafePointer<fi_provider>!, _ level: fi_log_level, _ subsys: fi_log_subsys, _ func: UnsafePointer<CChar>!,
  _ line: Int32, _ message: UnsafePointer<CChar>!
) {
  if let native = Delegation.everything { return lfp_native_log(native, prov, level, subsys, `func`, line, message) }
  let unknown: StaticString = "?"
  Log.deliver(
    ProviderRecord.normalized(prov), level.rawValue, subsys.rawValue, `func` ?? unknown.text, line, message)
}
