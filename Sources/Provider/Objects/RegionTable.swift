import CFabric
import Containers
import Datagram
import Packet
import Transport

/// What a peer wants to do with this side's memory.
package enum RegionAccess {
  case read, write

  /// The permission it takes.
  var permission: UInt64 { self == .read ? FI_REMOTE_READ : FI_REMOTE_WRITE }
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
  /// Pieces of memory that one region may consist of: four segments of two pieces are as many as one transfer takes.
  package static var maximumPieces: Int { 2 }

  private struct Region: BitwiseCopyable {
    var key: UInt64 = 0
    var permissions: UInt64 = 0
    var first = Slice(base: nil, count: 0)
    var second = Slice(base: nil, count: 0)
    /// Transfers that the transport carries out in this memory.
    var transfers: UInt32 = 0
    /// Counts the uses of this place in the table; odd while in use.
    var generation: UInt32 = 0
    var nextFree: UInt32 = .max
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

  /// Makes memory accessible: two pieces, one behind the other, of which the second may be empty. Returns the region's
  /// number and key. `key` is ignored where the provider chooses.
  ///
  /// Throws FI_ENOKEY for a key in use, FI_EINVAL for a piece that leaves the address space.
  package mutating func insert(
    _ pieces: (Slice, Slice), permissions: UInt64, key: UInt64
  ) throws(FabricError) -> (region: UInt64, key: UInt64) {
    guard Self.isAddressable(pieces.0) && Self.isAddressable(pieces.1) else { throw .invalidArgument }
    let key = choosesKeys ? try unusedKey() : key
    if find(key) != nil { throw .noKey }
    let slot = allocate()
    regions[slot].key = key
    regions[slot].permissions = permissions
    regions[slot].first = pieces.0
    regions[slot].second = pieces.1
    regions[slot].transfers = 0
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
  /// ``maximumPieces``. Status `.accessDenied` for an unknown key or a missing permission, `.outOfBounds` for bytes
  /// outside of the region; nothing is stored then.
  package func resolve(
    _ segment: RemoteSegment, for access: RegionAccess, into slices: UnsafeMutablePointer<Slice>, capacity: Int
  ) -> ResolvedSegment {
    guard let slot = find(segment.key), regions[slot].permissions & access.permission != 0 else {
      return ResolvedSegment(status: .accessDenied)
    }
    let region = UInt64(regions[slot].generation) << 32 | UInt64(slot)
    let first = regions[slot].first
    let second = regions[slot].second
    let count =
      areVirtual
      ? Self.slice(first, at: segment.address, segment.length, slices)
        ?? Self.slice(second, at: segment.address, segment.length, slices)
      : Self.slice(first, second, offset: segment.address, segment.length, slices, capacity)
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

  // MARK: Addresses

  /// Whether no byte of the piece lies beyond the last address.
  private static func isAddressable(_ piece: Slice) -> Bool {
    let length = UInt(bitPattern: piece.count)
    return length == 0 || UInt(bitPattern: piece.base) <= UInt.max - (length - 1)
  }

  /// The part of a piece that begins at a virtual address; nil when it is not wholly in the piece.
  @inline(__always)
  private static func slice(
    _ piece: Slice, at address: UInt64, _ length: UInt64, _ slices: UnsafeMutablePointer<Slice>
  ) -> Int? {
    let base = UInt64(UInt(bitPattern: piece.base))
    let size = UInt64(UInt(bitPattern: piece.count))
    guard address >= base, address - base <= size, length <= size - (address - base) else { return nil }
    return store(piece, skipping: address - base, length, slices)
  }

  /// The parts of two pieces, one behind the other, that begin at an offset.
  @inline(__always)
  private static func slice(
    _ first: Slice, _ second: Slice, offset: UInt64, _ length: UInt64, _ slices: UnsafeMutablePointer<Slice>,
    _ capacity: Int
  ) -> Int? {
    let size = UInt64(UInt(bitPattern: first.count))
    if offset <= size && length <= size - offset { return store(first, skipping: offset, length, slices) }
    let beyond = UInt64(UInt(bitPattern: second.count))
    if offset >= size {
      guard offset - size <= beyond, length <= beyond - (offset - size) else { return nil }
      return store(second, skipping: offset - size, length, slices)
    }
    let part = size - offset
    guard length - part <= beyond, capacity >= 2 else { return nil }
    return store(first, skipping: offset, part, slices) + store(second, skipping: 0, length - part, slices + 1)
  }

  @inline(__always)
  private static func store(
    _ piece: Slice, skipping offset: UInt64, _ length: UInt64, _ slices: UnsafeMutablePointer<Slice>
  ) -> Int {
    if length == 0 { return 0 }
    let address = UInt(bitPattern: piece.base) &+ UInt(offset)
    slices.initialize(
      to: Slice(base: UnsafeMutableRawPointer(bitPattern: address), count: Int(bitPattern: UInt(length))))
    return 1
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
    if untouched == capacity { grow() }
    let slot = untouched
    untouched += 1
    (regions + slot).initialize(to: Region())
    regions[slot].generation = 1
    return slot
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<Region>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: regions, count: capacity)
    regions.deallocate()
    regions = larger
    capacity *= 2
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
