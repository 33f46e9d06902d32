/// How many bytes may be in flight. The shape is that of RFC 9002 section 7: slow start, avoidance, one response for
/// each round, a collapse when congestion persists. What differs is when loss counts as congestion.
///
/// A network loses datagrams at random, too, and a window that is cut for each of them starves (Mathis: 1 % leaves a
/// dozen datagrams in flight). As in BBR version 3 (draft-ietf-ccwg-bbr, BBRLossThresh), loss is answered when more
/// than 2 % are lost, a share that is taken over some hundred packets. Round trips tell the rest: while they show no
/// queue, it takes 8 %, since what overflows nowhere was lost otherwise, or met a policer; and while a queue visibly
/// stands, any loss is taken for its overflow, and the window is cut for it as long as it is more than a burst. Unless
/// as much is lost while none stands: then loss comes from elsewhere.
package struct CongestionController: BitwiseCopyable {
  package private(set) var window: Int
  private var slowStartThreshold = Int.max
  /// Losses of packets sent before this moment belong to the event that was already answered.
  private var recoveryStart: Instant = 0
  private var datagramSize: Int
  /// Bytes acknowledged, and packets lost, since the window last grew in avoidance.
  private var acknowledged = 0
  private var lost = 0
  /// Bytes that the next round without a response adds: a datagram at first, then twice as many each time.
  private var increment: Int

  private var share = LossShare()
  /// The same, of packets of times without a long queue.
  private var calmShare = LossShare()

  // What round trips say.
  private var hasNoQueue = true
  private var hasLongQueue = false
  /// Of 256 bytes in flight, those that do not stand in queues.
  private var moving = 256

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

  /// What may be in flight whatever round trips say.
  private var burst: Int { max(8 * datagramSize, 32 * 1024) }

  /// Loss is congestion when more than one of so many packets is lost (BBRLossThresh, 2 %).
  private static var bearableLoss: Int { 50 }
  /// The same while there is no queue.
  private static var bearableWithoutQueue: Int { 12 }
  /// Loss at random, of more than one of so many packets, happens without a queue.
  private static var randomLoss: Int { 200 }
  /// Shorter queueing is none.
  private static var shortQueueing: UInt64 { microseconds(20) }
  /// Longer queueing is a queue's. Or a host's whose processors are busy: whence `burst`.
  private static var longQueueing: UInt64 { microseconds(100) }

  /// The path carries datagrams of another size now.
  package mutating func setDatagramSize(_ size: Int) {
    datagramSize = size
    increment = max(increment, size)
    window = max(window, minimumWindow)
  }

  /// What round trips say now: `queueing` is by how much the recent ones exceed the shortest, which is `shortest`.
  package mutating func onRoundTrips(queueing: UInt64, shortest: UInt64) {
    guard shortest != .max else { return }
    hasNoQueue = queueing <= max(Self.shortQueueing, shortest / 4)
    hasLongQueue = queueing > max(Self.longQueueing, shortest / 2)
    moving = Int(256 * shortest / (shortest + queueing))
  }

  /// Counts a packet whose fate is known.
  @inline(__always)
  private mutating func count(lost: Int) {
    share.count(1, lost: lost)
    if !hasLongQueue { calmShare.count(1, lost: lost) }
  }

  /// A packet of `bytes`, sent at `sentTime`, has been acknowledged. `isLimited` tells whether the window was in use.
  package mutating func onAcknowledged(_ bytes: Int, sentTime: Instant, isLimited: Bool) {
    count(lost: 0)
    guard sentTime > recoveryStart || recoveryStart == 0, isLimited else { return }
    if window < slowStartThreshold {
      window += bytes
      return
    }
    acknowledged += bytes
    guard acknowledged >= window else { return }
    acknowledged -= window
    // Of a path that loses more than is bearable a little less is asked: whoever has most is to make room for others.
    let isFull = lost * Self.bearableLoss * datagramSize > window
    lost = 0
    guard !isFull else {
      window = min(window, max(window - window / 16, burst))
      slowStartThreshold = min(window, slowStartThreshold)
      return
    }
    window += increment
    // BBRRaiseInflightLongtermSlope, with bounds: what was too much shall not be far too much, and whoever has the smaller
    // window shall catch up.
    increment = min(2 * increment, min(max(window / 16, datagramSize), 8 * datagramSize))
  }

  /// A packet sent at `sentTime` was lost.
  package mutating func onLoss(sentTime: Instant, now: Instant) {
    guard sentTime > recoveryStart || recoveryStart == 0 else { return }
    count(lost: 1)
    lost += 1
    let isTooMuch = share.exceeds(oneOf: hasNoQueue ? Self.bearableWithoutQueue : Self.bearableLoss)
    let overflows = hasLongQueue && window > burst && !calmShare.exceeds(oneOf: Self.randomLoss)
    guard isTooMuch || overflows else { return }
    remember()
    // Doubling each round, the window may have reached twice of what fits.
    let reduced = window < slowStartThreshold ? window / 2 : window * 7 / 10
    // What stands in queues, be it this host's own, is no use to anybody; twice of what is on the way is enough (BBR's
    // gain of the window).
    window = max(min(reduced, max(window / 128 * moving, burst)), minimumWindow)
    slowStartThreshold = window
    if isTooMuch { calmShare = LossShare() }
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
    lost = 0
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
    calmShare = LossShare()
    slowStartThreshold = max(window / 2, minimumWindow)
    window = minimumWindow
    beginAgain(now)
  }
}
