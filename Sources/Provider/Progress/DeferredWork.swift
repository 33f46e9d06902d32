import CFabric
import Packet
import Transport

/// An operation that waits for a counter: a triggered one, which then goes its way as if it had been posted just then, or
/// work queued to the domain, which tells a counter of its own when it is done.
///
/// All that describes it is copied; the memory that it sends or receives is not touched before it starts. Protected by the
/// engine's lock once it is queued.
///
/// Man page: fi_trigger(3)
package final class DeferredWork {
  package enum Action {
    case send, read, write, atomic, receive, setCounter, addToCounter
  }

  package let action: Action
  /// What the program calls it: the address of its fi_deferred_work, or of its triggered context.
  let name: UInt
  /// Queued to the domain, not triggered by a flag.
  let isQueued: Bool
  let trigger: Counter
  let threshold: UInt64
  let completion: Counter?

  /// Where it starts. The endpoint takes its work back before it goes away.
  package var sender: Sender?
  package var receiver: Unmanaged<ReceiveContext>?
  /// Of a counter operation: which one, and the value.
  package var target: Counter?
  package var value: UInt64 = 0

  /// Of an atomic operation: what is done, and how many of the slices are operands; the others are for results.
  package var request: AtomicRequest?
  package var operandCount = 0

  /// FI_MSG or FI_TAGGED, of messages.
  package var kind: UInt64 = 0
  package var address: UInt64 = 0
  package var tag: UInt64 = 0
  package var ignore: UInt64 = 0
  package var data: UInt64 = 0
  /// The program's context, and the operation's flags with the endpoint's own merged in.
  package var context: UInt = 0
  package var flags: UInt64 = 0
  private let slices: UnsafeMutablePointer<Slice>
  private let sliceCount: Int
  private let segments: UnsafeMutablePointer<RemoteSegment>
  let segmentCount: Int

  // In the queue.
  var next: Unmanaged<DeferredWork>?
  var previous: Unmanaged<DeferredWork>?
  var state = State.waiting

  enum State {
    /// The counter has not reached the threshold.
    case waiting
    /// It has, and there was no room to start.
    case blocked
    case started
  }

  /// `completion` counts the end of work that is queued to the domain.
  package init(
    _ action: Action, name: UInt, isQueued: Bool, when trigger: Counter, reaches threshold: UInt64,
    completion: Counter? = nil, _ pieces: Pieces? = nil, at segments: UnsafePointer<RemoteSegment>? = nil,
    segmentCount: Int = 0
  ) {
    self.action = action
    self.name = name
    self.isQueued = isQueued
    self.trigger = trigger
    self.threshold = threshold
    self.completion = completion
    sliceCount = pieces?.count ?? 0
    slices = .allocate(capacity: max(sliceCount, 1))
    if let pieces { slices.initialize(from: pieces.first, count: sliceCount) }
    self.segmentCount = segmentCount
    self.segments = .allocate(capacity: max(segmentCount, 1))
    if let segments { self.segments.initialize(from: segments, count: segmentCount) }
  }

  deinit {
    slices.deallocate()
    segments.deallocate()
  }

  var pieces: Pieces { Pieces(UnsafePointer(slices), sliceCount) }
  var operands: Pieces { Pieces(UnsafePointer(slices), operandCount) }
  var results: Pieces { Pieces(UnsafePointer(slices + operandCount), sliceCount - operandCount) }
  var remoteSegments: UnsafePointer<RemoteSegment> { UnsafePointer(segments) }

  /// Bytes that its completion counter counts.
  var length: Int {
    guard action == .atomic else { return pieces.length }
    var total: UInt64 = 0
    for index in 0..<segmentCount { total &+= segments[index].length }
    return Int(truncatingIfNeeded: total)
  }

  /// What its completion will know of it: of queued work, the work itself.
  func reported(_ kind: UInt64) -> OperationContext {
    let kind = kind | (sender?.number ?? 0)
    return isQueued
      ? OperationContext(context: UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque()), flags: kind | FI_TRIGGER)
      : OperationContext(context: context, flags: kind | flags & FI_COMPLETION)
  }

  /// The queued work that an operation's context names.
  static func of(_ context: UInt) -> DeferredWork {
    Unmanaged<DeferredWork>.fromOpaque(UnsafeRawPointer(bitPattern: context).unsafelyUnwrapped).takeUnretainedValue()
  }

  /// Whether it starts at a port, in a receive context of its own, or in one of its transmit contexts.
  func isAt(_ port: Port) -> Bool {
    let place = Unmanaged.passUnretained(port).toOpaque()
    if let receiver {
      return receiver._withUnsafeGuaranteedRef { !$0.isShared && $0.port?.toOpaque() == place }
    }
    return sender?.port.toOpaque() == place
  }

  /// Whether it starts in one transmit context of a port.
  func isAt(_ port: Port, _ number: UInt64) -> Bool { sender?.number == number && isAt(port) }

  func isAt(_ context: ReceiveContext) -> Bool {
    receiver?.toOpaque() == Unmanaged.passUnretained(context).toOpaque()
  }

  /// Whether the same may have kept another from starting.
  func startsWhere(_ other: DeferredWork) -> Bool {
    sender?.port.toOpaque() == other.sender?.port.toOpaque() && sender?.number == other.sender?.number
      && receiver?.toOpaque() == other.receiver?.toOpaque()
  }
}

extension DeferredWork {
  /// The flags of its completion.
  var completionFlags: UInt64 {
    switch action {
    case .send: kind | FI_SEND
    case .receive: kind | FI_RECV
    case .read: FI_RMA | FI_READ
    case .write: FI_RMA | FI_WRITE
    case .atomic: request.unsafelyUnwrapped.completionFlags
    case .setCounter, .addToCounter: 0
    }
  }
}
