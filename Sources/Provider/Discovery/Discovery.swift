import CFabric
import CPlatform
import Datagram

/// fi_getinfo: which entries this host's provider has for a request.
///
/// Man page: fi_getinfo(3)
package enum Discovery {
  /// The list of entries, to be given back with ``InfoMemory/free(_:)``. Any thread; may ask a name server.
  ///
  /// Throws ``FabricError/notImplemented`` for a version newer than the library, ``FabricError/noData`` if nothing
  /// matches, ``FabricError/noMemory``.
  package static func getInfo(
    version: APIVersion, node: CString?, service: CString?, flags: UInt64, hints: UnsafePointer<fi_info>?,
    configuration: Configuration = .current
  ) throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    if version > .library {
      Log.warn(.core, "the program asks for a newer interface than this library has", source: .core)
      throw .notImplemented
    }
    if flags == FI_PROV_ATTR_ONLY { return try providerOnly() }
    if flags & ~(FI_SOURCE | FI_NUMERICHOST | FI_PROV_ATTR_ONLY) != 0 {
      // Ignored, as upstream does: programs exist that pass more.
      Log.warn(.core, "unknown fi_getinfo flags are ignored", source: .core)
    }
    let names = ProviderName.select(
      hint: CString(hints?.pointee.fabric_attr?.pointee.prov_name), filter: configuration.providerFilter,
      aliases: configuration.answersAliases)
    var willing: [(name: ProviderName, type: EndpointType)] = []
    for name in names {
      var listed: fi_ep_type?
      for type in types(of: name, hints) where type.number != listed && isWilling(name, type, hints, version) {
        willing.append((name, type))
        listed = type.number
      }
    }
    guard !willing.isEmpty else { throw .noData }
    let request = try AddressRequest(
      node: node, service: service, flags: flags, hints: hints, interface: configuration.interface)
    let choices = reachable(try request.choices(), hints)
    var list = InfoList()
    do {
      for (name, type) in willing {
        let info = ProviderInfo(
          name: name, type: type, version: version, hints: hints, configuration: configuration)
        for choice in choices where info.isWanted(choice) { list.append(try info.entry(for: choice)) }
      }
    } catch {
      InfoMemory.free(list.head)
      throw error
    }
    guard let head = list.head else {
      Log.write(.info, .fabric) { $0.append("no interface has the names that the hints ask for") }
      throw .noData
    }
    return head
  }

  /// FI_PROV_ATTR_ONLY: the providers there are, usable or not. Aliases are names, not providers.
  private static func providerOnly() throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    let info = try InfoMemory.allocate()
    do {
      info.pointee.fabric_attr.pointee.prov_name = try InfoMemory.string(ProviderName.polyfill.text.text)
    } catch {
      InfoMemory.free(info)
      throw error
    }
    info.pointee.fabric_attr.pointee.prov_version = ProviderName.polyfill.version.rawValue
    return info
  }

  /// The endpoint types of a provider that hints leave in question; all of them, for a type that it has not, so that the
  /// reason is told.
  private static func types(of name: ProviderName, _ hints: UnsafePointer<fi_info>?) -> [EndpointType] {
    let offered = EndpointType.offered(as: name)
    guard let type = hints?.pointee.ep_attr?.pointee.type else { return offered }
    let wanted = offered.filter { $0.number == type }
    return wanted.isEmpty ? offered : wanted
  }

  private static func isWilling(
    _ name: ProviderName, _ type: EndpointType, _ hints: UnsafePointer<fi_info>?, _ version: APIVersion
  ) -> Bool {
    guard let hints, let obstacle = HintCheck(hints, name: name, type: type, version: version).obstacle() else {
      return true
    }
    // Whoever names the provider wants to know why it refuses; others ask every provider for what few have.
    let named = hints.pointee.fabric_attr?.pointee.prov_name != nil
    Log.write(named ? .warn : .info, .fabric) { text in
      text.append("not offered as ")
      text.append(name.text)
      text.append(": ")
      text.append(obstacle)
    }
    return false
  }

  /// Without the loopback interfaces if a program wants to reach other hosts, unless there is nothing else.
  private static func reachable(_ choices: [AddressChoice], _ hints: UnsafePointer<fi_info>?) -> [AddressChoice] {
    guard let hints, hints.pointee.caps & FI_REMOTE_COMM != 0 else { return choices }
    let others = choices.filter { !$0.interface.isLoopback }
    return others.isEmpty ? choices : others
  }
}
