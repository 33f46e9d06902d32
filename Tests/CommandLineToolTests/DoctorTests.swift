import Testing

@testable import CommandLineTool

@Suite struct DoctorTests {
  /// A host with nothing to mend.
  private var healthy: HostFacts {
    var facts = HostFacts()
    facts.kernel = "6.12"
    facts.receiveBuffer = .init(wanted: 4 << 20, granted: 4 << 20, limit: 4 << 20)
    facts.sendBuffer = facts.receiveBuffer
    (facts.segments, facts.merges) = (true, true)
    facts.interfaces = [
      .init(name: "lo", mtu: 65_536, isLoopback: true), .init(name: "eth0", mtu: 1_500, isLoopback: false),
    ]
    (facts.openFiles, facts.openFilesLimit) = (1_024, 4_096)
    facts.udpMemory = 1 << 30
    facts.ports = 32_768...60_999
    facts.pipePages = 16_384
    return facts
  }

  /// The findings that are not ok after a change.
  private func findings(_ change: (inout HostFacts) -> Void) -> [Finding] {
    var facts = healthy
    change(&facts)
    return HostChecks(facts: facts).findings.filter { $0.verdict != .ok }
  }

  @Test func aHealthyHostHasNothingToMend() {
    #expect(findings { _ in }.isEmpty)
    // What cannot be read is not judged.
    #expect(
      findings {
        ($0.udpMemory, $0.ports, $0.pipePages) = (nil, nil, nil)
        $0.receiveBuffer.limit = nil
        $0.interfaces[1].mtu = nil
      }.isEmpty)
  }

  @Test func eachLackIsNamedWithItsRemedy() throws {
    let small = findings { $0.receiveBuffer = .init(wanted: 4 << 20, granted: 212_992, limit: 212_992) }
    #expect(small.map(\.name) == ["receive buffer"] && small[0].verdict == .warn)
    #expect(small[0].remedy[0] == "sudo sysctl -w net.core.rmem_max=4194304" && small[0].detail.contains("208 KiB"))
    #expect(findings { $0.sendBuffer.granted = 1 }[0].remedy[0].contains("net.core.wmem_max"))
    #expect(findings { ($0.segments, $0.merges) = (false, false) }.map(\.name) == ["GSO", "GRO"])
    let narrow = findings { $0.interfaces[1].mtu = 576 }
    #expect(narrow.first?.remedy == ["sudo ip link set dev eth0 mtu 1280"])
    #expect(findings { $0.interfaces[0].mtu = 1_500 }.first?.remedy == ["sudo ip link set dev lo mtu 65536"])
    #expect(findings { $0.interfaces = [] }.first?.verdict == .fail)
    #expect(findings { $0.openFiles = 64 }.first?.remedy == ["ulimit -n 1024"])
    #expect(findings { ($0.openFiles, $0.openFilesLimit) = (64, 64) }.first?.remedy[0].contains("prlimit") == true)
    #expect(findings { $0.udpMemory = 1 << 20 }.first?.remedy[0].contains("net.ipv4.udp_mem='4096 6144 8192'") == true)
    #expect(findings { $0.ports = 40_000...40_001 }.first?.name == "ports")
    #expect(findings { $0.pipePages = 100 }.first?.name == "pipes")
  }

  @Test func privilegesAreToldFromLimits() {
    var facts = healthy
    facts.receiveBuffer.limit = 212_992
    let finding = HostChecks(facts: facts).findings[0]
    #expect(finding.verdict == .ok && finding.detail.contains("privileges"))
  }

  /// The findings about an environment that are not ok.
  private func environment(
    _ variables: [String: String], complaints: [String] = [], providers: [String] = ["polyfill"],
    native: String = "off"
  ) -> [Finding] {
    EnvironmentChecks(
      environment: variables,
      knownNames: ["FI_PROVIDER", "FI_POLYFILL_GSO", "FI_POLYFILL_MTU", "FI_POLYFILL_PORTABLE"], complaints: complaints,
      providers: providers,
      status: LibraryStatus(level: "udp", mode: "auto", reason: "why", native: .init(state: native))
    ).findings.filter { $0.verdict != .ok }
  }

  @Test func anEnvironmentIsReadAsTheLibraryReadsIt() {
    #expect(environment(["FI_POLYFILL_GSO": "1", "HOME": "/"]).isEmpty)
    let off = environment(["FI_POLYFILL_GSO": "Off", "FI_POLYFILL_PORTABLE": "yes"])
    #expect(off.map(\.name) == ["FI_POLYFILL_GSO", "FI_POLYFILL_PORTABLE"])
    #expect(environment(["FI_POLYFILL_GS0": "1"]).map(\.name) == ["FI_POLYFILL_GS0"])
    let complaint = environment([:], complaints: ["FI_POLYFILL_MTU=x is not usable; taking the default", "other"])
    #expect(complaint.map(\.name) == ["FI_POLYFILL_MTU", "log"] && complaint[0].remedy == ["unset FI_POLYFILL_MTU"])
    #expect(environment([:], native: "failed").map(\.name) == ["level"])
  }

  @Test func whatHidesTheLibraryIsNamed() {
    let hidden = environment(["FI_PROVIDER": "efa"], providers: [])
    #expect(hidden.map(\.verdict) == [.fail] && hidden[0].remedy == ["unset FI_PROVIDER"])
    #expect(environment(["FI_POLYFILL_MODE": "udp"], providers: []).first?.remedy == ["ip link"])
    #expect(environment(["FI_POLYFILL_MODE": "native"], providers: []).last?.remedy == ["unset FI_POLYFILL_MODE"])
  }

  @Test func theClosedWayIsTold() {
    func finding(_ there: UInt64, _ here: UInt64, _ range: String? = nil, _ firewall: String = "ufw") -> Finding {
      let outcome = PathTrial.Outcome(failure: "silence", arrivedThere: there, arrivedHere: here)
      return outcome.findings(host: "h", ports: range, firewalls: [firewall])[0]
    }
    #expect(finding(0, 0).detail.hasPrefix("UDP from here does not reach h"))
    #expect(finding(3, 0).detail.hasPrefix("UDP from h does not come back"))
    #expect(finding(3, 3).detail.contains("silence"))
    #expect(finding(0, 0).remedy.count == 2 && finding(0, 0).remedy[1].contains("FI_POLYFILL_PORT_RANGE"))
    #expect(finding(0, 0, "5000-5009").remedy == ["sudo ufw allow 5000:5009/udp  # on h"])
    #expect(finding(3, 0, "5000-5009", "iptables").remedy[0].contains("--dport 5000:5009 -j ACCEPT  # here"))
    #expect(finding(0, 0, "7", "nft").remedy[0].contains("udp dport 7 accept"))
    #expect(finding(0, 0, "7", "firewall-cmd").remedy[0].contains("--add-port=7/udp"))
  }

  @Test func thePathIsComparedWithTheInterface() {
    func verdict(_ payload: Int, _ mtu: Int?, isIPv6: Bool = false) -> [Finding.Verdict] {
      PathTrial.Outcome(halfRoundTrip: 5, payload: payload, isIPv6: isIPv6, interfaceMTU: mtu)
        .findings(host: "h", ports: nil, firewalls: []).map(\.verdict)
    }
    #expect(verdict(1_472, 1_500) == [.ok, .ok] && verdict(1_452, 1_500, isIPv6: true) == [.ok, .ok])
    #expect(verdict(1_472, 9_000) == [.ok, .warn] && verdict(1_472, nil) == [.ok, .ok])
    #expect(verdict(0, 1_500) == [.ok])
  }

  @Test func aDiagnosisCounts() {
    let diagnosis = Diagnosis(findings: [.ok("a", "fine"), .warn("long", "so so", "do this")])
    #expect(!diagnosis.isHealthy && Diagnosis(findings: [.ok("a", "fine")]).isHealthy)
    #expect(
      diagnosis.lines == ["ok    a     fine", "warn  long  so so", "        $ do this", "1 ok, 1 warn, 0 fail"])
  }
}
