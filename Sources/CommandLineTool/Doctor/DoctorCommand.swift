#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif
import ArgumentParser
import Fabric
import Glibc

/// Finds what is in the library's way.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Checks this host, its environment and the way to a peer, and says what to change.",
    discussion: """
      Each check is ok, warn (it works, but could be better) or fail, with the commands that mend it. Ends with 0 if all \
      are ok, with 1 if not. With HOST messages are exchanged with `fabric-polyfill doctor --listen`, or `bench`, there.

      EXAMPLES:
        fabric-polyfill doctor
        fabric-polyfill doctor --listen            on one host
        fabric-polyfill doctor node7               on the other
      """)

  @Argument(help: "The peer to exchange messages with.")
  var host: String?

  @Flag(help: "Answers the doctor, or bench, of other hosts instead, until stopped.")
  var listen = false

  @Option(help: "The TCP port of the peer.")
  var port: UInt16 = ControlSocket.standardPort

  @Option(help: "With --listen: the address to listen at; all when not given.")
  var bind: String?

  @Flag(help: "With --listen: ends after one client.")
  var once = false

  @Flag(help: "Prints JSON.")
  var json = false

  func validate() throws {
    if listen && (host != nil || json) { throw ValidationError("--listen goes without HOST and --json") }
    if !listen && (once || bind != nil) { throw ValidationError("--once and --bind go with --listen") }
  }

  func run() throws {
    if listen {
      let server = try PeerServer(host: bind, port: port)
      Output.note("waiting for clients at TCP port \(port)")
      try server.serve(once: once)
      return
    }
    let diagnosis = Diagnosis(findings: findings())
    if json {
      try Output.json(diagnosis)
    } else {
      diagnosis.lines.forEach { print($0) }
    }
    if !diagnosis.isHealthy { throw ExitCode.failure }
  }

  private func findings() -> [Finding] {
    let environment = ProcessInfo.processInfo.environment
    let providers = DoctorCommand.providers()
    let facts = HostFacts.gather(wanted: DoctorCommand.socketBuffer(environment))
    let checks = EnvironmentChecks(
      environment: environment, knownNames: LibraryVariables.names,
      complaints: LibraryVariables.complaints, providers: providers, status: LibraryStatus.current)
    var findings = checks.findings + HostChecks(facts: facts).findings + [DoctorCommand.installedLibrary]
    if providers.contains("polyfill") { findings += DoctorCommand.loopback() }
    if let host { findings += path(to: host, facts, environment) }
    return findings
  }

  private func path(to host: String, _ facts: HostFacts, _ environment: [String: String]) -> [Finding] {
    do {
      let trial = try PathTrial(host: host, port: port)
      return try trial.run(facts).findings(
        host: host, ports: environment["FI_POLYFILL_PORT_RANGE"], firewalls: facts.firewalls)
    } catch {
      return [.fail("peer", "\(error)", "fabric-polyfill doctor --listen --port \(port)  # on \(host)")]
    }
  }

  private static func loopback() -> [Finding] {
    do {
      return try LoopbackTrial.run().findings
    } catch {
      return [.fail("loopback", "\(error)", "sudo ip link set lo up")]
    }
  }

  /// The providers of all entries, each once.
  private static func providers() -> [String] {
    var names: [String] = []
    for info in (try? Info.discover(Hints(capabilities: [.messages]))) ?? [] where !names.contains(info.providerName) {
      names.append(info.providerName)
    }
    return names
  }

  /// The socket buffer that the library asks for.
  private static func socketBuffer(_ environment: [String: String]) -> Int {
    let standard = 4 << 20
    guard let text = environment["FI_POLYFILL_SOCKET_BUFFER"], let value = Int(text) else { return standard }
    return (0...Int(Int32.max) / 2).contains(value) ? value : standard
  }

  /// What the loader finds by libfabric's name without help. It need not be there.
  private static var installedLibrary: Finding {
    let directories = [
      "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
      "/opt/amazon/efa/lib64", "/opt/amazon/efa/lib",
    ]
    let found = directories.map { $0 + "/libfabric.so.1" }.first { access($0, R_OK) == 0 }
    let missing = "none is installed; with LD_PRELOAD alone the loader wants one"
    return .ok("libfabric.so.1", found.map { "installed: \($0)" } ?? missing)
  }
}
