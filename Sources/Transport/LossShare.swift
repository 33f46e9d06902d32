/// Which share of the packets of late was lost.
struct LossShare: BitwiseCopyable {
  private(set) var packets = 0
  private(set) var losses = 0

  /// Fewer losses prove nothing.
  private static var fewestLosses: Int { 4 }
  /// Packets over which the share is taken, at most; half as many at least.
  private static var memory: Int { 4_096 }

  /// Counts packets. Old ones lose weight.
  @inline(__always)
  mutating func count(_ number: Int, lost: Int) {
    packets += number
    losses += lost
    if packets >= Self.memory {
      packets /= 2
      losses /= 2
    }
  }

  /// One of those that counted as lost was not.
  mutating func takeBack() { losses = max(losses - 1, 0) }

  /// Whether more than one of `bearable` packets is lost. A share that is bearable on average must be exceeded by three
  /// standard deviations, since a few packets say little.
  func exceeds(oneOf bearable: Int) -> Bool {
    let excess = losses * bearable - packets
    return losses >= Self.fewestLosses && excess > 0 && excess * excess >= 9 * packets * bearable
  }
}
