import CFabric
import CPlatform
import Provider

/// Who answers a program: this library, or a native libfabric.
///
/// docs/LEVELS.md has the procedure as a chart. Objects of a native library have its own tables of functions, so that
/// nothing but the calls here ever tells the two apart.
package enum Delegation {
  // MARK: Discovery

  /// The entries for a request, as fi_getinfo(3) gives them: native hardware that works, then this library's, then other
  /// native providers. To be given back with ``InfoMemory/free(_:)``. Any thread.
  ///
  /// Throws what ``Discovery/getInfo(version:node:service:flags:hints:configuration:)`` does where the native library
  /// has no entry; with FI_POLYFILL_MODE=native what the native library's answers, and ``FabricError/noData`` without
  /// one.
  package static func getInfo(
    version: APIVersion, node: CString?, service: CString?, flags: UInt64, hints: UnsafePointer<fi_info>?
  ) throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    let configuration = Configuration.current
    if configuration.mode == .native {
      return try delegate(version: version, node: node, service: service, flags: flags, hints: hints)
    }
    guard version <= .library, isWorthAsking(hints, configuration),
      let answer = NativeQuestion.ask(version: version, node: node, service: service, flags: flags, hints: hints)
    else {
      return try Discovery.getInfo(version: version, node: node, service: service, flags: flags, hints: hints)
    }
    var list = answer.hardware
    do {
      let own = try Discovery.getInfo(version: version, node: node, service: service, flags: flags, hints: hints)
      list.append(without(namesOf: answer.hardware.head, own))
    } catch {
      if error == .noMemory || list.head == nil && answer.others.head == nil {
        answer.free()
        throw error
      }
    }
    list.append(answer.others.head)
    guard let head = list.head else { throw .noData }
    return head
  }

  /// Whether the native library is to be asked: one that nobody names is opened for hardware only.
  private static func isWorthAsking(_ hints: UnsafePointer<fi_info>?, _ configuration: Configuration) -> Bool {
    guard configuration.mode == .auto, !NativeLibrary.isAbsent, !NativeQuestion.isGivenUp else { return false }
    switch NativeNames(configuration).interest(of: hints) {
    case .none: return false
    case .named: return true
    case .hardware: break
    }
    if configuration.native != nil || configuration.namesHardware || FabricDevices.arePresent { return true }
    Standing.note(.noHardware) { $0.append("this host has no device that its providers with hardware drive") }
    return false
  }

  /// Entries of `list` under names that are not in `others`; what is left out is given back. An alias on the list of
  /// hardware is the native provider's once that works.
  private static func without(
    namesOf others: UnsafeMutablePointer<fi_info>?, _ list: UnsafeMutablePointer<fi_info>
  ) -> UnsafeMutablePointer<fi_info>? {
    var kept = InfoList()
    var next: UnsafeMutablePointer<fi_info>? = list
    while let info = next {
      next = info.pointee.next
      info.pointee.next = nil
      var other = others
      while let entry = other, strcmp(providerName(entry), providerName(info)) != 0 { other = entry.pointee.next }
      if other == nil { kept.append(info) } else { InfoMemory.free(info) }
    }
    return kept.head
  }

  private static func providerName(_ info: UnsafeMutablePointer<fi_info>) -> CString {
    CString(info.pointee.fabric_attr.pointee.prov_name)
  }

  private static func delegate(
    version: APIVersion, node: CString?, service: CString?, flags: UInt64, hints: UnsafePointer<fi_info>?
  ) throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    guard let library = NativeLibrary.shared(.current) else {
      Log.warn(
        .core, "FI_POLYFILL_MODE=native, but there is no native libfabric", source: .core, function: "fi_getinfo")
      throw .noData
    }
    var list: UnsafeMutablePointer<fi_info>?
    let code = library.calls.pointee.fi_getinfo(version.rawValue, node, service, flags, hints, &list)
    guard code == 0 else { throw FabricError(code: -code) }
    defer { library.calls.pointee.fi_freeinfo(list) }
    var copies = InfoList()
    var next = list
    while let info = next {
      next = info.pointee.next
      guard let copy = library.copy(of: info) else {
        InfoMemory.free(copies.head)
        throw .noMemory
      }
      copies.append(copy)
    }
    guard let head = copies.head else { throw .noData }
    return head
  }

  // MARK: Objects

  /// The library whose fi_fabric opens a fabric of the provider `name`; nil for this one, where there is none, and once
  /// it has hung.
  package static func library(opening name: CString) -> NativeLibrary? {
    let configuration = Configuration.current
    switch configuration.mode {
    case .udp: return nil
    case .native: return NativeLibrary.shared(configuration)
    case .auto: break
    }
    if NativeQuestion.isGivenUp { return nil }
    let names = NativeNames(configuration)
    guard names.isOwn(name) else { return NativeLibrary.shared(configuration) }
    // An alias on the list of hardware.
    guard names.isHardware(name), let library = NativeLibrary.ifOpen else { return nil }
    return trials { Trial.wasPassed(name) } ? library : nil
  }

  /// The library in whose layout `info` may be, which may be shorter than this library's: connection requests of native
  /// endpoints bring such structures. Those that were copied into this library's layout lose nothing by it, since what
  /// is not in the other's is zero.
  package static func library(laidOut info: UnsafePointer<fi_info>) -> NativeLibrary? {
    guard let library = NativeLibrary.ifOpen else { return nil }
    guard let name = CString(info.pointee.fabric_attr?.pointee.prov_name) else { return nil }
    return Configuration.current.mode != .native && NativeNames(.current).isOwn(name) ? nil : library
  }

  /// The native entry points for calls without an object that are about hardware; nil while there is none that works.
  package static var hardware: UnsafePointer<lfp_native>? {
    if let calls = everything { return calls }
    guard Configuration.current.mode == .auto, let library = NativeLibrary.ifOpen else { return nil }
    return trials { Trial.wasPassedByAny } ? library.calls : nil
  }

  /// The native entry points for all calls without an object; nil unless FI_POLYFILL_MODE=native, and where there is no
  /// native library.
  package static var everything: UnsafePointer<lfp_native>? {
    let configuration = Configuration.current
    guard configuration.mode == .native else { return nil }
    return NativeLibrary.shared(configuration)?.calls
  }

  /// Asks for what trials said; false if the library hangs.
  private static func trials(_ body: () -> Bool) -> Bool {
    guard NativeLibrary.gate.enter(unless: { NativeQuestion.isGivenUp }) else { return false }
    defer { NativeLibrary.gate.leave() }
    return body()
  }
}
