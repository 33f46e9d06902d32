import CFabric
import Transport

// What endpoints with counters do besides completing operations; receives count in their context. Others pay one branch on a constant of the port.
extension Port {
  @inline(__always)
  private var counters: BoundCounters { binding.counters }

  /// An operation of this side has ended: `flags` are those of its completion.
  @inline(never)
  func countOperation(_ flags: UInt64, _ bytes: UInt64, isError: Bool) {
    guard let counter = counters.counter(of: flags) else { return }
    counter._withUnsafeGuaranteedRef { if isError { $0.countError() } else { $0.count(bytes) } }
  }

  /// A peer's write, or an atomic operation that returns nothing, is in place in the regions of `transfer`.
  @inline(never)
  func countRemoteWrite(_ transfer: RegionTransfer, _ bytes: UInt64) {
    counters.remoteWrite?._withUnsafeGuaranteedRef { $0.count(bytes) }
    countAccess(transfer, .write)
  }

  /// A peer's read, or an atomic operation that returns something, was answered from the regions of `transfer`.
  ///
  /// For the regions an atomic operation is what it does to them: they are written to by all but pure reads.
  @inline(never)
  func countRemoteRead(_ transfer: RegionTransfer, _ bytes: UInt64, as access: RegionAccess = .read) {
    counters.remoteRead?._withUnsafeGuaranteedRef { $0.count(bytes) }
    countAccess(transfer, access)
  }

  /// The counters of the regions themselves: one event for each region, however many segments of it were named.
  private func countAccess(_ transfer: RegionTransfer, _ access: RegionAccess) {
    for index in 0..<Int(transfer.count) where transfer.isFirstUse(index) {
      let bytes = transfer.bytes(of: transfer[index])
      binding.domain._withUnsafeGuaranteedRef { $0.regions.countAccess(transfer[index], access, bytes) }
    }
  }
}
