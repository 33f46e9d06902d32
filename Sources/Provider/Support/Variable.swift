/// Every environment variable that the library reads, with what fi_getparams tells about it. There is no other list:
/// ``Configuration`` and ``Log`` take names and defaults from here.
package enum Variable: Int, CaseIterable {
  case logLevel, logProvider, logSubsystem, logInterval, logLocation, logLocationMode
  case provider, universeSize, deviceMemory
  case mode, native, hardware, nativeTimeout
  case aliases, interface, portRange, txSize, rxSize, providerKeys, peerTimeout
  case socketBuffer, mtu, gso, gro, connect, splice, portable, fault

  /// Whom a variable belongs to: its name starts with FI_ or FI_POLYFILL_.
  package enum Owner {
    case core, polyfill
  }

  /// A row of the table. An empty default means that the variable has no value of its own when unset.
  package struct Description {
    package let environmentName: StaticString
    package let kind: ParameterKind
    package let defaultText: StaticString
    package let help: StaticString

    package var owner: Owner {
      let prefix = "FI_POLYFILL_" as StaticString
      guard environmentName.utf8CodeUnitCount > prefix.utf8CodeUnitCount else { return .core }
      for index in 0..<prefix.utf8CodeUnitCount where environmentName.utf8Start[index] != prefix.utf8Start[index] {
        return .core
      }
      return .polyfill
    }
  }

  package var description: Description {
    switch self {
    case .logLevel:
      row("FI_LOG_LEVEL", .string, "", "What to log: warn, trace, info or debug; nothing is logged when unset")
    case .logProvider: row("FI_LOG_PROV", .string, "", "Providers to log, a comma list; ^ first excludes the list")
    case .logSubsystem: row("FI_LOG_SUBSYS", .string, "", "Subsystems to log, a comma list; ^ first excludes the list")
    case .logInterval: row("FI_LOG_INTERVAL", .integer, "2000", "Milliseconds between messages that are rate limited")
    case .logLocation:
      row("FI_LOG_LOCATION", .string, "stderr", "Where to log: stderr, stdout, a new file, or a directory for one")
    case .logLocationMode: row("FI_LOG_LOCATION_MODE", .integer, "0600", "Permissions of a log file")
    case .provider:
      row("FI_PROVIDER", .string, "", "Providers to offer, a comma list; ^ first excludes the list instead")
    case .universeSize: row("FI_UNIVERSE_SIZE", .size, "1024", "How many peers the program expects")
    case .deviceMemory:
      row("FI_HMEM", .string, "", "Kinds of memory that the program has; only system changes anything")
    case .mode:
      row(
        "FI_POLYFILL_MODE", .string, "auto",
        "Whose objects to offer: udp, native (all of a native libfabric's), or auto: native ones where hardware works")
    case .native:
      row("FI_POLYFILL_NATIVE", .string, "", "Path of the native libfabric; where none is named it is searched for")
    case .hardware:
      row(
        "FI_POLYFILL_HARDWARE", .string, "efa,verbs,cxi,opx,psm3,psm2,psm,ucx,gni,usnic,bgq",
        "Native providers that come before UDP, a comma list; ^ first: all others")
    case .nativeTimeout:
      row(
        "FI_POLYFILL_NATIVE_TIMEOUT", .integer, "5000",
        "Milliseconds that the native libfabric may take for a request and its trials until it is given up")
    case .aliases:
      row("FI_POLYFILL_ALIASES", .boolean, "1", "Answer to the names udp, tcp, sockets and their layered forms as well")
    case .interface: row("FI_POLYFILL_IFACE", .string, "", "Name of the one network interface to use")
    case .portRange: row("FI_POLYFILL_PORT_RANGE", .string, "", "UDP ports to bind when none is asked for, low-high")
    case .txSize: row("FI_POLYFILL_TX_SIZE", .size, "1024", "Default size of an endpoint's transmit queue")
    case .rxSize: row("FI_POLYFILL_RX_SIZE", .size, "1024", "Default size of an endpoint's receive queue")
    case .providerKeys:
      row("FI_POLYFILL_MR_PROV_KEY", .boolean, "0", "Choose random memory keys for programs that hint FI_MR_PROV_KEY")
    case .peerTimeout:
      row(
        "FI_POLYFILL_PEER_TIMEOUT", .integer, "0",
        "Milliseconds this endpoint may be silent until peers give it up; 0: 30000, or 300000 with manual progress")
    case .socketBuffer:
      row("FI_POLYFILL_SOCKET_BUFFER", .size, "4194304", "Bytes of socket buffer to ask for in each direction")
    case .mtu:
      row("FI_POLYFILL_MTU", .size, "0", "Largest datagram in bytes with its IP and UDP headers; 0 discovers it")
    case .gso: row("FI_POLYFILL_GSO", .boolean, "1", "Let the kernel segment large sends where it can")
    case .gro: row("FI_POLYFILL_GRO", .boolean, "1", "Let the kernel merge received datagrams where it can")
    case .connect:
      row("FI_POLYFILL_CONNECT", .boolean, "1", "Give the peer that most goes to a connected socket, on Linux")
    case .splice:
      row("FI_POLYFILL_SPLICE", .boolean, "1", "Send large datagrams over that socket by reference where it can")
    case .portable: row("FI_POLYFILL_PORTABLE", .boolean, "0", "Use plain POSIX socket calls only")
    case .fault:
      row(
        "FI_POLYFILL_FAULT", .string, "",
        "Damage to received datagrams, for tests: loss=0.01,dup=0.01,reorder=0.05,delay=200us,jitter=50us,seed=7")
    }
  }

  /// Whether it means something where another libfabric has loaded this library as a provider, and chooses providers.
  package var isForProviders: Bool {
    switch self {
    case .mode, .native, .hardware, .nativeTimeout, .aliases: false
    default: true
    }
  }

  /// Enough for every name and help text with its default.
  package static let textCapacity = 256

  /// The name that fi_param_get knows the variable by: the environment's without its prefix, in lower case.
  package func writeParameterName(to writer: inout TextWriter) {
    let name = description.environmentName
    let prefix = description.owner == .core ? 3 : 12
    for index in prefix..<name.utf8CodeUnitCount {
      let byte = name.utf8Start[index]
      writer.append(byte: byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte)
    }
  }

  /// The help text with the default.
  package func writeHelp(to writer: inout TextWriter) {
    writer.append(description.help)
    guard description.defaultText.utf8CodeUnitCount > 0 else { return }
    writer.append(" (default: ")
    writer.append(description.defaultText)
    writer.append(")")
  }

  private func row(
    _ name: StaticString, _ kind: ParameterKind, _ defaultText: StaticString, _ help: StaticString
  ) -> Description {
    Description(environmentName: name, kind: kind, defaultText: defaultText, help: help)
  }
}
