import CFabric
import CPlatform

/// A name under which the UDP provider appears: its own, or that of an upstream provider which a program asked for.
package enum ProviderName: CaseIterable, Equatable {
  case polyfill, udp, udpRxd, tcp, tcpRxm, sockets

  /// The name as programs see it.
  package var text: StaticString {
    switch self {
    case .polyfill: "polyfill"
    case .udp: "udp"
    case .udpRxd: "udp;ofi_rxd"
    case .tcp: "tcp"
    case .tcpRxm: "tcp;ofi_rxm"
    case .sockets: "sockets"
    }
  }

  /// The provider version under this name; upstream numbers its own after the library.
  package var version: APIVersion {
    self == .polyfill
      ? Capabilities.providerVersion : APIVersion(APIVersion.library.major * 100 + APIVersion.library.minor, 0)
  }

  /// The names that a fi_getinfo answers with, in order. None means that the request is for other providers.
  ///
  /// - `hint`: fabric_attr.prov_name. One name, or the two of a layered provider in any order, then exclusions with ^.
  ///   A utility provider's name alone stands for its usual stack.
  /// - `filter`: FI_PROVIDER. What it lists decides where the program leaves the choice; it never brings back what the
  ///   program ruled out. The polyfill's own name covers all aliases.
  package static func select(hint: CString?, filter: NameFilter, aliases: Bool) -> [ProviderName] {
    let request = Request(hint)
    var names: [ProviderName] = []
    func add(_ name: ProviderName) {
      if (name == .polyfill || aliases) && !names.contains(name) && !request.excludes(name) && name.passes(filter) {
        names.append(name)
      }
    }
    if request.count > 0 {
      if let name = request.name { add(name) }
    } else if filter.names != nil && !filter.isNegated {
      filter.forEachName { part, length in
        if let name = ProviderName(part, length) { add(name) }
        return true
      }
    } else {
      add(.polyfill)
    }
    return names
  }

  /// The provider that fi_fabric opens for `name`: the last component decides, and the others must be known here, too;
  /// with `verbs;ofi_rxm` another library's provider is meant. FI_PROVIDER has no say here.
  package init?(opening name: CString, aliases: Bool) {
    var last: ProviderName?
    CText.forEachPart(of: name, separator: Self.separator) { part, length in
      last = ProviderName(part, length) ?? ProviderName(utility: part, length)
      return last != nil
    }
    guard let last, last == .polyfill || aliases else { return nil }
    self = last
  }

  /// Whose provider a name in hints means.
  package enum Owner {
    /// This library's.
    case own
    /// Another library's.
    case other
    /// Nobody's in particular: no name, or a utility provider's alone, which goes over whatever there is.
    case any
  }

  /// Whose provider `hint` means; a name with exclusions alone is no name.
  package static func owner(hint: CString?, aliases: Bool) -> Owner {
    guard let hint, Request(hint).count > 0, ProviderName(utility: hint, strlen(hint)) == nil else { return .any }
    guard let name = Request(hint).name, name == .polyfill || aliases else { return .other }
    return .own
  }

  /// Whether a name in FI_PROVIDER means a provider of this library.
  package static func isMeant(by name: CString, _ length: Int, aliases: Bool) -> Bool {
    guard let name = ProviderName(name, length) else { return false }
    return name == .polyfill || aliases
  }

  /// Whether one of a name's components is on a list.
  package static func isOn(_ list: NameFilter, _ name: CString) -> Bool {
    var found = false
    CText.forEachPart(of: name, separator: Self.separator) { part, length in
      found = list.lists(part, length)
      return !found
    }
    return found != list.isNegated
  }

  /// Whether `length` bytes at `name` name this provider, an alias of it, or a utility provider of an alias.
  package static func isKnown(_ name: CString, _ length: Int) -> Bool {
    ProviderName(name, length) != nil || ProviderName(utility: name, length) != nil || length == 0
  }

  // MARK: Parsing

  /// The provider with exactly this name, without regard to case.
  private init?(_ name: CString, _ length: Int) {
    for candidate in Self.allCases where CText.equal(name, count: length, candidate.text) {
      self = candidate
      return
    }
    return nil
  }

  /// The stack that is meant by its utility provider alone.
  private init?(utility name: CString, _ length: Int) {
    if CText.equal(name, count: length, "ofi_rxm") {
      self = .tcpRxm
    } else if CText.equal(name, count: length, "ofi_rxd") {
      self = .udpRxd
    } else {
      return nil
    }
  }

  /// The components of a layered name.
  private var components: (core: StaticString, utility: StaticString?) {
    switch self {
    case .udpRxd: ("udp", "ofi_rxd")
    case .tcpRxm: ("tcp", "ofi_rxm")
    default: (text, nil)
    }
  }

  private func passes(_ filter: NameFilter) -> Bool {
    guard filter.names != nil else { return true }
    let parts = components
    let listed = filter.lists(text) || filter.lists(parts.core) || filter.lists(ProviderName.polyfill.text)
    if !filter.isNegated { return listed }
    return !listed && !(parts.utility.map { filter.lists($0) } ?? false)
  }

  private static let separator = UInt8(ascii: ";")

  /// A provider name in hints, taken apart.
  private struct Request {
    let text: CString?
    /// Components before the exclusions.
    private(set) var count = 0
    /// The provider that they mean, if it is one of ours.
    private(set) var name: ProviderName?

    init(_ text: CString?) {
      self.text = text
      guard let text else { return }
      var components: [(CString, Int)] = []
      CText.forEachPart(of: text, separator: ProviderName.separator) { part, length in
        components.append((part, length))
        return true
      }
      while let last = components.last, last.0.pointee == ProviderName.exclusionMark { components.removeLast() }
      count = components.count
      if count == 1 {
        name = ProviderName(components[0].0, components[0].1) ?? ProviderName(utility: components[0].0, components[0].1)
      } else if count == 2 {
        name = pair(components[0], components[1]) ?? pair(components[1], components[0])
      }
    }

    func excludes(_ name: ProviderName) -> Bool {
      guard let text else { return false }
      let parts = name.components
      var excluded = false
      CText.forEachPart(of: text, separator: ProviderName.separator) { part, length in
        guard part.pointee == ProviderName.exclusionMark else { return true }
        excluded =
          excluded || CText.equal(part + 1, count: length - 1, parts.core)
          || (parts.utility.map { CText.equal(part + 1, count: length - 1, $0) } ?? false)
        return true
      }
      return excluded
    }

    private func pair(_ core: (CString, Int), _ utility: (CString, Int)) -> ProviderName? {
      for candidate in ProviderName.allCases {
        let parts = candidate.components
        if let second = parts.utility, CText.equal(core.0, count: core.1, parts.core),
          CText.equal(utility.0, count: utility.1, second)
        {
          return candidate
        }
      }
      return nil
    }
  }

  private static var exclusionMark: CChar { CChar(UInt8(ascii: "^")) }
}
