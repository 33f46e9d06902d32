import CFabric
import CPlatform
import Datagram

/// What the value of a parameter means.
///
/// Man page: fi_provider(3), enum fi_param_type
package enum ParameterKind: UInt32 {
  case string, integer, boolean, size
}

/// The variables that programs and providers have declared, with the library's own first.
///
/// Every function may be called from any thread. Entries are never removed: pointers to their texts stay valid.
///
/// Man page: fi_provider(3); shared rules for names are FI_<NAME> for the core, FI_<PROVIDER>_<NAME> otherwise.
package enum Parameters {
  /// Declares a variable. An earlier declaration of the same name stays and is found first.
  ///
  /// Throws ``FabricError/invalidArgument`` for a missing name or help text or an unknown kind; or
  /// ``FabricError/noMemory``.
  package static func define(
    provider: UnsafePointer<fi_provider>?, name: CString?, kind: UInt32, help: CString?
  ) throws(FabricError) {
    guard let name, let help, let kind = ParameterKind(rawValue: kind) else { throw .invalidArgument }
    let owner = ProviderRecord.normalized(provider)
    let prefix = owner == UnsafePointer(ProviderRecord.core) ? nil : owner.pointee.name
    guard let entry = Entry.make(owner: owner, prefix: prefix, name: name, kind: kind, help: help) else {
      throw .noMemory
    }
    ensureLibraryVariables()
    lock.withLock { append(entry) }
  }

  /// The kind and the present value of a declared variable.
  ///
  /// Throws ``FabricError/noEntry`` if nobody declared it, ``FabricError/noData`` if it is not set.
  package static func value(
    provider: UnsafePointer<fi_provider>?, name: CString
  ) throws(FabricError) -> (kind: ParameterKind, text: CString) {
    ensureLibraryVariables()
    let owner = ProviderRecord.normalized(provider)
    let found = lock.withLock { () -> UnsafeMutablePointer<Entry>? in
      var entry = head
      while let current = entry, current.pointee.owner != owner || strcmp(current.pointee.name, name) != 0 {
        entry = current.pointee.next
      }
      return entry
    }
    guard let found else { throw .noEntry }
    guard let text = getenv(found.pointee.environmentName) else { throw .noData }
    return (found.pointee.kind, CString(text))
  }

  /// All declared variables as a C array of `count` entries and a zeroed one, in order of declaration. The caller gives
  /// it back with ``free(_:)``. Throws ``FabricError/noMemory``.
  package static func list() throws(FabricError) -> (first: UnsafeMutablePointer<fi_param>, count: Int) {
    ensureLibraryVariables()
    lock.lock()
    defer { lock.unlock() }
    guard let memory = calloc(count + 1, MemoryLayout<fi_param>.stride) else { throw .noMemory }
    let first = memory.bindMemory(to: fi_param.self, capacity: count + 1)
    var entry = head
    var index = 0
    while let current = entry {
      guard let name = strdup(current.pointee.environmentName), let help = strdup(current.pointee.help) else {
        free(first)
        throw .noMemory
      }
      first[index].name = CString(name)
      first[index].help_string = CString(help)
      first[index].type = fi_param_type(rawValue: current.pointee.kind.rawValue)
      if let value = getenv(current.pointee.environmentName) { first[index].value = UnsafePointer(strdup(value)) }
      entry = current.pointee.next
      index += 1
    }
    return (first, count)
  }

  /// Gives back what ``list()`` returned; nil is allowed.
  package static func free(_ list: UnsafeMutablePointer<fi_param>?) {
    guard let list else { return }
    var index = 0
    while let name = list[index].name {
      CPlatform.free(UnsafeMutableRawPointer(mutating: name))
      CPlatform.free(UnsafeMutableRawPointer(mutating: list[index].help_string))
      CPlatform.free(UnsafeMutableRawPointer(mutating: list[index].value))
      index += 1
    }
    CPlatform.free(list)
  }

  /// A number as strtol(3) with base 0 reads it: 0x10, 010, 16; text that is no number is 0.
  package static func number(_ text: CString) -> Int { strtol(text, nil, 0) }

  /// A truth value: 0, false, no, off or 1, true, yes, on, words in any case; nil for anything else.
  package static func truth(_ text: CString) -> Bool? {
    if CText.equal(text, "0") || CText.equal(text, "false") || CText.equal(text, "no") || CText.equal(text, "off") {
      return false
    }
    if CText.equal(text, "1") || CText.equal(text, "true") || CText.equal(text, "yes") || CText.equal(text, "on") {
      return true
    }
    return nil
  }

  // MARK: Registry

  /// A declared variable; lives in C memory until the process ends.
  private struct Entry {
    let owner: UnsafePointer<fi_provider>
    let name: CString
    let environmentName: CString
    let help: CString
    let kind: ParameterKind
    var next: UnsafeMutablePointer<Entry>?

    static func make(
      owner: UnsafePointer<fi_provider>, prefix: CString?, name: CString, kind: ParameterKind, help: CString
    ) -> UnsafeMutablePointer<Entry>? {
      let prefixLength = prefix.map { strlen($0) } ?? 0
      guard
        let entry = malloc(MemoryLayout<Entry>.stride), let ownName = strdup(name),
        let environment = malloc(prefixLength + strlen(name) + 5), let text = malloc(prefixLength + strlen(help) + 3)
      else { return nil }
      var writer = TextWriter(buffer: chars(environment), capacity: prefixLength + strlen(name) + 5)
      writer.append("FI_")
      if let prefix {
        writer.append(prefix)
        writer.append("_")
      }
      writer.append(name)
      CText.upperCase(chars(environment))
      var helpWriter = TextWriter(buffer: chars(text), capacity: prefixLength + strlen(help) + 3)
      if let prefix {
        helpWriter.append(prefix)
        helpWriter.append(": ")
      }
      helpWriter.append(help)
      let bound = entry.bindMemory(to: Entry.self, capacity: 1)
      bound.initialize(
        to: Entry(
          owner: owner, name: CString(ownName), environmentName: writer.text, help: helpWriter.text, kind: kind,
          next: nil))
      return bound
    }

    private static func chars(_ memory: UnsafeMutableRawPointer) -> UnsafeMutablePointer<CChar> {
      memory.assumingMemoryBound(to: CChar.self)
    }
  }

  private static func append(_ entry: UnsafeMutablePointer<Entry>) {
    if let tail { tail.pointee.next = entry } else { head = entry }
    tail = entry
    count += 1
  }

  /// Declares the library's own variables, once, before anything else is declared or looked up.
  private static func ensureLibraryVariables() {
    lock.lock()
    defer { lock.unlock() }
    if head != nil { return }
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2 * Variable.textCapacity) { memory in
      for variable in Variable.allCases {
        let description = variable.description
        let core = description.owner == .core
        var name = TextWriter(buffer: memory.baseAddress!, capacity: Variable.textCapacity)
        variable.writeParameterName(to: &name)
        var help = TextWriter(buffer: memory.baseAddress! + Variable.textCapacity, capacity: Variable.textCapacity)
        variable.writeHelp(to: &help)
        let entry = Entry.make(
          owner: UnsafePointer(core ? ProviderRecord.core : ProviderRecord.polyfill),
          prefix: core ? nil : ProviderRecord.polyfill.pointee.name, name: name.text, kind: description.kind,
          help: help.text)
        if let entry { append(entry) }
      }
    }
  }

  private static let lock = Lock()
  private nonisolated(unsafe) static var head: UnsafeMutablePointer<Entry>?
  private nonisolated(unsafe) static var tail: UnsafeMutablePointer<Entry>?
  private nonisolated(unsafe) static var count = 0
}
