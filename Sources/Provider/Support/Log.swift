import CFabric
import CPlatform
import Datagram
import Synchronization

/// Messages for whoever set FI_LOG_LEVEL. With the variable unset nothing is written and a check costs one load.
///
/// Any thread. One message is one write(2), so that lines of several threads do not mix.
///
/// Man page: fabric(7), "logging"; fi_provider(3), fi_log
package enum Log {
  /// How much a message matters, the most important first.
  package enum Level: UInt32 {
    case warn, trace, info, debug
  }

  /// The part of the library that speaks.
  package enum Subsystem: UInt32 {
    case core, fabric, domain, endpointControl, endpointData, addressVector, completionQueue, eventQueue, memoryRegion
    case counter
  }

  /// On whose behalf a message is written: FI_LOG_PROV selects by it, and never leaves the core out.
  package enum Source {
    case core, polyfill
  }

  // MARK: Writing

  /// Whether a message would be written.
  @inline(__always)
  package static func isEnabled(_ level: Level, _ subsystem: Subsystem, source: Source = .polyfill) -> Bool {
    let state = Self.state.load(ordering: .relaxed)
    // Ready and without any level: the usual case.
    if state & (initialized | imported | levels) == initialized { return false }
    return isEnabledSlow(record(source), level.rawValue, subsystem.rawValue)
  }

  /// Writes a warning without details.
  package static func warn(
    _ subsystem: Subsystem, _ message: StaticString, source: Source = .polyfill,
    function: StaticString = #function, line: Int32 = #line
  ) {
    write(.warn, subsystem, source: source, function: function, line: line) { $0.append(message) }
  }

  /// Writes the message that `body` composes; `body` only runs if somebody wants it.
  package static func write(
    _ level: Level, _ subsystem: Subsystem, source: Source = .polyfill, function: StaticString = #function,
    line: Int32 = #line, _ body: (inout TextWriter) -> Void
  ) {
    guard isEnabled(level, subsystem, source: source) else { return }
    let savedError = platform_errno()
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: messageCapacity + nameCapacity) { memory in
      var message = TextWriter(buffer: memory.baseAddress!, capacity: messageCapacity)
      body(&message)
      message.append("\n" as StaticString)
      var name = TextWriter(buffer: memory.baseAddress! + messageCapacity, capacity: nameCapacity)
      writeName(function, to: &name)
      deliver(record(source), level.rawValue, subsystem.rawValue, name.text, line, message.text)
    }
    platform_set_errno(savedError)
  }

  // MARK: The C interface

  /// Whether a message of `provider` would be written: fi_log_enabled.
  package static func isEnabled(provider: UnsafePointer<fi_provider>?, level: UInt32, subsystem: UInt32) -> Bool {
    isEnabledSlow(ProviderRecord.normalized(provider), level, subsystem)
  }

  /// As ``isEnabled(provider:level:subsystem:)``, but true at most once in FI_LOG_INTERVAL milliseconds for one
  /// `showTime`, which the caller starts at 0 and keeps: fi_log_ready.
  package static func isReady(
    provider: UnsafePointer<fi_provider>?, level: UInt32, subsystem: UInt32, showTime: UnsafeMutablePointer<UInt64>
  ) -> Bool {
    let provider = ProviderRecord.normalized(provider)
    initializeIfNeeded()
    if let ready = importedReady() {
      let level = fi_log_level(rawValue: level)
      return ready(provider, level, fi_log_subsys(rawValue: subsystem), filterFlags(provider), showTime) != 0
    }
    guard isEnabledSlow(provider, level, subsystem) else { return false }
    let now = Clock.now() / 1_000_000
    guard now >= showTime.pointee else { return false }
    showTime.pointee = now + interval
    return true
  }

  /// Writes a formatted message without looking at levels: fi_log.
  package static func deliver(
    _ provider: UnsafePointer<fi_provider>, _ level: UInt32, _ subsystem: UInt32, _ function: CString, _ line: Int32,
    _ message: CString
  ) {
    initializeIfNeeded()
    if let log = importedLog() {
      let level = fi_log_level(rawValue: level)
      return log(provider, level, fi_log_subsys(rawValue: subsystem), function, line, message)
    }
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: lineCapacity) { memory in
      var text = TextWriter(buffer: memory.baseAddress!, capacity: lineCapacity)
      writeHeader(provider, level, subsystem, function, line, to: &text)
      text.append(message)
      var written = 0
      while written < text.count {
        let result = platform_write(descriptor, text.text + written, text.count - written)
        if result <= 0 && result != -Int(EINTR) { return }
        written += max(result, 0)
      }
    }
  }

  /// The callbacks of a program that imported its own logging, fi_import_log(3). A nil callback keeps what is there.
  package static func install(_ callbacks: fi_ops_log) {
    initializeIfNeeded()
    lock.withLock {
      if let enabled = callbacks.enabled { foreign.enabled = enabled }
      if let ready = callbacks.ready { foreign.ready = ready }
      if let log = callbacks.log { foreign.log = log }
      let any = foreign.enabled != nil || foreign.ready != nil || foreign.log != nil
      if any { state.bitwiseOr(imported, ordering: .releasing) }
    }
  }

  /// Hands all messages to a host, whose own variables say which are wanted: none is read here, from now on.
  package static func adopt(_ host: fi_ops_log) {
    lock.withLock {
      foreign = host
      state.bitwiseOr(initialized | imported, ordering: .releasing)
    }
  }

  /// Ends what ``install(_:)`` or ``adopt(_:)`` began.
  package static func uninstall() {
    lock.withLock {
      state.bitwiseAnd(~imported, ordering: .releasing)
      foreign = fi_ops_log()
    }
  }

  /// Whether a program's callbacks are in use.
  package static var isInstalled: Bool { state.load(ordering: .acquiring) & imported != 0 }

  /// The name of a level in FI_LOG_LEVEL and in log lines.
  package static func name(level: UInt32) -> StaticString? {
    switch Level(rawValue: level) {
    case .warn: "warn"
    case .trace: "trace"
    case .info: "info"
    case .debug: "debug"
    case nil: nil
    }
  }

  /// The name of a subsystem in FI_LOG_SUBSYS and in log lines.
  package static func name(subsystem: UInt32) -> StaticString? {
    switch Subsystem(rawValue: subsystem) {
    case .core: "core"
    case .fabric: "fabric"
    case .domain: "domain"
    case .endpointControl: "ep_ctrl"
    case .endpointData: "ep_data"
    case .addressVector: "av"
    case .completionQueue: "cq"
    case .eventQueue: "eq"
    case .memoryRegion: "mr"
    case .counter: "cntr"
    case nil: nil
    }
  }
}

// MARK: Decisions

extension Log {
  @inline(never)
  private static func isEnabledSlow(_ provider: UnsafePointer<fi_provider>, _ level: UInt32, _ subsystem: UInt32)
    -> Bool
  {
    initializeIfNeeded()
    if let enabled = importedEnabled() {
      let level = fi_log_level(rawValue: level)
      return enabled(provider, level, fi_log_subsys(rawValue: subsystem), filterFlags(provider)) != 0
    }
    guard level <= Level.debug.rawValue, subsystem <= Subsystem.counter.rawValue else { return false }
    let wanted: UInt32 = 1 << level | 1 << (subsystem + subsystemShift)
    return state.load(ordering: .acquiring) & wanted == wanted && filterFlags(provider) == 0
  }

  /// FI_LOG_PROV_FILTERED or 0, for `provider`.
  private static func filterFlags(_ provider: UnsafePointer<fi_provider>) -> UInt64 {
    let filtered = state.load(ordering: .relaxed) & polyfillFiltered != 0
    return filtered && provider == UnsafePointer(ProviderRecord.polyfill) ? 1 : 0
  }

  private static func record(_ source: Source) -> UnsafePointer<fi_provider> {
    UnsafePointer(source == .core ? ProviderRecord.core : ProviderRecord.polyfill)
  }

  @inline(__always)
  private static func initializeIfNeeded() {
    if state.load(ordering: .acquiring) & initialized == 0 { initialize() }
  }

  /// Reads the FI_LOG_ variables, once.
  @inline(never)
  private static func initialize() {
    lock.lock()
    guard state.load(ordering: .acquiring) & initialized == 0 else { return lock.unlock() }
    var mask = initialized
    if let text = environment(.logLevel) {
      // Text that names no level means warn.
      var level = Level.debug.rawValue
      while level > 0 && !CText.equal(text, name(level: level)!) { level -= 1 }
      mask |= (2 << level) - 1
    }
    let subsystems = NameFilter(environment(.logSubsystem))
    for subsystem in 0...Subsystem.counter.rawValue where !subsystems.excludes(name(subsystem: subsystem)!) {
      mask |= 1 << (subsystem + subsystemShift)
    }
    if NameFilter(environment(.logProvider)).excludes("polyfill") { mask |= polyfillFiltered }
    if let text = environment(.logInterval) { interval = UInt64(max(Parameters.number(text), 0)) }
    state.store(mask, ordering: .releasing)
    lock.unlock()
    if let location = environment(.logLocation), let error = open(location) {
      write(.warn, .core, source: .core) { text in
        text.append("cannot log to ")
        text.append(location)
        text.append(": ")
        text.append(strerror(error))
      }
    }
  }

  private static func environment(_ variable: Variable) -> CString? {
    getenv(variable.description.environmentName.text).map { CString($0) }
  }

  /// Directs messages to `location`; returns the errno value if it cannot be opened. Files are never overwritten.
  private static func open(_ location: CString) -> Int32? {
    if CText.equal(location, "stderr") || location[0] == 0 { return nil }
    if CText.equal(location, "stdout") {
      descriptor = 1
      return nil
    }
    let mode = mode_t(truncatingIfNeeded: environment(.logLocationMode).map(Parameters.number) ?? 0o600)
    let result = withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { memory in
      var path = TextWriter(buffer: memory.baseAddress!, capacity: Int(PATH_MAX))
      path.append(location)
      path.append("/ofi_")
      path.append(decimal: Int64(getpid()))
      path.append(".log")
      // Where `location` is no directory this cannot succeed.
      let inDirectory = platform_create_new(path.text, mode)
      let isDirectory = inDirectory != -Int(ENOENT) && inDirectory != -Int(ENOTDIR)
      return isDirectory ? inDirectory : platform_create_new(location, mode)
    }
    if result < 0 { return Int32(truncatingIfNeeded: -result) }
    descriptor = Int32(result)
    return nil
  }

  private static func importedEnabled() -> fi_ops_log.Enabled? { isInstalled ? foreign.enabled : nil }
  private static func importedReady() -> fi_ops_log.Ready? { isInstalled ? foreign.ready : nil }
  private static func importedLog() -> fi_ops_log.Write? { isInstalled ? foreign.log : nil }
}

// MARK: Text

extension Log {
  /// libfabric:<pid>:<time>:<prefix>:<provider>:<subsystem>:<function>():<line><<level>> and a space; the prefix, a
  /// layered provider's name, is always empty here.
  private static func writeHeader(
    _ provider: UnsafePointer<fi_provider>, _ level: UInt32, _ subsystem: UInt32, _ function: CString, _ line: Int32,
    to text: inout TextWriter
  ) {
    text.append("libfabric:")
    text.append(decimal: Int64(getpid()))
    text.append(":")
    text.append(decimal: Int64(time(nil)))
    text.append("::")
    text.append(provider.pointee.name)
    text.append(":")
    text.append(name(subsystem: subsystem) ?? "unknown")
    text.append(":")
    text.append(function)
    text.append("():")
    text.append(decimal: Int64(line))
    text.append("<")
    text.append(name(level: level) ?? "unknown")
    text.append("> ")
  }

  /// A Swift function's name without its argument labels.
  private static func writeName(_ function: StaticString, to text: inout TextWriter) {
    for index in 0..<function.utf8CodeUnitCount {
      if function.utf8Start[index] == UInt8(ascii: "(") { return }
      text.append(byte: function.utf8Start[index])
    }
  }

  private static let lock = Lock()
  private static let state = Atomic<UInt32>(0)
  private nonisolated(unsafe) static var foreign = fi_ops_log()
  private nonisolated(unsafe) static var descriptor: Int32 = 2
  private nonisolated(unsafe) static var interval: UInt64 = 2000

  private static var levels: UInt32 { 0xf }
  private static var subsystemShift: UInt32 { 4 }
  private static var polyfillFiltered: UInt32 { 1 << 29 }
  private static var imported: UInt32 { 1 << 30 }
  private static var initialized: UInt32 { 1 << 31 }

  private static var messageCapacity: Int { 1024 }
  private static var nameCapacity: Int { 64 }
  private static var lineCapacity: Int { messageCapacity + 512 }
}

extension fi_ops_log {
  fileprivate typealias Enabled =
    @convention(c) (
      UnsafePointer<fi_provider>?, fi_log_level, fi_log_subsys, UInt64
    ) -> Int32
  fileprivate typealias Ready =
    @convention(c) (
      UnsafePointer<fi_provider>?, fi_log_level, fi_log_subsys, UInt64, UnsafeMutablePointer<UInt64>?
    ) -> Int32
  fileprivate typealias Write =
    @convention(c) (
      UnsafePointer<fi_provider>?, fi_log_level, fi_log_subsys, CString?, Int32, CString?
    ) -> Void
}

extension StaticString {
  /// The literal as a C string; literals end in a zero byte.
  package var text: CString { UnsafeRawPointer(utf8Start).assumingMemoryBound(to: CChar.self) }
}
