/// What `doctor` has found out about one thing.
struct Finding: Encodable, Equatable {
  /// How it is.
  enum Verdict: String, Encodable {
    /// Nothing to do.
    case ok
    /// It works, but slower or otherwise than it could.
    case warn
    /// Something does not work.
    case fail
  }

  var name: String
  var verdict: Verdict
  /// What was seen, in one line.
  var detail: String
  /// Commands that mend it.
  var remedy: [String] = []

  static func ok(_ name: String, _ detail: String) -> Finding { Finding(name: name, verdict: .ok, detail: detail) }

  static func warn(_ name: String, _ detail: String, _ remedy: String...) -> Finding {
    Finding(name: name, verdict: .warn, detail: detail, remedy: remedy)
  }

  static func fail(_ name: String, _ detail: String, _ remedy: String...) -> Finding {
    Finding(name: name, verdict: .fail, detail: detail, remedy: remedy)
  }
}

/// All that `doctor` prints.
struct Diagnosis: Encodable {
  var findings: [Finding]

  /// Whether there is nothing to mend.
  var isHealthy: Bool { findings.allSatisfy { $0.verdict == .ok } }

  var lines: [String] {
    let width = findings.map(\.name.count).max() ?? 0
    var lines = findings.flatMap { finding in
      let name = finding.name + String(repeating: " ", count: width - finding.name.count)
      let verdict = finding.verdict.rawValue + (finding.verdict == .ok ? "  " : "")
      let indent = String(repeating: " ", count: 6)
      return ["\(verdict)  \(name)  \(finding.detail)"] + finding.remedy.map { "\(indent)  $ \($0)" }
    }
    let counts = [Finding.Verdict.ok, .warn, .fail].map { verdict in
      "\(findings.count { $0.verdict == verdict }) \(verdict.rawValue)"
    }
    lines.append(counts.joined(separator: ", "))
    return lines
  }

  private enum CodingKeys: String, CodingKey {
    case findings, isHealthy
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(findings, forKey: .findings)
    try container.encode(isHealthy, forKey: .isHealthy)
  }
}
