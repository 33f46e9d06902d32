import CFabric
import CPlatform
import Datagram

/// The root of all objects: one network as fi_getinfo named it.
///
/// Its own state is counted under a lock of its own, since no threading level covers a fabric.
///
/// Man page: fi_fabric(3)
package final class Fabric {
  /// The interface version the program was written for; structures whose size depends on it are read and written so.
  package let apiVersion: APIVersion
  private let lock = Lock()
  private var children = 0

  package init(apiVersion: APIVersion) {
    self.apiVersion = apiVersion
  }

  /// A domain or event queue was opened.
  package func addChild() { lock.withLock { children += 1 } }

  /// A domain or event queue was closed.
  package func removeChild() { lock.withLock { children -= 1 } }

  /// Throws FI_EBUSY while domains or event queues are open.
  package func close() throws(FabricError) {
    if lock.withLock({ children != 0 }) { throw .busy }
  }
}
