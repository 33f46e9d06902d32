import CFabric
import Transport

/// All work of a domain that waits for counters, or for its end. Protected by the engine's lock.
///
/// Counters put what has become due into the engine's ``ProgressEngine/reached``; `run` starts it, outside of whatever
/// moved the counter. What finds no room stands in line until there is some.
///
/// Man page: fi_trigger(3)
package final class DeferredWorkQueue {
  private var first: Unmanaged<DeferredWork>?
  private var last: Unmanaged<DeferredWork>?
  /// Due, and without room so far; the oldest first.
  private var blocked: [Unmanaged<DeferredWork>] = []
  private var isRunning = false

  init() {}

  /// Some of what is due has found no room.
  @inline(__always)
  package var isBlocked: Bool { !blocked.isEmpty }

  /// Has the work wait for its counter; `run` starts it if that is there already.
  func add(_ work: DeferredWork) {
    let link = Unmanaged.passRetained(work)
    work.completion?.addBinding()
    work.target?.addBinding()
    work.previous = last
    if let last { last._withUnsafeGuaranteedRef { $0.next = link } } else { first = link }
    last = link
    work.trigger.addThreshold(work.threshold, token: UInt64(UInt(bitPattern: link.toOpaque())))
  }

  /// Forgets work that is over, or will not be done.
  func remove(_ work: DeferredWork) {
    let link = Unmanaged.passUnretained(work)
    if let previous = work.previous {
      previous._withUnsafeGuaranteedRef { $0.next = work.next }
    } else {
      first = work.next
    }
    if let next = work.next {
      next._withUnsafeGuaranteedRef { $0.previous = work.previous }
    } else {
      last = work.previous
    }
    if work.state == .waiting { _ = work.trigger.removeThreshold(token: UInt64(UInt(bitPattern: link.toOpaque()))) }
    if work.state == .blocked { blocked.removeAll { $0.toOpaque() == link.toOpaque() } }
    work.completion?.removeBinding()
    work.target?.removeBinding()
    link.release()
  }

  // MARK: Starting

  /// Starts what has become due.
  func run(_ engine: ProgressEngine) {
    // Work that changes a counter makes other work due, which the loop that runs will see.
    if isRunning { return }
    isRunning = true
    var line = retryBlocked()
    while let token = engine.reached.take() { tryToStart(DeferredWork.of(UInt(token)), behind: &line) }
    blocked = line
    isRunning = false
  }

  /// Starts work, or appends it to the line of those that wait for room.
  private func tryToStart(_ work: DeferredWork, behind line: inout [Unmanaged<DeferredWork>]) {
    let waits = line.contains { $0._withUnsafeGuaranteedRef { $0.startsWhere(work) } }
    work.state = .started
    if !waits && start(work) { return }
    work.state = .blocked
    line.append(.passUnretained(work))
  }

  /// Tries again what found no room, in order at each endpoint. Returns what still finds none.
  private func retryBlocked() -> [Unmanaged<DeferredWork>] {
    var line: [Unmanaged<DeferredWork>] = []
    let before = blocked
    blocked = []
    for link in before { tryToStart(link.takeUnretainedValue(), behind: &line) }
    return line
  }

  /// False when there is no room for the operation.
  private func start(_ work: DeferredWork) -> Bool {
    let result: Int
    switch work.action {
    case .setCounter, .addToCounter:
      if work.action == .setCounter { work.target?.apply(set: work.value) } else { work.target?.apply(add: work.value) }
      remove(work)
      return true
    case .receive: result = work.receiver.unsafelyUnwrapped._withUnsafeGuaranteedRef { $0.begin(work) }
    case .send, .read, .write, .atomic: result = work.sender.unsafelyUnwrapped.begin(work)
    }
    if result == Int(-FI_EAGAIN) { return false }
    if result == 0 {
      // It may be over already.
      if !work.isQueued { remove(work) }
      return true
    }
    let error = Int32(truncatingIfNeeded: -result)
    guard report(work, error) else { return false }
    work.completion?.countError()
    remove(work)
    return true
  }

  /// Tells the program of an operation that could not start, or was cancelled; false when its completion queue is full.
  private func report(_ work: DeferredWork, _ error: Int32) -> Bool {
    let queue =
      work.sender.flatMap { sender in sender.port._withUnsafeGuaranteedRef { $0.queue(ofContext: sender.number) } }
      ?? work.receiver?._withUnsafeGuaranteedRef { $0.answerQueue(for: nil) }
    guard let queue else { return true }
    return queue._withUnsafeGuaranteedRef {
      guard $0.reserve() else { return false }
      $0.pushError(
        context: work.context, flags: work.completionFlags, length: 0, buffer: 0, data: 0, tag: 0, olen: 0, err: error,
        provErrno: error, source: UInt64.max)
      return true
    }
  }

  // MARK: Ending

  /// Queued work that a port carried out has ended: its own counter is told, the completion queue only if it asked for
  /// that, or after a failure.
  func ended(_ operation: OperationContext, _ status: TransportStatus, at port: Port) {
    let work = DeferredWork.of(operation.context)
    let flags = work.completionFlags | work.flags & FI_COMPLETION | operation.number
    port.endUncounted(OperationContext(context: work.context, flags: flags), status)
    ended(work, UInt64(truncatingIfNeeded: work.length), isError: status != .ok)
  }

  /// Queued work has ended; its endpoint has told its completion queue what that is to know.
  func ended(_ work: DeferredWork, _ bytes: UInt64, isError: Bool) {
    if isError { work.completion?.countError() } else { work.completion?.count(bytes) }
    remove(work)
  }

  /// Takes back queued work that waits; false when there is none of the name.
  func cancel(named name: UInt) -> Bool {
    guard let work = find({ $0.isQueued && $0.state != .started && $0.name == name }) else { return false }
    remove(work)
    return true
  }

  /// Takes back all queued work that waits, or what waits for one counter.
  func flush(waitingFor counter: Counter?) {
    while let work = find({ $0.isQueued && $0.state != .started && (counter == nil || $0.trigger === counter) }) {
      remove(work)
    }
  }

  /// Ends the oldest triggered operation with a context that waits somewhere, with an error entry; false when there is
  /// none, or no room for the entry.
  func cancelTriggered(context: UInt, where isThere: (DeferredWork) -> Bool) -> Bool {
    guard let work = find({ !$0.isQueued && $0.name == context && isThere($0) }), report(work, FI_ECANCELED) else {
      return false
    }
    remove(work)
    return true
  }

  /// Where some work starts goes away, and so does the work; what has started only with `all`.
  func remove(all: Bool, where isGone: (DeferredWork) -> Bool) {
    while let work = find({ isGone($0) && (all || $0.state != .started) }) { remove(work) }
  }

  private func find(_ isWanted: (DeferredWork) -> Bool) -> DeferredWork? {
    var link = first
    while let current = link {
      let work = current.takeUnretainedValue()
      if isWanted(work) { return work }
      link = work.next
    }
    return nil
  }
}
