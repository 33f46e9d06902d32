import Containers
import Transport

/// A transfer of a peer that was accepted and the regions it uses, up to four, possibly equal ones.
struct RegionTransfer: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  private(set) var count: UInt32 = 0
  private var regions = InlineArray<4, UInt64>(repeating: 0)
  private var lengths = InlineArray<4, UInt64>(repeating: 0)

  /// Another region, with so many bytes of the transfer.
  mutating func append(_ region: UInt64, _ length: UInt64) {
    regions[Int(count)] = region
    lengths[Int(count)] = length
    count += 1
  }

  subscript(index: Int) -> UInt64 { regions[index] }

  func uses(_ region: UInt64) -> Bool {
    for index in 0..<Int(count) where regions[index] == region { return true }
    return false
  }

  /// Whether the region at `index` is none of those before it.
  func isFirstUse(_ index: Int) -> Bool {
    for earlier in 0..<index where regions[earlier] == regions[index] { return false }
    return true
  }

  /// Bytes of the transfer that are in a region.
  func bytes(of region: UInt64) -> UInt64 {
    var total: UInt64 = 0
    for index in 0..<Int(count) where regions[index] == region { total += lengths[index] }
    return total
  }
}

/// Accepted transfers of peers to and from memory regions, so that fi_close of a region finds those it ends. Transfers
/// that fit one packet are over at once and never get here.
///
/// Not thread-safe; the owner serializes.
struct RegionTransferTable: ~Copyable {
  private var slab: Slab<RegionTransfer>
  private var active = IndexList()

  init(capacity: Int) { slab = Slab(capacity: capacity) }

  /// Takes note of a transfer and counts it at each of its regions; nil when there is no room.
  mutating func begin(_ transfer: RegionTransfer, in domain: Unmanaged<Domain>) -> Cookies? {
    guard let index = slab.allocate() else { return nil }
    slab[index].initialize(to: transfer)
    active.append(index, in: slab)
    for position in 0..<Int(transfer.count) {
      domain._withUnsafeGuaranteedRef { $0.regions.beginTransfer(transfer[position]) }
    }
    return TransferName.regions(index)
  }

  /// The transfer that goes by a name.
  subscript(cookie: Cookies) -> RegionTransfer { slab[TransferName.index(cookie)].pointee }

  /// The transfer is over, or was aborted.
  mutating func end(_ cookie: Cookies, in domain: Unmanaged<Domain>) { end(TransferName.index(cookie), in: domain) }

  private mutating func end(_ index: UInt32, in domain: Unmanaged<Domain>) {
    let transfer = slab[index].pointee
    for position in 0..<Int(transfer.count) {
      domain._withUnsafeGuaranteedRef { $0.regions.endTransfer(transfer[position]) }
    }
    active.remove(index, in: slab)
    slab.free(index)
  }

  /// Forgets all transfers: the endpoint goes away and no byte of them will move any more.
  mutating func endAll(in domain: Unmanaged<Domain>) {
    while !active.isEmpty { end(active.first, in: domain) }
  }

  /// Calls `body` with the name of each transfer that uses `region`.
  func forEachTransfer(using region: UInt64, _ body: (Cookies) -> Void) {
    var index = active.first
    while index != .max {
      let next = slab[index].pointee.next
      if slab[index].pointee.uses(region) { body(TransferName.regions(index)) }
      index = next
    }
  }
}
