/// What the environment does to the library, and what is wrong with it.
struct EnvironmentChecks {
  /// Variables that are set, by name.
  let environment: [String: String]
  /// Names that the library knows.
  let knownNames: Set<String>
  /// What the library has to say about their values.
  let complaints: [String]
  /// Providers that are offered.
  let providers: [String]
  let status: LibraryStatus

  var findings: [Finding] { [library, offers] + misspelled + complained + switchedOff }

  private var library: Finding {
    let detail = "\(status.level): \(status.reason)"
    switch status.native.state {
    case "failed", "unusable":
      return .warn("level", detail, "FI_LOG_LEVEL=info fi_info", "export FI_POLYFILL_MODE=udp")
    default: return .ok("level", detail)
    }
  }

  /// Somebody has to carry the messages.
  private var offers: Finding {
    let name = "offers"
    guard providers.isEmpty else { return .ok(name, providers.joined(separator: ", ")) }
    // These leave out what is not named.
    for variable in ["FI_PROVIDER", "FI_POLYFILL_IFACE", "FI_POLYFILL_MODE"] {
      guard let value = environment[variable], variable != "FI_POLYFILL_MODE" || value == "native" else { continue }
      return .fail(name, "nothing is offered, with \(variable)=\(value)", "unset \(variable)")
    }
    return .fail(name, "nothing is offered: no interface is up", "ip link")
  }

  /// Variables of ours that nobody reads.
  private var misspelled: [Finding] {
    environment.keys.filter { $0.hasPrefix("FI_POLYFILL_") && !knownNames.contains($0) }.sorted().map {
      .warn($0, "no variable of the library's has this name", "unset \($0)")
    }
  }

  /// What the library says of values, which begins with the variable's name.
  private var complained: [Finding] {
    complaints.map { line in
      let name = String(line.prefix { $0 == "_" || $0.isUppercase })
      guard knownNames.contains(name) else { return .warn("log", line) }
      return .warn(name, line, "unset \(name)")
    }
  }

  /// What makes messages slower on purpose.
  private var switchedOff: [Finding] {
    let off = ["FI_POLYFILL_GSO", "FI_POLYFILL_GRO", "FI_POLYFILL_CONNECT", "FI_POLYFILL_SPLICE"].filter(isOff)
    let slow = off + ["FI_POLYFILL_PORTABLE"].filter(isOn)
    return slow.map { .warn($0, "\(environment[$0] ?? "") makes messages slower", "unset \($0)") }
  }

  private func isOff(_ name: String) -> Bool {
    environment[name].map { ["0", "false", "no", "off"].contains($0.lowercased()) } ?? false
  }

  private func isOn(_ name: String) -> Bool {
    environment[name].map { ["1", "true", "yes", "on"].contains($0.lowercased()) } ?? false
  }
}
