import CFabric
import Datagram
import Transport

// What ports of scalable endpoints do for their contexts; others get here in no call.
extension Port {
  private func withContexts<Result>(_ body: (ContextTable) -> Result) -> Result {
    contexts.unsafelyUnwrapped._withUnsafeGuaranteedRef(body)
  }

  // MARK: Transmit contexts

  @inline(never)
  func reserve(inContext number: UInt64) -> Bool {
    withContexts { $0.transmit(number)?._withUnsafeGuaranteedRef { $0.reserve() } ?? false }
  }

  @inline(never)
  func unreserve(inContext number: UInt64) {
    withContexts { $0.transmit(number)?._withUnsafeGuaranteedRef { $0.unreserve() } }
  }

  /// An operation of a context has ended, or one that its context has given up.
  @inline(never)
  func contextOperationEnded(_ operation: OperationContext, _ event: UnsafePointer<Event>) {
    guard let context = withContexts({ $0.transmit(operation.number) }) else { return }
    outstanding &-= 1
    context._withUnsafeGuaranteedRef { $0.ended(operation, event.pointee.length, event.pointee.status) }
  }

  /// Ends an operation that no counter of its endpoint or context counts.
  func endUncounted(_ operation: OperationContext, _ status: TransportStatus) {
    guard operation.number != 0 else { return end(operation, status) }
    guard let context = withContexts({ $0.transmit(operation.number) }) else { return }
    outstanding &-= 1
    context._withUnsafeGuaranteedRef { $0.endUncounted(operation, status) }
  }

  /// Where operations of a context are told, or those that have none; nil for one that is closed.
  func queue(ofContext number: UInt64) -> Unmanaged<CompletionQueue>? {
    guard number != 0 else { return binding.transmitQueue }
    return withContexts { $0.transmit(number) }?._withUnsafeGuaranteedRef { $0.queue }
  }

  /// Lets `count` operations of a context go on without it, and without the program's memory.
  func disown(_ number: UInt64, count: Int) {
    if !batch.isEmpty && !sendBatch(Clock.now()) { dropBatch() }
    transport.disown(as: Cookies(0, OperationContext.nobody)) { OperationContext($0).number == number }
    outstanding &-= count
  }

  // MARK: Receive contexts

  /// Where messages for a context meet their receives; nil for one that there is not.
  func receiver(_ number: UInt16) -> Unmanaged<ReceiveContext>? {
    guard let contexts else { return number == 0 ? context : nil }
    return contexts._withUnsafeGuaranteedRef { $0.receiver(number, of: self) }
  }

  /// The context, possibly closed, that a transfer's name was made with.
  func receiver(named name: UInt64) -> Unmanaged<ReceiveContext>? { withContexts { $0.receiver(named: name) } }

  /// Opens a context, which the endpoint has. The first one also tells of peers' access to memory.
  func open(
    _ index: Int, _ queue: CompletionQueue, _ counters: BoundCounters, _ options: EndpointOptions
  ) -> Unmanaged<ReceiveContext>? {
    let context = receiver(UInt16(index))
    context?._withUnsafeGuaranteedRef {
      $0.open(.passUnretained(queue), counters.receive, options)
      guard index == 0 else { return }
      tellRemoteAccess(counters, isTold: options.capabilities & FI_REMOTE_WRITE != 0)
      if takesRemoteWrites { needSpareCompletion(for: $0) }
    }
    return context
  }

  /// Closes a context: nothing touches the memory of its receives any more.
  func close(_ context: Unmanaged<ReceiveContext>) {
    context._withUnsafeGuaranteedRef { closing in
      if closing.number == 0 { tellRemoteAccess(BoundCounters(), isTold: false) }
      closing.end(in: binding.receiveQueue)
      let now = Clock.now()
      let name = closing.name
      transport.abortTransfers(now: now) { $0.second == name }
      drain(now)
      if transport.wantsTransmit { flush(now) }
    }
    withContexts { $0.retire(context) }
  }

  // MARK: Room for completions

  /// A context has completions from now on that nobody sets room aside for.
  func needSpareCompletion(for context: ReceiveContext) {
    needsSpareCompletion = true
    guard contexts != nil else { return }
    context.needsSpareCompletion = true
    // That of this one is missing.
    hasSpareCompletion = false
  }

  /// Sees to it that all contexts have room that need it; false when one of their queues has none.
  func findSpareCompletions() -> Bool {
    hasSpareCompletion = true
    withContexts {
      $0.forEachReceiver { context in
        guard context.needsSpareCompletion else { return }
        if context.findRoom() { context.takeBacklog() }
        if !context.findRoom() { hasSpareCompletion = false }
      }
    }
    return hasSpareCompletion
  }

  /// Where a write is told that brings data: the queue of the first context.
  @inline(never)
  func takeContextWriteQueue() -> Unmanaged<CompletionQueue> {
    guard let first = receiver(0) else { return binding.receiveQueue }
    return first._withUnsafeGuaranteedRef {
      spendSpareCompletion(of: $0)
      return $0.queue ?? binding.receiveQueue
    }
  }
}
