/// How many bytes may be in flight. The shape is that of RFC 9002 section 7: slow start, avoidance, one response for
/// each round, a collapse when congestion persists. What differs is when loss counts as congestion.
///
/// A network loses datagrams at random, too, and a window that is cut for each of them starves (Mathis: 1 % leaves a
/// dozen datagrams in flight). As in BBR version 3 (draft-ietf-ccwg-bbr, BBRLossThresh), loss is answered when more
/// than 2 % are lost, a share that is taken over some hundred packets. Round trips tell the rest: while they show no
/// queue, it takes 8 %, since what overflows nowhere was lost otherwise, or met a policer; and while a queue visibly
/// stands, any loss is taken for its overflow, and the window is cut for it as long as it is more than a burst.
package struct CongestionController: BitwiseCopyable {
  package private(set) var window: Int
  private var slowStartThreshold = Int.max
  /// Losses of packets sent before this moment belong to the event that was already answered.
  private var recoveryStart: Instant = 0
  private var datagramSize: Int
  /// Bytes acknowledged since the window last grew in avoidance.
  private var acknowledged = 0
  /// Bytes that the next round without a response adds: a datagram at first, then twice as many each time.
  private var increment: Int

  private var share = LossShare()

  // What to go back to when the losses turn out spurious, and how many have to.
  private var windowBeforeLoss = 0
  private var thresholdBeforeLoss = 0
  private var spuriousLeft = 0

  package init(datagramSize: Int) {
    self.datagramSize = datagramSize
    window = Self.initialWindow(datagramSize)
    increment = datagramSize
  }

  /// More than RFC 9002's ten datagrams: the receiver's socket buffer is a limit of its own here.
  private static func initialWindow(_ datagramSize: Int) -> Int { max(32 * datagramSize, 128 * 1024) }
  /// RFC 9002 kMinimumWindow: many senders to one receiver may have no more than that each.
  private var minimumWindow: Int { 2 * datagramSize }

  /// Loss is congestion when more than one of so many packets is lost (BBRLossThresh, 2 %).
  private static var bearableLoss: Int { 50 }
  /// The same while there is no queue.
  private static var bearableWithoutQueue: Int { 12 }
  /// Shorter queueing is none.
  private static var shortQueueing: UInt64 { microseconds(20) }
  /// Longer queueing is a queue's, not a host's whose processors are busy.
  private static var longQueueing: UInt64 { milliseconds(1) }

  /// The path carries datagrams of another size now.
  package mutating func setDatagramSize(_ size: Int) {
    datagramSize = size
    increment = max(increment, size)
    window = max(window, minimumWindow)
  }

  /// A packet of `bytes`, sent at `sentTime`, has been acknowledged. `isLimited` tells whether the window was in use.
  package mutating func onAcknowledged(_ bytes: Int, sentTime: Instant, isLimited: Bool) {
    share.count(1, lost: 0)
    guard sentTime > recoveryStart || recoveryStart == 0, isLimited else { return }
    if window < slowStartThreshold {
      window += bytes
      return
    }
    acknowledged += bytes
    guard acknowledged >= window else { return }
    acknowledged -= window
    window += increment
    // BBRRaiseInflightLongtermSlope, with a bound: what was too much shall not be far too much.
    increment = min(2 * increment, max(window / 16, datagramSize))
  }

  /// A packet sent at `sentTime` was lost. `queueing` is by how much recent round trips exceed the shortest, `shortest`.
  package mutating func onLoss(sentTime: Instant, now: Instant, queueing: UInt64, shortest: UInt64) {
    guard sentTime > recoveryStart || recoveryStart == 0 else { return }
    share.count(1, lost: 1)
    let isFree = queueing <= max(Self.shortQueueing, shortest / 4)
    let hasQueue = queueing > max(Self.longQueueing, shortest / 2) && window > Self.initialWindow(datagramSize)
    guard hasQueue || share.exceeds(oneOf: isFree ? Self.bearableWithoutQueue : Self.bearableLoss) else { return }
    remember()
    // Doubling each round, the window may have reached twice of what fits.
    window = max(window < slowStartThreshold ? window / 2 : window * 7 / 10, minimumWindow)
    slowStartThreshold = window
    beginAgain(now)
  }

  private mutating func remember() {
    windowBeforeLoss = window
    thresholdBeforeLoss = slowStartThreshold
    spuriousLeft = (share.losses + 1) / 2
  }

  private mutating func beginAgain(_ now: Instant) {
    recoveryStart = now
    acknowledged = 0
    increment = datagramSize
    share = LossShare()
  }

  /// A packet that was given up had arrived after all: the network was late, not lossy. When that is so for half of the
  /// losses that were answered, the answer is taken back.
  package mutating func onSpuriousLoss(sentTime: Instant) {
    share.takeBack()
    guard windowBeforeLoss > window, sentTime <= recoveryStart else { return }
    spuriousLeft -= 1
    guard spuriousLeft <= 0 else { return }
    window = windowBeforeLoss
    slowStartThreshold = thresholdBeforeLoss
    windowBeforeLoss = 0
  }

  /// All that was sent over some probe timeouts was lost: what is known of the path is void (RFC 9002 section 7.6).
  package mutating func onPersistentCongestion(now: Instant) {
    remember()
    slowStartThreshold = max(window / 2, minimumWindow)
    window = minimumWindow
    beginAgain(now)
  }
}
