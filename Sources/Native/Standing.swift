import CPlatform
import Provider

/// What became of the native libfabric, and why: for fi_polyfill_status, and for the log.
///
/// Texts stay as long as the process. Any thread.
package struct Standing {
  /// What can become of it; what comes later says more.
  package enum Outcome: UInt8 {
    /// Nothing has asked for it yet.
    case unasked
    /// The mode does without.
    case off
    /// There is none.
    case missing
    /// It cannot be opened, or is too old.
    case unusable
    /// It has no provider with hardware here.
    case noHardware
    /// It, or all its hardware, failed on trial.
    case failed
    /// Its hardware works, or it does everything.
    case chosen
  }

  package let outcome: Outcome
  /// The provider with hardware that was chosen, or that failed.
  package let provider: CString?
  /// One line.
  package let reason: CString

  /// How it stands now.
  package static var current: Standing {
    _ = gate.enter()
    defer { gate.leave() }
    if Configuration.current.mode == .udp {
      return Standing(outcome: .off, provider: nil, reason: ("the mode is udp" as StaticString).text)
    }
    return latest
  }

  /// Notes an outcome with its reason and tells the log, unless it says less than what is known. What was chosen first
  /// stands, unless another outcome `isFinal`.
  static func note(
    _ outcome: Outcome, provider: CString? = nil, isFinal: Bool = false, _ describe: (inout TextWriter) -> Void
  ) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: reasonCapacity) { memory in
      var text = TextWriter(buffer: memory.baseAddress!, capacity: reasonCapacity)
      describe(&text)
      record(outcome, provider, isFinal, text.text)
    }
  }

  /// Not inlined: there is one of it for all the reasons that there are.
  @inline(never)
  private static func record(_ outcome: Outcome, _ provider: CString?, _ isFinal: Bool, _ text: CString) {
    _ = gate.enter()
    let standing = latest
    let isNews =
      (outcome.rawValue >= min(standing.outcome.rawValue, Outcome.failed.rawValue) || isFinal)
      && strcmp(standing.reason, text) != 0
    if isNews, standing.outcome != .chosen || isFinal, let reason = strdup(text) {
      latest = Standing(
        outcome: outcome, provider: provider.flatMap { CString(strdup($0)) }, reason: CString(reason))
    }
    gate.leave()
    guard isNews else { return }
    Log.write(.info, .core, source: .core, function: "fi_getinfo") { line in
      line.append(outcome == .chosen ? "a native libfabric is used: " : "no native libfabric is used: ")
      line.append(text)
    }
  }

  private static let gate = Gate()
  private nonisolated(unsafe) static var latest = Standing(
    outcome: .unasked, provider: nil, reason: ("no request has asked for it yet" as StaticString).text)
  private static var reasonCapacity: Int { 512 }
}
