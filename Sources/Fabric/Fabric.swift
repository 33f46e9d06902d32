import CFabric
import Synchronization

/// A network that this host is attached to: what domains and event queues are opened on.
///
/// Most programs need only ``selectProvider(_:node:local:)``, which opens one. Objects keep what they were opened on, so they may
/// be let go in any order, and each is closed with its last owner.
///
/// Man page: fi_fabric(3)
public final class Fabric: @unchecked Sendable {
  // The object is thread-safe at FI_THREAD_SAFE, and so are the others of this module.
  let handle: UnsafeMutablePointer<fid_fabric>

  /// The open completion queues of all domains, by address.
  private let queues = Mutex<Set<UInt>>([])

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

// Where the provider leaves progress to the program, a thread that is held for one queue must not hold up the others:
// two endpoints of the same program may be talking to each other, and connections end while messages are looked for.
extension Fabric {
  func add(_ queue: UnsafeMutablePointer<fid_cq>) {
    _ = queues.withLock { $0.insert(UInt(bitPattern: queue)) }
  }

  /// Forgets a queue, which can be closed then.
  func remove(_ queue: UnsafeMutablePointer<fid_cq>) {
    _ = queues.withLock { $0.remove(UInt(bitPattern: queue)) }
  }

  /// Lets the provider work for all completion queues, without taking anything. Returns how many there are.
  @discardableResult
  func makeProgress() -> Int {
    queues.withLock { queues in
      for address in queues { _ = fi_cq_read(UnsafeMutablePointer(bitPattern: address), nil, 0) }
      return queues.count
    }
  }
}
