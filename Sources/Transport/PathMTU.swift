/// The largest datagram that the path carries (RFC 8899, datagram packetization layer path MTU discovery).
///
/// Sizes are UDP payload bytes. Data travels in datagrams of `current`, which is only raised when a probe of that size
/// was acknowledged, and falls back to the base when large datagrams vanish while small ones arrive.
package struct PathMTU: BitwiseCopyable {
  /// Tries for one size before it counts as too large (RFC 8899 MAX_PROBES).
  static var maximumProbes: UInt8 { 3 }
  /// Large datagrams lost in a row, none acknowledged between, before the path counts as a black hole.
  static var blackHoleThreshold: UInt8 { 6 }
  /// The search ends when it can gain no more than this.
  static var precision: Int { 32 }
  /// Time until a finished search looks upward again (RFC 8899 PMTU_RAISE_TIMER).
  static var raiseInterval: UInt64 { milliseconds(600_000) }

  package private(set) var current: Int
  private let base: Int
  /// What to look for at most.
  private var target: Int
  /// Smallest size known, or believed, not to fit; above `target` when there is none.
  private var tooLarge: Int
  private var probesLost: UInt8 = 0
  private var largeLost: UInt8 = 0
  /// The large datagram acknowledged last: neither an earlier nor a smaller one was lost for its size.
  private var proven: (number: UInt64, size: Int) = (0, 0)
  /// A probe of this size is under way; 0 when none is.
  package private(set) var probing = 0
  private var raiseAt: Instant = never

  package init(base: Int) {
    self.base = base
    current = base
    target = base
    tooLarge = base + 1
  }

  /// What both ends and the first hop allow is known; the search begins.
  package mutating func start(target: Int) {
    self.target = max(target, base)
    tooLarge = self.target + 1
    probesLost = 0
    raiseAt = never
  }

  /// Size of the probe to send now; nil when the search is over or one is under way.
  package mutating func nextProbe(now: Instant) -> Int? {
    guard probing == 0 else { return nil }
    if now >= raiseAt { start(target: target) }
    guard tooLarge - current > Self.precision || (tooLarge > target && current < target) else {
      if raiseAt == never && current < target { raiseAt = now &+ Self.raiseInterval }
      return nil
    }
    // The whole way first, which is right on most local networks; then halves.
    return tooLarge > target ? target : (current + tooLarge) / 2
  }

  package mutating func onProbeSent(_ size: Int) { probing = size }

  package mutating func onProbeAcknowledged(_ size: Int) {
    probing = 0
    probesLost = 0
    current = max(current, size)
  }

  package mutating func onProbeLost(_ size: Int) {
    // An earlier probe, which the network has already judged.
    guard size == probing else { return }
    probing = 0
    probesLost += 1
    if probesLost >= Self.maximumProbes {
      tooLarge = min(tooLarge, size)
      probesLost = 0
    }
  }

  /// The packet `number`, of `size` bytes, was acknowledged.
  @inline(__always)
  package mutating func onAcknowledged(_ size: Int, number: UInt64) {
    guard size > base else { return }
    largeLost = 0
    if size >= proven.size || number > proven.number &+ 64 { proven = (number, size) }
  }

  /// The packet `number`, of `size` bytes, was lost. Returns true when the path turned out to be a black hole: `current`
  /// fell.
  package mutating func onLost(_ size: Int, number: UInt64) -> Bool {
    guard size > base && current > base else { return false }
    // Losses of one round are noticed together, with what was acknowledged between them behind.
    guard number > proven.number || size > proven.size else { return false }
    largeLost += 1
    guard largeLost >= Self.blackHoleThreshold else { return false }
    reduce(below: size)
    return true
  }

  /// The network said that `size` is the most it carries, 0 if it did not say. Returns true when `current` fell.
  package mutating func onTooBig(_ size: Int) -> Bool {
    guard current > base || probing > 0 else { return false }
    if size >= base {
      // The next probe tries just what the network named.
      target = min(target, size)
      tooLarge = target + 1
      probing = 0
      guard current > size else { return false }
      current = size
      largeLost = 0
      return true
    }
    if probing > 0 {
      tooLarge = min(tooLarge, probing)
      probing = 0
      return false
    }
    reduce(below: current)
    return true
  }

  private mutating func reduce(below size: Int) {
    tooLarge = min(tooLarge, max(size, base + 1))
    current = base
    largeLost = 0
    probesLost = 0
    probing = 0
  }

  /// When to look upward again.
  package var nextTimeout: Instant { raiseAt }
}
