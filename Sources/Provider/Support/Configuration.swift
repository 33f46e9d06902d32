import CPlatform
import Datagram
import Synchronization

/// What the environment says, read once. Each value that cannot be used is reported and replaced by its default.
package struct Configuration {
  /// FI_PROVIDER.
  package let providerFilter: NameFilter
  /// Whose objects programs are offered.
  package let mode: Mode
  /// Where the native libfabric is; nil to search for it.
  package let native: CString?
  /// The native providers that come before the polyfill, and whether the user says so.
  package let hardware: NameFilter
  package let namesHardware: Bool
  /// Milliseconds that a request may wait for the native libfabric.
  package let nativeTimeout: Int
  /// Whether the names of upstream's providers are answered to.
  package let answersAliases: Bool
  /// The one network interface to use, or nil for all.
  package let interface: CString?
  /// The ports to bind when a program asks for none; nil leaves the choice to the system.
  package let portRange: ClosedRange<UInt16>?
  /// Default sizes of an endpoint's queues, in operations.
  package let txSize: Int
  package let rxSize: Int
  /// Whether FI_MR_PROV_KEY is granted to programs that hint it.
  package let grantsProviderKeys: Bool
  /// Milliseconds that this side may be silent until its peers give it up; 0 when progress decides.
  package let peerTimeout: Int
  /// Bytes of socket buffer to ask for in each direction.
  package let socketBuffer: Int
  /// Largest IP packet in bytes, or 0 to discover what the path carries.
  package let mtu: Int
  /// Whether segmentation and receive offload may be used.
  package let usesGSO: Bool
  package let usesGRO: Bool
  package let connects: Bool
  package let splices: Bool
  /// Whether to keep to plain POSIX socket calls.
  package let isPortable: Bool
  /// What to do on purpose to the datagrams that arrive.
  package let faults: FaultPlan
  /// How many peers the program expects.
  package let universeSize: Int

  /// FI_HMEM=system: the program has no memory of devices.
  package let hasSystemMemoryOnly: Bool

  /// FI_POLYFILL_MODE.
  package enum Mode {
    /// Native hardware where it works, UDP otherwise.
    case auto
    /// UDP; a native libfabric is not even looked for.
    case udp
    /// A native libfabric does everything.
    case native
  }

  /// This process's configuration. Any thread.
  package static var current: Configuration { shared }
  /// Whether somebody has asked for that who was no host of this library.
  package static var isSettled: Bool { settled.load(ordering: .acquiring) }

  /// The text of a variable, which must stay valid until the next call; nil where it is not set.
  package typealias Lookup = (Variable) -> CString?

  /// Reads the variables through `lookup`.
  package init(lookup: Lookup) {
    providerFilter = NameFilter(Self.keptText(.provider, lookup))
    mode = Self.mode(lookup)
    native = Self.keptText(.native, lookup).flatMap { $0.pointee == 0 ? nil : $0 }
    let hardwareNames = Self.keptText(.hardware, lookup)
    namesHardware = hardwareNames != nil
    hardware = NameFilter(hardwareNames ?? Variable.hardware.description.defaultText.text)
    nativeTimeout = Self.number(.nativeTimeout, 1...86_400_000, lookup)
    answersAliases = Self.truth(.aliases, lookup)
    interface = Self.keptText(.interface, lookup)
    portRange = Self.ports(lookup)
    txSize = Self.number(.txSize, 1...Capabilities.maximumQueueSize, lookup)
    rxSize = Self.number(.rxSize, 1...Capabilities.maximumQueueSize, lookup)
    grantsProviderKeys = Self.truth(.providerKeys, lookup)
    peerTimeout = Self.number(.peerTimeout, 0...86_400_000, lookup)
    socketBuffer = Self.number(.socketBuffer, 0...Int(Int32.max) / 2, lookup)
    mtu = Self.number(.mtu, 0...65_535, lookup)
    usesGSO = Self.truth(.gso, lookup)
    usesGRO = Self.truth(.gro, lookup)
    connects = Self.truth(.connect, lookup)
    splices = Self.truth(.splice, lookup)
    isPortable = Self.truth(.portable, lookup)
    faults = Self.faults(lookup)
    universeSize = Self.number(.universeSize, 1...Int(Int32.max), lookup)
    hasSystemMemoryOnly = lookup(.deviceMemory).map { CText.equal($0, "system") } ?? false
    // With a native library there are more names than are known here.
    guard mode == .udp else { return }
    providerFilter.forEachName { name, length in
      if !ProviderName.isKnown(name, length) { Self.warnUnknown(name, length) }
      return true
    }
  }

  private static let settled = Atomic<Bool>(false)

  private nonisolated(unsafe) static let shared: Configuration = {
    if let host = ProviderHost.current {
      return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Variable.textCapacity) { memory in
        Configuration { host.text($0, memory.baseAddress!) }
      }
    }
    settled.store(true, ordering: .releasing)
    return Configuration { getenv($0.description.environmentName.text).map { CString($0) } }
  }()

  /// A copy, because a program may change its environment later.
  private static func keptText(_ variable: Variable, _ lookup: Lookup) -> CString? {
    lookup(variable).flatMap { CString(strdup($0)) }
  }

  private static func truth(_ variable: Variable, _ lookup: Lookup) -> Bool {
    let standard = Parameters.truth(variable.description.defaultText.text)!
    guard let text = lookup(variable) else { return standard }
    if let value = Parameters.truth(text) { return value }
    warn(variable, text)
    return standard
  }

  private static func number(_ variable: Variable, _ range: ClosedRange<Int>, _ lookup: Lookup) -> Int {
    let standard = Parameters.number(variable.description.defaultText.text)
    guard let text = lookup(variable) else { return standard }
    var end: UnsafeMutablePointer<CChar>?
    let value = strtol(text, &end, 0)
    if let end, end != text, end.pointee == 0, range.contains(value) { return value }
    warn(variable, text)
    return standard
  }

  private static func mode(_ lookup: Lookup) -> Mode {
    guard let text = lookup(.mode) else { return usualMode }
    if CText.equal(text, "udp") { return .udp }
    if CText.equal(text, "native") { return .native }
    if !CText.equal(text, "auto") { warn(.mode, text) }
    return .auto
  }

  /// A program of the Swift API that was linked with the polyfill alone gets that.
  private static var usualMode: Mode {
    #if Polyfill && !NativeFallback
    .udp
    #else
    .auto
    #endif
  }

  /// "low-high", or one port alone.
  private static func ports(_ lookup: Lookup) -> ClosedRange<UInt16>? {
    guard let text = lookup(.portRange) else { return nil }
    var end: UnsafeMutablePointer<CChar>?
    let low = strtol(text, &end, 10)
    var high = low
    if let separator = end, separator != text, separator.pointee == CChar(UInt8(ascii: "-")) {
      high = strtol(separator + 1, &end, 10)
    }
    if let end, end != text, end.pointee == 0, low >= 1, low <= high, high <= Int(UInt16.max) {
      return UInt16(low)...UInt16(high)
    }
    warn(.portRange, text)
    return nil
  }

  /// A plan that does something is told of, so that nobody looks for its effects elsewhere.
  private static func faults(_ lookup: Lookup) -> FaultPlan {
    guard let text = lookup(.fault) else { return FaultPlan() }
    guard let plan = FaultPlan(text) else {
      warn(.fault, text)
      return FaultPlan()
    }
    Log.write(.warn, .core) { line in
      line.append("FI_POLYFILL_FAULT is set, the network is made worse on purpose: ")
      line.append(text)
    }
    return plan
  }

  private static func warn(
    _ variable: Variable, _ value: CString, function: StaticString = #function, line: Int32 = #line
  ) {
    Log.write(.warn, .core, function: function, line: line) { text in
      text.append(variable.description.environmentName)
      text.append("=")
      text.append(value)
      text.append(" is not usable; taking the default")
    }
  }

  private static func warnUnknown(_ name: CString, _ length: Int) {
    Log.write(.warn, .core, source: .core) { text in
      text.append("FI_PROVIDER names a provider that is not here: ")
      name.withMemoryRebound(to: UInt8.self, capacity: length) { text.append($0, count: length) }
    }
  }
}
