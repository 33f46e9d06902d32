import CFabric
import CPlatform
import Provider

/// Which providers' names are native ones, and which requests concern them.
struct NativeNames {
  private let configuration: Configuration

  init(_ configuration: Configuration) { self.configuration = configuration }

  /// Whether a provider is on the list of those with hardware, by any of its components.
  func isHardware(_ name: CString) -> Bool { ProviderName.isOn(configuration.hardware, name) }

  /// Whether a provider's name is this library's.
  func isOwn(_ name: CString) -> Bool {
    ProviderName(opening: name, aliases: configuration.answersAliases) != nil
  }

  /// What a request wants of the native library.
  enum Interest {
    /// Nothing: it is for this library's providers alone.
    case none
    /// Its hardware, if there is any.
    case hardware
    /// A provider that it names.
    case named
  }

  /// What a request with these hints wants. FI_PROVIDER decides where the hints do not.
  func interest(of hints: UnsafePointer<fi_info>?) -> Interest {
    if let hints, isWithinOwnObject(hints) { return .none }
    let hint = CString(hints?.pointee.fabric_attr?.pointee.prov_name)
    switch ProviderName.owner(hint: hint, aliases: configuration.answersAliases) {
    case .own: return hint.map(isHardware) ?? false ? .named : .none
    case .other: return .named
    case .any: break
    }
    let filter = configuration.providerFilter
    guard filter.names != nil, !filter.isNegated else { return .hardware }
    var interest = Interest.none
    filter.forEachName { name, length in
      let isOwn = ProviderName.isMeant(by: name, length, aliases: configuration.answersAliases)
      if length > 0 && !isOwn || configuration.hardware.lists(name, length) { interest = .named }
      return interest == .none
    }
    return interest
  }

  /// Hints may ask for what an open fabric or domain has.
  private func isWithinOwnObject(_ hints: UnsafePointer<fi_info>) -> Bool {
    if let fabric = hints.pointee.fabric_attr?.pointee.fabric, OpenInstances.contains(fabric) { return true }
    guard let domain = hints.pointee.domain_attr?.pointee.domain else { return false }
    return OpenInstances.contains(domain)
  }
}
