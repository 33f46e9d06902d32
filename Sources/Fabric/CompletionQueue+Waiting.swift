import CFabric

extension CompletionQueue {
  /// The queue's completions as they come.
  ///
  ///     for try await completion in queue.completions {
  ///       if let region = completion.takeRegion() { … }
  ///     }
  ///
  /// The task sleeps until the provider's descriptor says that there is something; no thread is held, and none polls.
  /// The sequence ends when the task is cancelled. Nothing is read ahead, so completions that come later are there for
  /// whoever reads next. Any number of tasks may iterate.
  ///
  /// Where the provider leaves progress to the program, only queues that are read, or waited for, make any.
  ///
  /// Where a provider has no descriptor to wait for, the sequence looks every 50 µs at first and, while nothing comes,
  /// less and less often, down to once in a millisecond.
  public var completions: CompletionSequence { CompletionSequence(queue: self) }

  /// Waits for a completion in the calling thread, up to `milliseconds`; nil when time is up. Other queues of the domain
  /// are worked for meanwhile. Do not hold up the threads of tasks: there, use ``completions``.
  public func wait(milliseconds: Int32) throws(FabricError) -> Completion? {
    let clock = ContinuousClock()
    let deadline = clock.now + .milliseconds(milliseconds)
    while true {
      if let completion = try read() { return completion }
      let left = clock.now.duration(to: deadline)
      guard left > .zero else { return nil }
      // Nobody else may be there to work for the other queues.
      let isAlone = domain.makeProgress() == 1
      if let waitDescriptor {
        guard try maySleep() else { continue }
        let sleep = isAlone ? left : min(left, CompletionSequence.longestPause)
        Readiness.block(on: waitDescriptor, milliseconds: Int32(clamping: Int64(sleep / .milliseconds(1))) + 1)
      } else {
        Readiness.pause(min(left, CompletionSequence.firstPause))
      }
    }
  }

  /// Whether the descriptor will tell of the next completion: fi_trywait(3).
  func maySleep() throws(FabricError) -> Bool {
    var object: UnsafeMutablePointer<fid>? = handle.base
    let result = fi_trywait(domain.fabric.handle, &object, 1)
    if result == -FI_EAGAIN { return false }
    try check("fi_trywait", result)
    return true
  }
}

/// The completions of a queue as they come: ``CompletionQueue/completions``.
public struct CompletionSequence: AsyncSequence, Sendable {
  /// What is iterated over.
  public typealias Element = Completion
  /// What is wrong with the queue itself.
  public typealias Failure = FabricError

  let queue: CompletionQueue

  /// Begins to iterate.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(queue: queue) }

  /// Waits for the next completion.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let queue: CompletionQueue

    /// The next completion; nil once the task is cancelled.
    public mutating func next() async throws(FabricError) -> Completion? {
      try await next(isolation: nil)
    }

    /// The next completion; nil once the task is cancelled.
    public mutating func next(isolation actor: isolated (any Actor)?) async throws(FabricError) -> Completion? {
      var pause = CompletionSequence.firstPause
      while !Task.isCancelled {
        if let completion = try queue.read() { return completion }
        if let descriptor = queue.waitDescriptor {
          if try queue.maySleep() { await Readiness.wait(for: descriptor, owner: queue) }
        } else {
          try? await Task.sleep(for: pause)
          pause = Swift.min(pause * 2, CompletionSequence.longestPause)
        }
      }
      return nil
    }
  }

  static let firstPause = Duration.microseconds(50)
  static let longestPause = Duration.milliseconds(1)
}
