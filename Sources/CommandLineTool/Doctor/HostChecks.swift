/// What there is to say about a host, from what is known of it.
struct HostChecks {
  let facts: HostFacts

  var findings: [Finding] {
    [
      buffer("receive buffer", facts.receiveBuffer, limit: "net.core.rmem_max"),
      buffer("send buffer", facts.sendBuffer, limit: "net.core.wmem_max"),
      offload("GSO", facts.segments, since: "4.18"),
      offload("GRO", facts.merges, since: "5.0"),
    ] + interfaces + [openFiles, udpMemory, ports, pipes].compactMap { $0 }
  }

  /// A small buffer loses datagrams in a burst, which have to be sent again.
  private func buffer(_ name: String, _ buffer: HostFacts.Buffer, limit: String) -> Finding {
    let seen = "\(Output.size(buffer.granted)) of \(Output.size(buffer.wanted)) that are asked for"
    if buffer.granted < buffer.wanted {
      return .warn(
        name, "\(seen); \(limit) is \(buffer.limit.map(Output.size) ?? "the host's")",
        "sudo sysctl -w \(limit)=\(buffer.wanted)",
        "echo '\(limit)=\(buffer.wanted)' | sudo tee -a /etc/sysctl.d/90-fabric-polyfill.conf")
    }
    guard let set = buffer.limit, set < buffer.wanted else { return .ok(name, seen) }
    return .ok(name, "\(seen), by this user's privileges: \(limit) is \(Output.size(set))")
  }

  private func offload(_ name: String, _ works: Bool, since version: String) -> Finding {
    works
      ? .ok(name, "the kernel has it (\(facts.kernel))")
      : .warn(name, "kernel \(facts.kernel) refuses it; Linux has it since \(version)", "uname -r")
  }

  private var interfaces: [Finding] {
    guard !facts.interfaces.isEmpty else {
      return [.fail("interfaces", "no network interface is up", "sudo ip link set lo up")]
    }
    return facts.interfaces.map { interface in
      let name = "MTU of \(interface.name)"
      guard let mtu = interface.mtu else { return .ok(name, "unknown") }
      let least = interface.isLoopback ? HostChecks.loopbackMTU : HostChecks.leastMTU
      if mtu >= least { return .ok(name, "\(mtu) bytes") }
      return .warn(
        name, "\(mtu) bytes, where \(least) are usual", "sudo ip link set dev \(interface.name) mtu \(least)")
    }
  }

  private var openFiles: Finding {
    let name = "open files"
    if facts.openFiles >= HostChecks.usualFiles { return .ok(name, "\(facts.openFiles)") }
    let detail = "\(facts.openFiles); an endpoint takes up to \(HostChecks.filesPerEndpoint)"
    if facts.openFilesLimit >= HostChecks.usualFiles {
      return .warn(name, detail, "ulimit -n \(HostChecks.usualFiles)")
    }
    return .warn(
      name, "\(detail), and the limit is \(facts.openFilesLimit)",
      "sudo prlimit --pid $$ --nofile=\(HostChecks.usualFiles)")
  }

  /// All sockets together must have room for more than a few buffers.
  private var udpMemory: Finding? {
    guard let memory = facts.udpMemory else { return nil }
    let wanted = HostChecks.buffersInMemory * facts.receiveBuffer.wanted
    if memory >= wanted { return .ok("UDP memory", "\(memory >> 20) MiB for all sockets") }
    // Pages of 4 KiB, the least there is: with larger ones it is more.
    let pages = (wanted + 4095) / 4096
    return .warn(
      "UDP memory", "\(memory >> 20) MiB for all sockets: room for \(HostChecks.buffersInMemory) needs more",
      "sudo sysctl -w net.ipv4.udp_mem='\(pages / 2) \(pages * 3 / 4) \(pages)'")
  }

  private var ports: Finding? {
    guard let ports = facts.ports else { return nil }
    if ports.count >= HostChecks.fewPorts { return .ok("ports", "\(ports.lowerBound) to \(ports.upperBound)") }
    return .warn(
      "ports", "\(ports.count) for all that need one",
      "sudo sysctl -w net.ipv4.ip_local_port_range='32768 60999'")
  }

  /// A user beyond the limit gets smaller pipes, which large datagrams do not fit into.
  private var pipes: Finding? {
    guard let pages = facts.pipePages else { return nil }
    if pages >= HostChecks.fewPipePages { return .ok("pipes", "\(pages) pages for all of this user's") }
    return .warn(
      "pipes", "\(pages) pages for all of this user's; each of an endpoint's takes 16",
      "sudo sysctl -w fs.pipe-user-pages-soft=16384")
  }

  private static let loopbackMTU = 65_536
  /// What every IPv6 network has. Networks in networks have less than Ethernet's 1,500.
  private static let leastMTU = 1_280
  private static let usualFiles = 1_024
  private static let filesPerEndpoint = 8
  private static let buffersInMemory = 8
  private static let fewPorts = 1_000
  private static let fewPipePages = 1_024
}
