import CFabric

/// A network that this host is attached to: what domains and event queues are opened on.
///
/// Most programs need only ``selectProvider(_:node:local:)``, which opens one. Objects keep what they were opened on, so they may
/// be let go in any order, and each is closed with its last owner.
///
/// Man page: fi_fabric(3)
public final class Fabric: @unchecked Sendable {
  // The object is thread-safe at FI_THREAD_SAFE, and so are the others of this module.
  let handle: UnsafeMutablePointer<fid_fabric>

  /// What the fabric was opened as.
  public let info: Info

  /// Opens the network that `info` describes.
  public init(_ info: Info) throws(FabricError) {
    var handle: UnsafeMutablePointer<fid_fabric>?
    try check("fi_fabric", fi_fabric(info.pointer.pointee.fabric_attr, &handle, nil))
    self.handle = handle!
    self.info = info
  }

  deinit { fi_close(handle.base) }
}
