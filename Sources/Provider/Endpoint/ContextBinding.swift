import CFabric

/// Where one context of a scalable endpoint tells of its operations: a completion queue and counters. The engine's lock is
/// held.
struct ContextBinding {
  private(set) var queue: CompletionQueue?
  private(set) var counters = BoundCounters()
  /// Completions only for operations that ask for one (FI_SELECTIVE_COMPLETION).
  private(set) var isSelective = false
  /// Takes the place of a queue where operations are only counted.
  private var discarding: CompletionQueue?

  /// Binds the queue, with room for `entries` more. Throws FI_EBADFLAGS for other flags than those of fi_ep_bind,
  /// FI_EINVAL without `direction` among them, or where a queue is bound already.
  mutating func bind(
    _ queue: CompletionQueue, flags: UInt64, direction: UInt64, entries: Int
  ) throws(FabricError) {
    guard flags & ~(FI_TRANSMIT | FI_RECV | FI_SELECTIVE_COMPLETION) == 0 else {
      throw Self.refuse("unknown flags with a completion queue", .badFlags)
    }
    guard flags & direction != 0 else { throw Self.refuse("the context has no such direction") }
    guard self.queue == nil else { throw Self.refuse("a completion queue is bound already") }
    isSelective = flags & FI_SELECTIVE_COMPLETION != 0
    adopt(queue, entries: entries)
  }

  /// Binds a counter to the kinds of operations in `flags`. Throws FI_EBADFLAGS for others than `kinds`, FI_EINVAL where
  /// one has its counter already.
  mutating func bind(_ counter: Counter, flags: UInt64, kinds: UInt64) throws(FabricError) {
    guard flags & ~kinds == 0 else { throw Self.refuse("the context has no such operations to count", .badFlags) }
    if counters.overlaps(flags) { throw Self.refuse("a counter is bound already") }
    counters.bind(counter, flags: flags)
  }

  /// The queue; one that nobody reads where counters make up for it, or where the context has no operations of its own and
  /// is there for what peers do to memory. Throws FI_ENOCQ where operations would end untold.
  mutating func complete(
    in domain: Domain, entries: Int, hasOperations: Bool
  ) throws(FabricError) -> CompletionQueue {
    if let queue { return queue }
    if counters.isEmpty && hasOperations {
      throw FabricError.noCompletionQueue.because(
        .endpointControl, "neither a queue nor a counter is bound", in: "fi_enable")
    }
    let queue = CompletionQueue(discardingIn: domain)
    isSelective = true
    discarding = queue
    adopt(queue, entries: entries)
    return queue
  }

  private mutating func adopt(_ queue: CompletionQueue, entries: Int) {
    self.queue = queue
    queue.addBinding()
    queue.grow(by: entries)
  }

  /// Lets all go; the queue that nobody reads stays until the owner does.
  mutating func unbind() {
    queue?.removeBinding()
    queue = nil
    counters.unbindAll()
  }

  static func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.endpointControl, reason, in: "fi_ep_bind")
  }
}
