import CFabric

/// One way to communicate, as the library offers it: a provider, a network, and what they can do.
///
///     for info in try Info.discover() {
///       print(info)                         // polyfill 127.0.0.0/8 lo …
///     }
///
/// Man page: fi_getinfo(3)
public struct Info: @unchecked Sendable {
  // Nobody writes to the structure after discovery, so threads may share it.
  let pointer: UnsafeMutablePointer<fi_info>
  private let list: InfoList

  fileprivate init(_ pointer: UnsafeMutablePointer<fi_info>, of list: InfoList) {
    self.pointer = pointer
    self.list = list
  }

  /// All ways that satisfy `hints`, best first.
  ///
  /// - Parameters:
  ///   - hints: What the program wants.
  ///   - node: A host name or address; the local one with `local`, otherwise that of a peer to be reached.
  ///   - service: A port or service name, in the same way.
  ///   - local: Whether `node` and `service` say where to listen.
  /// - Throws: ``FabricError/Code/noData`` where nothing satisfies the hints.
  public static func discover(
    _ hints: Hints = Hints(), node: String? = nil, service: String? = nil, local: Bool = false
  ) throws(FabricError) -> [Info] {
    let request = try hints.makeInfo()
    defer { fi_freeinfo(request) }
    let infos = try discover(node: node, service: service, flags: local ? FI_SOURCE : 0, request)
    // Not every provider heeds the name.
    guard let name = hints.domainName else { return infos }
    let named = infos.filter { $0.domainName == name }
    guard !named.isEmpty else { throw FabricError(.noData, in: "fi_getinfo") }
    return named
  }

  private static func discover(
    node: String?, service: String?, flags: UInt64, _ request: UnsafeMutablePointer<fi_info>
  ) throws(FabricError) -> [Info] {
    var first: UnsafeMutablePointer<fi_info>?
    let result = withOptionalCString(node) { node in
      withOptionalCString(service) { service in
        fi_getinfo(Library.interfaceVersion, node, service, flags, request, &first)
      }
    }
    try check("fi_getinfo", result)
    guard let first else { throw FabricError(.noData, in: "fi_getinfo") }
    return InfoList(first).entries
  }
}

extension Info {
  /// The provider's name; layered ones are joined by semicolons.
  public var providerName: String { String(cString: pointer.pointee.fabric_attr.pointee.prov_name) }

  /// The network's name.
  public var fabricName: String { Info.text(pointer.pointee.fabric_attr.pointee.name) }

  /// The name of the interface or device.
  public var domainName: String { Info.text(pointer.pointee.domain_attr.pointee.name) }

  /// What can be done.
  public var capabilities: Capabilities { Capabilities(rawValue: pointer.pointee.caps) }

  /// The kind of endpoint; nil for one that this module has no name for.
  public var endpointType: Hints.EndpointType? { Hints.EndpointType(pointer.pointee.ep_attr.pointee.type) }

  /// Bytes of the longest message or transfer.
  public var maximumMessageSize: Int { Info.size(pointer.pointee.ep_attr.pointee.max_msg_size) }

  /// Bytes that ``Endpoint/inject(_:to:data:)`` carries at most.
  public var injectSize: Int { Info.size(pointer.pointee.tx_attr.pointee.inject_size) }

  /// Operations that may be under way at once.
  public var transmitQueueSize: Int { Info.size(pointer.pointee.tx_attr.pointee.size) }

  /// Receives that may be posted at once.
  public var receiveQueueSize: Int { Info.size(pointer.pointee.rx_attr.pointee.size) }

  /// Bytes of the data that an operation may give to the peer's completion, 0 to 8.
  public var remoteDataSize: Int { Info.size(pointer.pointee.domain_attr.pointee.cq_data_size) }

  /// What operations on the memory of this side's peers must be given for registration: FI_MR_* bits.
  var registrationModes: Int32 { pointer.pointee.domain_attr.pointee.mr_mode }

  /// Bytes of an address, as far as the provider says.
  var addressSize: Int { max(pointer.pointee.src_addrlen, 1) }

  /// A `size_t`, of which Swift makes an Int, so that the greatest is -1.
  private static func size(_ size: Int) -> Int {
    Int(clamping: UInt(bitPattern: size))
  }

  private static func text(_ name: UnsafeMutablePointer<CChar>?) -> String {
    name.map { String(cString: $0) } ?? ""
  }
}

extension Info: CustomStringConvertible {
  /// Provider, network and interface.
  public var description: String { "\(providerName) \(fabricName) \(domainName)" }
}

/// A list that fi_getinfo() returned, freed with its last entry.
final class InfoList: @unchecked Sendable {
  private let first: UnsafeMutablePointer<fi_info>

  init(_ first: UnsafeMutablePointer<fi_info>) {
    self.first = first
  }

  deinit { fi_freeinfo(first) }

  var entries: [Info] {
    Array(sequence(first: first) { $0.pointee.next }.map { Info($0, of: self) })
  }
}

/// Calls `body` with the text as a C string, or with nil for none.
func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
  guard let text else { return body(nil) }
  return text.withCString { body($0) }
}
