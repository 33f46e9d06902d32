import CFabric
import Containers
import Datagram
import Packet
import Transport

/// What a peer wants to do with this side's memory.
package enum RegionAccess {
  case read, write
  /// Both: an atomic operation that returns what it changes.
  case exchange

  /// The permissions it takes.
  var permissions: UInt64 {
    switch self {
    case .read: FI_REMOTE_READ
    case .write: FI_REMOTE_WRITE
    case .exchange: FI_REMOTE_READ | FI_REMOTE_WRITE
    }
  }
}

/// The memory behind one segment that a peer named.
package struct ResolvedSegment {
  package var status: OperationStatus
  /// The region's number, never 0; 0 unless `status` is ok.
  package var region: UInt64 = 0
  /// Slices stored.
  package var sliceCount = 0
}

/// Keys to registered memory: what peers may read and write.
///
/// Lookup is O(1) and never allocates; all arithmetic on what peers sent is checked. A region's number is never used
/// again, so whoever kept one past the region's end finds nothing. Not thread-safe.
package struct RegionTable: ~Copyable {
  private struct Region: BitwiseCopyable {
    var key: UInt64 = 0
    var permissions: UInt64 = 0
    var pieces = RegionPieces()
    /// What counts peers' reads and writes; kept alive by the ``MemoryRegion``.
    var readCounter: Unmanaged<Counter>?
    var writeCounter: Unmanaged<Counter>?
    /// Transfers that the transport carries out in this memory.
    var transfers: UInt32 = 0
    /// Counts the uses of this place in the table; odd while in use.
    var generation: UInt32 = 0
    var nextFree: UInt32 = .max
    /// Registered with FI_RMA_PMEM.
    var isPersistent = false
  }

  /// Peers address bytes by virtual address (FI_MR_VIRT_ADDR), else by offset into the region.
  private let areVirtual: Bool
  /// The provider chooses keys (FI_MR_PROV_KEY).
  private let choosesKeys: Bool
  private var regions: UnsafeMutablePointer<Region>
  private var capacity = 16
  private var untouched = 0
  private var firstFree: UInt32 = .max
  private var keys = HashIndex()

  package init(areVirtual: Bool, choosesKeys: Bool) {
    self.areVirtual = areVirtual
    self.choosesKeys = choosesKeys
    regions = .allocate(capacity: capacity)
  }

  deinit { regions.deallocate() }

  /// Regions that peers may access.
  package var count: Int { keys.count }

  /// Makes memory accessible. Returns the region's number and key. `key` is ignored where the provider chooses.
  ///
  /// Throws FI_ENOKEY for a key in use, FI_EINVAL for a piece that leaves the address space.
  package mutating func insert(
    _ pieces: RegionPieces, permissions: UInt64, key: UInt64, isPersistent: Bool = false
  ) throws(FabricError) -> (region: UInt64, key: UInt64) {
    guard pieces.areAddressable else {
      throw .invalidArgument.because(.memoryRegion, "memory beyond the last address", in: "fi_mr_reg")
    }
    let key = choosesKeys ? try unusedKey() : key
    if find(key) != nil { throw .noKey.because(.memoryRegion, "the key is in use", in: "fi_mr_reg") }
    let slot = allocate()
    regions[slot].key = key
    regions[slot].permissions = permissions
    regions[slot].pieces = pieces
    regions[slot].isPersistent = isPersistent
    regions[slot].transfers = 0
    regions[slot].readCounter = nil
    regions[slot].writeCounter = nil
    keys.insert(mix(key), index: UInt32(slot))
    return (UInt64(regions[slot].generation) << 32 | UInt64(slot), key)
  }

  /// Ends all access to a region. Returns whether transfers are still going on in its memory: those are to be aborted.
  @discardableResult
  package mutating func remove(_ region: UInt64) -> Bool {
    guard let slot = slot(region) else { return false }
    keys.remove(mix(regions[slot].key), index: UInt32(slot))
    regions[slot].generation &+= 1
    regions[slot].nextFree = firstFree
    firstFree = UInt32(slot)
    return regions[slot].transfers > 0
  }

  /// Finds the memory that a peer's segment names and stores it at `slices`, of which there are `capacity`, at least
  /// ``RegionPieces/maximumCount``. Status `.accessDenied` for an unknown key or a missing permission, `.outOfBounds` for bytes
  /// outside of the region; nothing is stored then.
  package func resolve(
    _ segment: RemoteSegment, for access: RegionAccess, into slices: UnsafeMutablePointer<Slice>, capacity: Int
  ) -> ResolvedSegment {
    guard let slot = find(segment.key), access.permissions & ~regions[slot].permissions == 0 else {
      return ResolvedSegment(status: .accessDenied)
    }
    let region = UInt64(regions[slot].generation) << 32 | UInt64(slot)
    assert(capacity >= regions[slot].pieces.count)
    let count =
      areVirtual
      ? regions[slot].pieces.slices(address: segment.address, segment.length, into: slices)
      : regions[slot].pieces.slices(offset: segment.address, segment.length, into: slices)
    guard let count else { return ResolvedSegment(status: .outOfBounds) }
    return ResolvedSegment(status: .ok, region: region, sliceCount: count)
  }

  /// The transport began to carry out a transfer in a region's memory.
  package mutating func beginTransfer(_ region: UInt64) {
    if let slot = slot(region) { regions[slot].transfers += 1 }
  }

  /// The transfer is over. That of a closed region changes nothing.
  package mutating func endTransfer(_ region: UInt64) {
    if let slot = slot(region) { regions[slot].transfers -= 1 }
  }

  // MARK: Counters

  /// Counts peers' accesses to a region from now on; `access` is FI_REMOTE_READ, FI_REMOTE_WRITE or both.
  package mutating func setCounter(_ counter: Unmanaged<Counter>, _ access: UInt64, of region: UInt64) {
    guard let slot = slot(region) else { return }
    if access & FI_REMOTE_READ != 0 { regions[slot].readCounter = counter }
    if access & FI_REMOTE_WRITE != 0 { regions[slot].writeCounter = counter }
  }

  /// What peers may do with a region from now on.
  package mutating func setPermissions(_ permissions: UInt64, of region: UInt64) {
    if let slot = slot(region) { regions[slot].permissions = permissions }
  }

  /// A peer has written to, or read from, a region. That of a closed region changes nothing.
  package func countAccess(_ region: UInt64, _ access: RegionAccess, _ bytes: UInt64) {
    guard let slot = slot(region) else { return }
    let counter = access == .read ? regions[slot].readCounter : regions[slot].writeCounter
    counter?._withUnsafeGuaranteedRef { $0.count(bytes) }
  }

  /// Makes the contents of all persistent regions so; false when some could not be.
  package func flushPersistent() -> Bool {
    var isPersistent = true
    for slot in 0..<untouched where regions[slot].isPersistent && regions[slot].generation & 1 != 0 {
      for piece in 0..<regions[slot].pieces.count where !PersistentMemory.flush(regions[slot].pieces[piece]) {
        isPersistent = false
      }
    }
    return isPersistent
  }

  // MARK: Places

  @inline(__always)
  private func find(_ key: UInt64) -> Int? {
    let regions = regions
    return keys.find(mix(key)) { regions[Int($0)].key == key }.map { Int($0) }
  }

  /// Where a region that is not closed is kept.
  private func slot(_ region: UInt64) -> Int? {
    let slot = Int(UInt32(truncatingIfNeeded: region))
    guard slot < untouched, UInt64(regions[slot].generation) == region >> 32 else { return nil }
    return slot
  }

  private mutating func allocate() -> Int {
    if firstFree != .max {
      let slot = Int(firstFree)
      firstFree = regions[slot].nextFree
      regions[slot].generation &+= 1
      return slot
    }
    if untouched == capacity { doubleCapacity(of: &regions, count: untouched, &capacity) }
    let slot = untouched
    untouched += 1
    (regions + slot).initialize(to: Region())
    regions[slot].generation = 1
    return slot
  }

  /// A random key: a peer that was not told it does not guess it.
  private func unusedKey() throws(FabricError) -> UInt64 {
    while true {
      let key: UInt64
      do { key = try Random.word() } catch { throw FabricError(code: error.code) }
      if key != unavailableKey && find(key) == nil { return key }
    }
  }
}

/// FI_KEY_NOTAVAIL: the key of a region that peers cannot name.
package let unavailableKey = UInt64.max
