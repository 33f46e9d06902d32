import CFabric
import Synchronization

/// An interface of a network, with the resources that endpoints on it share: queues, address vectors, memory.
///
/// Man page: fi_domain(3)
public final class Domain: @unchecked Sendable {
  let handle: UnsafeMutablePointer<fid_domain>
  private let nextKey = Atomic<UInt64>(1)

  /// The network.
  public let fabric: Fabric

  /// What the domain was opened as. Its endpoints are opened as the same.
  public let info: Info

  /// Opens the interface that `info` describes, on an open network.
  public init(_ fabric: Fabric, _ info: Info) throws(FabricError) {
    var handle: UnsafeMutablePointer<fid_domain>?
    try check("fi_domain", fi_domain(fabric.handle, info.pointer, &handle, nil))
    self.handle = handle!
    self.fabric = fabric
    self.info = info
  }

  /// Opens the interface that `info` describes, and its network.
  public convenience init(_ info: Info) throws(FabricError) {
    try self.init(try Fabric(info), info)
  }

  deinit { fi_close(handle.base) }
}

extension Domain {
  /// Memory to send from, with a copy of `bytes`.
  public func sendRegion(copying bytes: some Collection<UInt8>) throws(FabricError) -> SendRegion {
    var region = try receiveRegion(byteCount: bytes.count)
    region.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
    return SendRegion(region)
  }

  /// Memory to send from, with a copy of a text in UTF-8.
  public func sendRegion(copying text: some StringProtocol) throws(FabricError) -> SendRegion {
    try sendRegion(copying: text.utf8)
  }

  /// Memory to receive into, all zero.
  ///
  /// - Throws: ``FabricError/Code/invalidArgument`` for a negative size, or what registering the memory came to.
  public func receiveRegion(byteCount: Int) throws(FabricError) -> ReceiveRegion {
    ReceiveRegion(try RegisteredMemory(self, byteCount: byteCount))
  }
}

extension Domain {
  func registers(_ mode: Int32) -> Bool {
    info.registrationModes & mode != 0
  }

  /// A key that this domain has not used, where the program chooses them. It fits the provider's size, which is why the
  /// numbers may come again; who registers asks for the next while one is in use.
  func makeKey() -> UInt64 {
    let number = nextKey.wrappingAdd(1, ordering: .relaxed).oldValue
    let size = info.pointer.pointee.domain_attr.pointee.mr_key_size
    return size >= 8 || size == 0 ? number : number & (1 << (8 * UInt64(size)) - 1)
  }
}
