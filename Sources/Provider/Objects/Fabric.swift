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
  /// As the program gave it; zero-terminated, valid as long as the fabric.
  package let name: CString
  private let lock = Lock()
  private var children = 0

  /// `name` is copied. Throws FI_ENOMEM.
  package convenience init(name: CString, apiVersion: APIVersion) throws(FabricError) {
    guard let copy = strdup(name) else { throw .noMemory }
    self.init(ownedName: CString(copy), apiVersion)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(ownedName: CString, _ apiVersion: APIVersion) {
    name = ownedName
    self.apiVersion = apiVersion
  }

  deinit { free(UnsafeMutablePointer(mutating: name)) }

  /// A domain or event queue was opened.
  package func addChild() { lock.withLock { children += 1 } }

  /// A domain or event queue was closed.
  package func removeChild() { lock.withLock { children -= 1 } }

  /// Throws FI_EBUSY while domains or event queues are open.
  package func close() throws(FabricError) {
    if lock.withLock({ children != 0 }) {
      throw .busy.because(.fabric, "domains or event queues of the fabric are still open", in: "fi_close")
    }
  }
}
