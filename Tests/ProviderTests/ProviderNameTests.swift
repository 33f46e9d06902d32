import CPlatform
import Testing

@testable import Provider

@Suite struct ProviderNameTests {
  /// What a program hints, what FI_PROVIDER says, whether aliases are on, and the names that answer.
  struct Case: CustomTestStringConvertible {
    let hint: String?
    let variable: String?
    var aliases = true
    let names: [ProviderName]

    var testDescription: String { "hint \(hint ?? "-"), FI_PROVIDER=\(variable ?? "-"), aliases \(aliases)" }
  }

  @Test(arguments: [
    // The program leaves the choice.
    Case(hint: nil, variable: nil, names: [.polyfill]),
    Case(hint: nil, variable: "", names: []),
    Case(hint: nil, variable: "^", names: [.polyfill]),
    Case(hint: nil, variable: "polyfill", names: [.polyfill]),
    Case(hint: nil, variable: "PolyFill", names: [.polyfill]),
    Case(hint: nil, variable: " polyfill", names: []),
    Case(hint: nil, variable: "polyfill,", names: [.polyfill]),
    Case(hint: nil, variable: "verbs", names: []),
    Case(hint: nil, variable: "verbs,tcp", names: [.tcp]),
    Case(hint: nil, variable: "tcp,polyfill,tcp", names: [.tcp, .polyfill]),
    Case(hint: nil, variable: "udp,udp;ofi_rxd,sockets", names: [.udp, .udpRxd, .sockets]),
    Case(hint: nil, variable: "tcp;ofi_rxm", names: [.tcpRxm]),
    Case(hint: nil, variable: "ofi_rxm", names: []),
    Case(hint: nil, variable: "^polyfill", names: []),
    Case(hint: nil, variable: "^tcp", names: [.polyfill]),
    Case(hint: nil, variable: "^verbs,polyfill", names: []),
    // The program names a provider.
    Case(hint: "polyfill", variable: nil, names: [.polyfill]),
    Case(hint: "POLYFILL", variable: nil, names: [.polyfill]),
    Case(hint: "polyfil", variable: nil, names: []),
    Case(hint: "", variable: nil, names: []),
    Case(hint: "verbs", variable: nil, names: []),
    Case(hint: "tcp", variable: nil, names: [.tcp]),
    Case(hint: "udp", variable: nil, names: [.udp]),
    Case(hint: "sockets", variable: nil, names: [.sockets]),
    Case(hint: "tcp;ofi_rxm", variable: nil, names: [.tcpRxm]),
    Case(hint: "ofi_rxm;tcp", variable: nil, names: [.tcpRxm]),
    Case(hint: "udp;ofi_rxd", variable: nil, names: [.udpRxd]),
    Case(hint: "ofi_rxd", variable: nil, names: [.udpRxd]),
    Case(hint: "OFI_RXM", variable: nil, names: [.tcpRxm]),
    Case(hint: "udp;ofi_rxm", variable: nil, names: []),
    Case(hint: "tcp;tcp", variable: nil, names: []),
    Case(hint: "tcp;ofi_rxm;ofi_mrail", variable: nil, names: []),
    Case(hint: "polyfill;ofi_rxm", variable: nil, names: []),
    // Exclusions stand at the end.
    Case(hint: "^ofi_rxm", variable: nil, names: [.polyfill]),
    Case(hint: "^polyfill", variable: nil, names: []),
    Case(hint: "tcp;^ofi_rxm", variable: nil, names: [.tcp]),
    Case(hint: "tcp;ofi_rxm;^ofi_rxm", variable: nil, names: []),
    // Both: the variable only takes away.
    Case(hint: "tcp", variable: "tcp", names: [.tcp]),
    Case(hint: "tcp;ofi_rxm", variable: "tcp", names: [.tcpRxm]),
    Case(hint: "tcp", variable: "tcp;ofi_rxm", names: []),
    Case(hint: "tcp", variable: "udp", names: []),
    Case(hint: "tcp", variable: "polyfill", names: [.tcp]),
    Case(hint: "polyfill", variable: "tcp", names: []),
    Case(hint: "tcp", variable: "^tcp", names: []),
    Case(hint: "tcp;ofi_rxm", variable: "^tcp", names: []),
    Case(hint: "tcp;ofi_rxm", variable: "^ofi_rxm", names: []),
    Case(hint: "tcp", variable: "^ofi_rxm", names: [.tcp]),
    Case(hint: "tcp", variable: "^tcp;ofi_rxm", names: [.tcp]),
    Case(hint: "tcp", variable: "^polyfill", names: []),
    // Without aliases.
    Case(hint: nil, variable: nil, aliases: false, names: [.polyfill]),
    Case(hint: "polyfill", variable: nil, aliases: false, names: [.polyfill]),
    Case(hint: "tcp", variable: nil, aliases: false, names: []),
    Case(hint: nil, variable: "tcp", aliases: false, names: []),
    Case(hint: nil, variable: "tcp,polyfill", aliases: false, names: [.polyfill]),
  ])
  func select(_ test: Case) {
    withText(test.hint) { hint in
      withText(test.variable) { variable in
        let names = ProviderName.select(hint: hint, filter: NameFilter(variable), aliases: test.aliases)
        #expect(names == test.names)
      }
    }
  }

  @Test(arguments: [
    ("polyfill", ProviderName.polyfill), ("tcp", .tcp), ("tcp;ofi_rxm", .tcpRxm), ("ofi_rxm", .tcpRxm),
    ("udp;ofi_rxd", .udpRxd), ("sockets", .sockets), ("UDP", .udp), ("verbs", nil), ("", nil), ("tcp;", nil),
    ("tcp;verbs", nil), ("verbs;ofi_rxm", nil), ("ofi_rxm;tcp", .tcp),
  ])
  func opening(name: String, expected: ProviderName?) {
    #expect(withText(name) { ProviderName(opening: $0!, aliases: true) } == expected)
    let own = expected == .polyfill ? expected : nil
    #expect(withText(name) { ProviderName(opening: $0!, aliases: false) } == own)
  }

  @Test func everyAliasHasItsUpstreamProtocol() {
    let protocols = ProviderName.allCases.map { EndpointType.rdm.endpointProtocol(as: $0).number }
    #expect(protocols == [0x8050_4C46, 5, 12, 25, 11, 6])
    let versions = ProviderName.allCases.map { EndpointType.rdm.endpointProtocol(as: $0).version }
    #expect(versions == [1, 0, 1, 1, 1, 2])
  }

  @Test func filterListsNamesWithoutCaseAndWithBlanks() {
    withText("core,CQ, mr") { text in
      let filter = NameFilter(text)
      #expect(filter.lists("cq") && filter.lists(" mr") && !filter.lists("mr") && !filter.lists("c"))
      #expect(!filter.excludes("core") && filter.excludes("mr"))
    }
    #expect(!NameFilter(nil).excludes("core"))
  }
}

/// Calls `body` with a C string of `text`, or with nil.
func withText<Result>(_ text: String?, _ body: (CString?) -> Result) -> Result {
  guard let text else { return body(nil) }
  return text.withCString { body($0) }
}
