import CFabric

/// A peer, by the number that an ``AddressVector`` has given it. Numbers mean nothing to other vectors.
public struct Peer: RawRepresentable, Hashable, Sendable {
  /// The `fi_addr_t`.
  public let rawValue: UInt64

  /// The peer with this number.
  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// What stands for nobody, and in receives for anybody: FI_ADDR_UNSPEC.
  static let unknown = Peer(rawValue: .max)
}

/// Where an endpoint can be reached: bytes in the provider's own format, to be passed on by whatever way there is (a
/// file, a pipe, a server) and inserted on the other side.
public struct EndpointAddress: Hashable, Codable, Sendable {
  /// The address in the provider's format.
  public let bytes: [UInt8]

  /// The address that these bytes of another endpoint's ``bytes`` are.
  public init(bytes: [UInt8]) {
    self.bytes = bytes
  }
}

/// The peers that endpoints talk to.
///
/// Man page: fi_av(3)
public final class AddressVector: @unchecked Sendable {
  let handle: UnsafeMutablePointer<fid_av>

  /// What the vector was opened on.
  public let domain: Domain

  /// Opens an empty vector. `count` is how many peers are expected, if that is known.
  public init(_ domain: Domain, count: Int = 0) throws(FabricError) {
    var attributes = fi_av_attr()
    attributes.count = max(count, 0)
    var handle: UnsafeMutablePointer<fid_av>?
    try check("fi_av_open", fi_av_open(domain.handle, &attributes, &handle, nil))
    self.handle = handle!
    self.domain = domain
  }

  deinit { fi_close(handle.base) }
}

extension AddressVector {
  /// Adds an endpoint as ``Endpoint/address`` names it.
  ///
  /// - Throws: ``FabricError/Code/addressNotAvailable`` for bytes that are no address of this provider's.
  public func insert(_ address: EndpointAddress) throws(FabricError) -> Peer {
    // Providers take the size of an address for granted.
    guard address.bytes.count >= domain.info.addressSize else {
      throw FabricError(.addressNotAvailable, in: "fi_av_insert")
    }
    return try insert("fi_av_insert") { peer in
      address.bytes.withUnsafeBytes { fi_av_insert(handle, $0.baseAddress, 1, &peer, 0, nil) }
    }
  }

  /// Adds the endpoint at a host and port, where the provider's addresses are such.
  public func insert(node: String, service: String) throws(FabricError) -> Peer {
    try insert("fi_av_insertsvc") { peer in fi_av_insertsvc(handle, node, service, &peer, 0, nil) }
  }

  /// Takes a peer out. No operation with it may be under way, and the number may come to name somebody else.
  public func remove(_ peer: Peer) throws(FabricError) {
    var number = peer.rawValue
    try check("fi_av_remove", fi_av_remove(handle, &number, 1, 0))
  }

  /// The address behind a peer's number.
  public func address(of peer: Peer) throws(FabricError) -> EndpointAddress {
    try EndpointAddress("fi_av_lookup") { fi_av_lookup(handle, peer.rawValue, $0, $1) }
  }

  /// An address as text: `fi_sockaddr_in://127.0.0.1:7471`.
  public func text(of address: EndpointAddress) -> String {
    guard address.bytes.count >= domain.info.addressSize else { return "" }
    var length = AddressVector.textCapacity
    return withUnsafeTemporaryAllocation(of: CChar.self, capacity: length) { buffer in
      buffer.initialize(repeating: 0)
      return address.bytes.withUnsafeBytes { bytes in
        fi_av_straddr(handle, bytes.baseAddress, buffer.baseAddress, &length).map { String(cString: $0) } ?? ""
      }
    }
  }

  private func insert(_ call: String, _ insertion: (inout fi_addr_t) -> Int32) throws(FabricError) -> Peer {
    var number = Peer.unknown.rawValue
    let count = insertion(&number)
    guard count >= 0 else { throw FabricError(FabricError.Code(rawValue: count), in: call) }
    guard count == 1 else { throw FabricError(.addressNotAvailable, in: call) }
    return Peer(rawValue: number)
  }

  private static let textCapacity = 256
}

extension EndpointAddress {
  /// The address that a call writes: it is given the room and its size, and says the size needed if that is too small.
  init(
    _ call: String, _ body: (UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>) -> Int32
  ) throws(FabricError) {
    var length = EndpointAddress.usualSize
    var bytes = [UInt8](repeating: 0, count: length)
    var result = bytes.withUnsafeMutableBytes { body($0.baseAddress, &length) }
    if result == -Int32(FI_ETOOSMALL) || length > bytes.count {
      bytes = [UInt8](repeating: 0, count: length)
      result = bytes.withUnsafeMutableBytes { body($0.baseAddress, &length) }
    }
    try check(call, result)
    self.init(bytes: Array(bytes.prefix(length)))
  }

  private static let usualSize = 128
}
