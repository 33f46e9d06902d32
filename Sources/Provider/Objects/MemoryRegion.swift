import CFabric
import Transport

/// Memory that a program registered: for its own operations always, for peers if it says so.
///
/// Man page: fi_mr(3)
package final class MemoryRegion {
  package let domain: Domain
  /// What peers must name, or ``unavailableKey``.
  package let key: UInt64
  /// What peers add to offsets into the region: its address with FI_MR_VIRT_ADDR, else 0.
  package let baseAddress: UInt64
  private let region: UInt64?

  /// Registers pieces of memory as one region. `access` is any of FI_SEND,
  /// FI_REMOTE_WRITE and so on; without a remote permission the region gets no key and cannot clash with another. Errors
  /// as in ``RegionTable/insert(_:permissions:key:)``.
  package convenience init(
    _ domain: Domain, _ pieces: RegionPieces, access: UInt64, requestedKey: UInt64
  ) throws(FabricError) {
    let remote = access & (FI_REMOTE_READ | FI_REMOTE_WRITE)
    domain.engine.lock()
    defer { domain.engine.unlock() }
    let known = remote == 0 ? nil : try domain.regions.insert(pieces, permissions: remote, key: requestedKey)
    domain.addChild()
    let areVirtual = domain.memoryMode & UInt32(FI_MR_VIRT_ADDR) != 0
    self.init(
      domain, region: known?.region, key: known?.key ?? unavailableKey,
      baseAddress: areVirtual ? UInt64(UInt(bitPattern: pieces[0].base)) : 0)
  }

  // Initializers that throw are convenience initializers: Embedded Swift does not free the memory of an object whose
  // designated initializer throws.
  private init(_ domain: Domain, region: UInt64?, key: UInt64, baseAddress: UInt64) {
    self.domain = domain
    self.region = region
    self.key = key
    self.baseAddress = baseAddress
  }

  /// Ends all access by peers; transfers that go on in the memory are aborted before this returns.
  package func close() {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if let region, domain.regions.remove(region) { domain.engine.abortTransfers(region: region) }
    domain.removeChild()
  }
}
