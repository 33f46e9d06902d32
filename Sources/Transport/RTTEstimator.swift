/// Round-trip time of a path (RFC 9002 section 5).
package struct RTTEstimator: BitwiseCopyable {
  /// Assumed before the first sample: a data centre's, not the Internet's 333 ms.
  static var initial: UInt64 { milliseconds(10) }
  /// Below this no timer is trusted: a peer may be descheduled for that long (RFC 9002 kGranularity).
  static var granularity: UInt64 { milliseconds(1) }

  package private(set) var smoothed: UInt64 = initial
  package private(set) var variation: UInt64 = initial / 2
  package private(set) var minimum: UInt64 = .max
  package private(set) var latest: UInt64 = 0
  package private(set) var hasSample = false

  package init() {}

  /// Takes a sample. `ackDelay` is what the peer says it held the acknowledgement back.
  package mutating func update(_ sample: UInt64, ackDelay: UInt64) {
    latest = sample
    minimum = min(minimum, sample)
    guard hasSample else {
      hasSample = true
      smoothed = sample
      variation = sample / 2
      return
    }
    // A delay that would undercut the minimum is not believed.
    let adjusted = sample >= minimum &+ ackDelay ? sample - ackDelay : sample
    let difference = smoothed > adjusted ? smoothed - adjusted : adjusted - smoothed
    variation = (3 * variation + difference) / 4
    smoothed = (7 * smoothed + adjusted) / 8
  }

  /// How long to wait for an acknowledgement before a probe is sent (RFC 9002 section 6.2.1).
  package func probeTimeout(maximumAckDelay: UInt64) -> UInt64 {
    smoothed + max(4 * variation, Self.granularity) + maximumAckDelay
  }

  /// How much later than an acknowledged packet a packet may be before it is lost (RFC 9002 section 6.1.2).
  package var lossDelay: UInt64 { max(max(smoothed, latest) * 9 / 8, Self.granularity) }
}
