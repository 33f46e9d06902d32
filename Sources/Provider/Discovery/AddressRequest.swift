import CFabric
import CPlatform
import Datagram

/// One way in which a request's addresses can be served: a local address on an interface, and perhaps a peer.
package struct AddressChoice {
  package let interface: NetworkInterface
  /// Where an endpoint binds; port 0 leaves the port open.
  package let source: SocketAddress
  package let destination: SocketAddress?
}

/// The addressing part of fi_getinfo: node, service, flags and the addresses in hints become local addresses on
/// interfaces.
///
/// - Named addresses: each source, or each destination with the address that the kernel would send from.
/// - An unspecified source (a port alone, 0.0.0.0 or ::) means every interface, with that port.
/// - Nothing at all means every interface, with any port.
///
/// Man page: fi_getinfo(3), src_addr, dest_addr, FI_SOURCE, FI_NUMERICHOST
package struct AddressRequest {
  private let family: AddressFamily
  private let onlyInterface: CString?
  private let wantedInterface: CString?
  private var sources: [SocketAddress] = []
  private var destinations: [SocketAddress] = []

  /// Resolves names; may ask the network. Throws ``FabricError/noData`` for names and addresses that lead nowhere,
  /// ``FabricError/noMemory``.
  package init(
    node: CString?, service: CString?, flags: UInt64, hints: UnsafePointer<fi_info>?, interface: CString?
  ) throws(FabricError) {
    guard let family = AddressFormat.family(hints?.pointee.addr_format ?? 0) else { throw .noData }
    self.family = family
    onlyInterface = interface
    wantedInterface = CString(hints?.pointee.domain_attr?.pointee.name)
    let named = node != nil || service != nil
    if flags & FI_SOURCE != 0 {
      guard named else {
        Log.warn(.fabric, "FI_SOURCE needs a node or a service")
        throw .noData
      }
      sources = try Self.resolve(node, service, family, flags)
    } else {
      if named { destinations = try Self.resolve(node, service, family, flags) }
      if let address = try address(hints?.pointee.src_addr, hints?.pointee.src_addrlen) { sources = [address] }
    }
    if destinations.isEmpty, let address = try address(hints?.pointee.dest_addr, hints?.pointee.dest_addrlen) {
      destinations = [address]
    }
  }

  /// All ways to serve the request on this host's interfaces, best first. Throws ``FabricError/noData`` if there is
  /// none.
  package func choices() throws(FabricError) -> [AddressChoice] {
    let interfaces: InterfaceList
    do {
      interfaces = try InterfaceList()
    } catch {
      Log.warn(.fabric, "cannot list the network interfaces")
      throw error.code == ENOMEM ? .noMemory : .noData
    }
    var choices: [AddressChoice] = []
    if sources.isEmpty {
      if destinations.isEmpty { enumerate(interfaces, family, port: 0, nil, &choices) }
      for destination in destinations { route(interfaces, to: destination, &choices) }
    }
    for source in sources {
      // A peer can only be reached from an address of its own family.
      let peer = destinations.first { $0.family == source.family }
      if !destinations.isEmpty && peer == nil { continue }
      if source.isAny {
        enumerate(interfaces, source.family, port: source.port, peer, &choices)
      } else if let interface = owner(interfaces, of: source) {
        choices.append(AddressChoice(interface: interface, source: source, destination: peer))
      } else {
        warn("no usable interface has the source address ", source)
      }
    }
    if choices.isEmpty {
      if sources.isEmpty && destinations.isEmpty { Log.warn(.fabric, "no usable network interface") }
      throw .noData
    }
    return choices
  }

  // MARK: Parts of the request

  /// The address in a fi_info; nil if there is none.
  private func address(_ memory: UnsafeMutableRawPointer?, _ length: Int?) throws(FabricError) -> SocketAddress? {
    guard let memory else { return nil }
    guard let address = SocketAddress(sockaddr: memory, length: length ?? 0),
      family == .none || address.family == family
    else {
      Log.warn(.fabric, "an address in the hints is not of the hinted format")
      throw .noData
    }
    return address
  }

  private static func resolve(
    _ node: CString?, _ service: CString?, _ family: AddressFamily, _ flags: UInt64
  ) throws(FabricError) -> [SocketAddress] {
    if let node, strstr(node, "://") != nil {
      guard service == nil, let address = AddressFormat.parse(uri: node), family == .none || address.family == family
      else {
        Log.warn(.fabric, "a node in address format is malformed, of another family, or has a service beside it")
        throw .noData
      }
      return [address]
    }
    var addresses = InlineArray<8, SocketAddress>(repeating: SocketAddress())
    var count = 0
    do {
      var span = addresses.mutableSpan
      count = try span.withUnsafeMutableBufferPointer { buffer throws(Resolver.Failure) in
        try Resolver.resolve(
          node: node, service: service, family: family, passive: flags & FI_SOURCE != 0,
          numeric: flags & FI_NUMERICHOST != 0, into: buffer.baseAddress!, capacity: buffer.count)
      }
    } catch {
      Log.write(.warn, .fabric) { text in
        text.append("cannot resolve node ")
        text.append(node)
        text.append(", service ")
        text.append(service)
      }
      throw error == .noMemory ? .noMemory : .noData
    }
    var distinct: [SocketAddress] = []
    for index in 0..<count where !distinct.contains(addresses[index]) { distinct.append(addresses[index]) }
    return distinct
  }

  // MARK: Interfaces

  /// One address per interface and family: real interfaces, then those with link-local addresses only, then loopback.
  private func enumerate(
    _ interfaces: borrowing InterfaceList, _ family: AddressFamily, port: UInt16, _ destination: SocketAddress?,
    _ choices: inout [AddressChoice]
  ) {
    let start = choices.count
    for rank in 0...2 {
      for index in 0..<interfaces.count {
        let interface = interfaces[index]
        guard Self.rank(interface) == rank, isUsable(interface),
          family == .none || interface.address.family == family,
          !choices[start...].contains(where: {
            $0.interface.index == interface.index && $0.source.family == interface.address.family
          })
        else { continue }
        let source = interface.address.with(port: port)
        choices.append(AddressChoice(interface: interface, source: source, destination: destination))
      }
    }
  }

  /// The local address from which `destination` is reached.
  private func route(
    _ interfaces: borrowing InterfaceList, to destination: SocketAddress, _ choices: inout [AddressChoice]
  ) {
    if onlyInterface != nil {
      return enumerate(interfaces, destination.family, port: 0, destination, &choices)
    }
    guard let source = try? Route.source(to: destination), let interface = owner(interfaces, of: source) else {
      return warn("there is no route to ", destination)
    }
    choices.append(AddressChoice(interface: interface, source: source, destination: destination))
  }

  /// The usable interface that has `address`; any loopback interface for any loopback address.
  private func owner(_ interfaces: borrowing InterfaceList, of address: SocketAddress) -> NetworkInterface? {
    var match: NetworkInterface?
    for index in 0..<interfaces.count {
      let interface = interfaces[index]
      guard onlyInterface.map({ Self.isNamed(interface, $0) }) ?? true else { continue }
      if interface.address.isSameHost(as: address) { return interface }
      if match == nil && address.isLoopback && interface.address.isLoopback
        && interface.address.family == address.family
      {
        match = interface
      }
    }
    return match
  }

  /// Whether an interface is offered without being asked for by address. Tunnels are only when they are named.
  private func isUsable(_ interface: NetworkInterface) -> Bool {
    if let onlyInterface { return Self.isNamed(interface, onlyInterface) }
    return !interface.isPointToPoint || (wantedInterface.map { Self.isNamed(interface, $0) } ?? false)
  }

  private static func isNamed(_ interface: NetworkInterface, _ name: CString) -> Bool {
    interface.withName { CText.equal($0, name) }
  }

  private static func rank(_ interface: NetworkInterface) -> Int {
    interface.isLoopback ? 2 : interface.address.isLinkLocal ? 1 : 0
  }

  private func warn(
    _ message: StaticString, _ address: SocketAddress, function: StaticString = #function, line: Int32 = #line
  ) {
    Log.write(.warn, .fabric, function: function, line: line) { text in
      text.append(message)
      text.append(address: address)
    }
  }
}

extension SocketAddress {
  /// Whether both are the same address, whatever the port; a scope counts only where both have one.
  fileprivate func isSameHost(as other: SocketAddress) -> Bool {
    family == other.family && words.1 == other.words.1 && words.2 == other.words.2
      && (scope == other.scope || scope == 0 || other.scope == 0)
  }
}

extension TextWriter {
  /// Host and port, as in a URL.
  package mutating func append(address: SocketAddress) {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: SocketAddress.textCapacity) { memory in
      _ = address.write(to: memory.baseAddress!, capacity: SocketAddress.textCapacity)
      append(CString(memory.baseAddress!))
    }
  }
}
