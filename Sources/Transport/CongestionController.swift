/// How many bytes may be in flight: NewReno as in RFC 9002 section 7, behind the five verbs that any successor keeps.
package struct CongestionController: BitwiseCopyable {
  package private(set) var window: Int
  private var slowStartThreshold = Int.max
  /// Losses of packets sent before this moment belong to the event that was already answered.
  private var recoveryStart: Instant = 0
  private var datagramSize: Int
  /// Bytes acknowledged since the window last grew by one datagram.
  private var acknowledged = 0
  /// What to go back to when the losses turn out spurious.
  private var windowBeforeLoss = 0
  private var thresholdBeforeLoss = 0

  package init(datagramSize: Int) {
    self.datagramSize = datagramSize
    window = Self.initialWindow(datagramSize)
  }

  /// More than RFC 9002's ten datagrams: the receiver's socket buffer is a limit of its own here.
  private static func initialWindow(_ datagramSize: Int) -> Int { max(32 * datagramSize, 128 * 1024) }
  private var minimumWindow: Int { max(2 * datagramSize, 16 * 1024) }

  /// The path carries datagrams of another size now.
  package mutating func setDatagramSize(_ size: Int) {
    datagramSize = size
    window = max(window, minimumWindow)
  }

  /// Bytes that were sent at `sentTime` have been acknowledged. `isLimited` tells whether the window was in use.
  package mutating func onAcknowledged(_ bytes: Int, sentTime: Instant, isLimited: Bool) {
    guard sentTime > recoveryStart || recoveryStart == 0, isLimited else { return }
    if window < slowStartThreshold {
      window += bytes
      return
    }
    acknowledged += bytes
    if acknowledged >= window {
      acknowledged -= window
      window += datagramSize
    }
  }

  /// Packets were lost, the latest of them sent at `sentTime`.
  package mutating func onLoss(sentTime: Instant, now: Instant) {
    guard sentTime > recoveryStart || recoveryStart == 0 else { return }
    recoveryStart = now
    windowBeforeLoss = window
    thresholdBeforeLoss = slowStartThreshold
    window = max(window * 7 / 10, minimumWindow)
    slowStartThreshold = window
    acknowledged = 0
  }

  /// A packet that was given up had arrived after all: the network was late, not lossy.
  package mutating func onSpuriousLoss(sentTime: Instant) {
    guard windowBeforeLoss > window, sentTime <= recoveryStart else { return }
    window = windowBeforeLoss
    slowStartThreshold = thresholdBeforeLoss
    windowBeforeLoss = 0
  }

  /// Nothing came back for so long that what is known of the path is void (RFC 9002 section 7.6).
  package mutating func onPersistentCongestion() {
    slowStartThreshold = max(window / 2, minimumWindow)
    window = minimumWindow
    recoveryStart = 0
    acknowledged = 0
  }
}
