/// What a ``UDPSocket`` does on purpose to the datagrams it receives, so that programs can be tested on a bad network.
///
/// Each datagram is judged by itself, also where the kernel hands over many in one buffer. Probabilities are in parts per
/// billion, times in nanoseconds.
package struct FaultPlan: Equatable, Sendable {
  /// Probability that a datagram is lost.
  package var loss: UInt32 = 0
  /// Probability that it arrives twice.
  package var duplication: UInt32 = 0
  /// Probability that it is held back until one to eight later ones have passed, a millisecond at most.
  package var reordering: UInt32 = 0
  /// How long every datagram takes beyond its real way. On its own it keeps their order.
  package var delay: UInt64 = 0
  /// Up to how much longer each takes besides, evenly distributed; datagrams may overtake each other.
  package var jitter: UInt64 = 0
  /// Equal seeds give equal fates to the first, second, … datagram of the first, second, … socket of a process.
  package var seed: UInt64 = 0

  package init() {}

  /// The probability 1.
  package static var always: UInt32 { 1_000_000_000 }

  /// Whether there is anything to do.
  package var isActive: Bool { loss | duplication | reordering != 0 || delay | jitter != 0 }
}
