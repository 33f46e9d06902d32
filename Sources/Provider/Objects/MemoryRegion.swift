import CFabric
import Transport

/// Memory that a program registered: for its own operations always, for peers if it says so. A part of it may be another
/// region, with its own key and permissions.
///
/// Man page: fi_mr(3)
package final class MemoryRegion {
  package let domain: Domain
  /// What peers must name, or ``unavailableKey``.
  package let key: UInt64
  /// What peers add to offsets into the region: its address with FI_MR_VIRT_ADDR, else 0.
  package let baseAddress: UInt64
  private let pieces: RegionPieces
  /// What it is a part of, and how many are parts of it.
  private let whole: MemoryRegion?
  private var partCount = 0
  private let region: UInt64?
  /// What peers may do once the region is enabled.
  private let permissions: UInt64
  private var isEnabled: Bool
  /// The domain's mode has FI_MR_RMA_EVENT.
  private let hasMode: Bool
  /// Kinds of access that have their counter, and the counters, each as often as it was bound.
  private var counted: UInt64 = 0
  private var counters: (Counter?, Counter?)

  /// Registers pieces of memory as one region. `access` is any of FI_SEND,
  /// FI_REMOTE_WRITE and so on; without a remote permission the region gets no key and cannot clash with another. One
  /// whose accesses are to be counted (`isCounted`, FI_RMA_EVENT) is out of peers' reach until it is enabled if the
  /// domain has the mode bit FI_MR_RMA_EVENT. `isPersistent` (FI_RMA_PMEM): its contents are what a fenced write with
  /// FI_COMMIT_COMPLETE makes persistent. As a part of a `whole` (fi_mr_attr.base_mr), it keeps that from being closed.
  ///
  /// Errors as in ``RegionTable/insert(_:permissions:key:)``; FI_EDOMAIN and FI_EINVAL where the whole is another
  /// domain's, or does not contain it.
  package convenience init(
    _ domain: Domain, _ pieces: RegionPieces, access: UInt64, requestedKey: UInt64, isCounted: Bool = false,
    isPersistent: Bool = false, within whole: MemoryRegion? = nil
  ) throws(FabricError) {
    if let whole {
      if whole.domain !== domain { throw Self.refuse("another domain's region", .wrongDomain, in: "fi_mr_reg") }
      if !whole.contains(pieces) { throw Self.refuse("not within its base_mr", .invalidArgument, in: "fi_mr_reg") }
    }
    let isEnabled = !isCounted || domain.memoryMode & UInt32(FI_MR_RMA_EVENT) == 0
    let remote = access & (FI_REMOTE_READ | FI_REMOTE_WRITE)
    domain.engine.lock()
    defer { domain.engine.unlock() }
    let permissions = isEnabled ? remote : 0
    let known =
      remote == 0
      ? nil
      : try domain.regions.insert(
        pieces, permissions: permissions, key: requestedKey, isPersistent: isPersistent)
    domain.addChild()
    whole?.partCount += 1
    let areVirtual = domain.memoryMode & UInt32(FI_MR_VIRT_ADDR) != 0
    self.init(
      domain, pieces, whole, region: known?.region, remote, isEnabled, key: known?.key ?? unavailableKey,
      baseAddress: areVirtual ? UInt64(UInt(bitPattern: pieces[0].base)) : 0)
  }

  // Initializers that throw are convenience initializers: Embedded Swift does not free the memory of an object whose
  // designated initializer throws.
  private init(
    _ domain: Domain, _ pieces: RegionPieces, _ whole: MemoryRegion?, region: UInt64?, _ permissions: UInt64,
    _ isEnabled: Bool, key: UInt64, baseAddress: UInt64
  ) {
    self.domain = domain
    self.pieces = pieces
    self.whole = whole
    self.region = region
    self.permissions = permissions
    self.isEnabled = isEnabled
    hasMode = domain.memoryMode & UInt32(FI_MR_RMA_EVENT) != 0
    self.key = key
    self.baseAddress = baseAddress
  }

  /// Counts what peers do with the region: FI_REMOTE_WRITE, FI_REMOTE_READ or both, of endpoints with FI_RMA_EVENT.
  ///
  /// Throws FI_EBADFLAGS for other flags, FI_EDOMAIN for another domain's counter, FI_EINVAL where a counter is bound
  /// already, FI_EOPBADSTATE for a region that had to be enabled and is.
  package func bind(_ counter: Counter, flags: UInt64) throws(FabricError) {
    guard flags != 0 && flags & ~(FI_REMOTE_READ | FI_REMOTE_WRITE) == 0 else {
      throw Self.refuse("unknown flags", .badFlags)
    }
    if counter.domain !== domain { throw Self.refuse("another domain's counter", .wrongDomain) }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if hasMode && isEnabled { throw Self.refuse("the region is enabled already", .badState) }
    if counted & flags != 0 { throw Self.refuse("a counter is bound already", .invalidArgument) }
    counted |= flags
    counter.addBinding()
    if counters.0 == nil { counters.0 = counter } else { counters.1 = counter }
    if let region { domain.regions.setCounter(.passUnretained(counter), flags, of: region) }
  }

  /// Lets peers in. Does nothing for a region that is enabled.
  package func enable() {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    isEnabled = true
    if let region { domain.regions.setPermissions(permissions, of: region) }
  }

  /// Whether all memory of `parts` belongs to it.
  private func contains(_ parts: RegionPieces) -> Bool {
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: RegionPieces.maximumCount) { memory in
      for index in 0..<parts.count {
        let address = UInt64(UInt(bitPattern: parts[index].base))
        let length = UInt64(UInt(bitPattern: parts[index].count))
        if pieces.slices(address: address, length, into: memory.baseAddress!) == nil { return false }
      }
      return true
    }
  }

  private static func refuse(
    _ reason: StaticString, _ error: FabricError, in call: StaticString = "fi_mr_bind"
  ) -> FabricError {
    error.because(.memoryRegion, reason, in: call)
  }

  /// Whether parts of it are registered: then it may not be closed.
  package var hasParts: Bool {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    return partCount != 0
  }

  /// Ends all access by peers; transfers that go on in the memory are aborted before this returns.
  package func close() {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    whole?.partCount -= 1
    if let region, domain.regions.remove(region) { domain.engine.abortTransfers(region: region) }
    counters.0?.removeBinding()
    counters.1?.removeBinding()
    counters = (nil, nil)
    domain.removeChild()
  }
}
