/// Round-trip time of a path, the peer's wait before it acknowledges included (RFC 9002 section 5).
///
/// RFC 9002 subtracts from each sample what the peer says it waited, and adds the most it may wait to its timers. Here a
/// peer that is idle does not wait at all, and one that is busy often does: timers that know how long the answers of late
/// took are shorter in the first case and long enough in the second.
package struct RTTEstimator: BitwiseCopyable {
  /// Assumed before the first sample: a data centre's, not the Internet's 333 ms.
  static var initial: UInt64 { milliseconds(10) }
  /// Below this no timer is trusted (RFC 9002 kGranularity): about what a sleeping process takes to wake. A peer that is
  /// descheduled for longer costs a few small probes, no more.
  static var granularity: UInt64 { microseconds(50) }
  /// How long the shortest round trip counts (draft-ietf-ccwg-bbr, MinRTTFilterLen).
  private static var memory: UInt64 { milliseconds(10_000) }

  package private(set) var smoothed: UInt64 = initial
  package private(set) var variation: UInt64 = initial / 2
  package private(set) var latest: UInt64 = 0
  package private(set) var hasSample = false

  // The shortest of the span of `memory` that is going on, and of the one before.
  private var shortest: UInt64 = .max
  private var shortestBefore: UInt64 = .max
  private var spanStart: Instant = 0

  // The shortest of the round trip that is going on, and of the one before.
  private var roundShortest: UInt64 = .max
  private var roundShortestBefore: UInt64 = .max
  private var roundStart: Instant = 0

  package init() {}

  /// The shortest round trip of late; `UInt64.max` before the first sample.
  package var minimum: UInt64 { min(shortest, shortestBefore) }

  /// How long queues hold packets up: by how much the shortest of the last two rounds exceeds the shortest of late. What
  /// made some packets late only, a busy host say, does not count.
  package var queueing: UInt64 {
    let recent = min(roundShortest, roundShortestBefore)
    let minimum = minimum
    return recent == .max || recent < minimum ? 0 : recent - minimum
  }

  /// Takes a sample.
  package mutating func update(_ sample: UInt64, now: Instant) {
    latest = sample
    noteShortest(sample, now: now)
    guard hasSample else {
      hasSample = true
      smoothed = sample
      variation = sample / 2
      return
    }
    let difference = smoothed > sample ? smoothed - sample : sample - smoothed
    variation = (3 * variation + difference) / 4
    smoothed = (7 * smoothed + sample) / 8
  }

  private mutating func noteShortest(_ sample: UInt64, now: Instant) {
    if now &- spanStart >= Self.memory {
      shortestBefore = spanStart == 0 ? .max : shortest
      shortest = .max
      spanStart = now
    }
    shortest = min(shortest, sample)
    if now &- roundStart >= smoothed {
      roundShortestBefore = roundShortest
      roundShortest = .max
      roundStart = now
    }
    roundShortest = min(roundShortest, sample)
  }

  /// How long to wait for an acknowledgement before a probe is sent (RFC 9002 section 6.2.1).
  package var probeTimeout: UInt64 { smoothed + max(4 * variation, Self.granularity) }

  /// How much later than an acknowledged packet a packet may be before it is lost (RFC 9002 section 6.1.2).
  package var lossDelay: UInt64 { max(max(smoothed, latest) * 9 / 8, Self.granularity) }
}
