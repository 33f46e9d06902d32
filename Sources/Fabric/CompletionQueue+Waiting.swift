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

  /// Waits for a completion in the calling thread, up to `milliseconds`; nil when time is up. Other queues of the network
  /// are worked for meanwhile. Do not hold up the threads of tasks: there, use ``completions``.
  public func wait(milliseconds: Int32) throws(FabricError) -> Completion? {
    let deadline = ContinuousClock.now + .milliseconds(milliseconds)
    while true {
      if let completion = try read() { return completion }
      let left = ContinuousClock.now.duration(to: deadline)
      guard left > .zero else { return nil }
      // Nobody else may be there to work for the other queues.
      let isAlone = domain.fabric.makeProgress() == 1
      try block(isAlone ? left : min(left, Pause.longest))
    }
  }
}

extension CompletionQueue: Waitable {
  var network: Fabric { domain.fabric }
  var object: UnsafeMutablePointer<fid> { handle.base }
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
      var pause = Pause()
      while !Task.isCancelled {
        if let completion = try queue.read() { return completion }
        try await queue.suspend(&pause)
      }
      return nil
    }
  }
}
