import CFabric

extension Endpoint {
  /// Evaluates `body`, which posts an operation, again and again while it throws ``FabricError/Code/tryAgain``, and makes
  /// progress in between. A provider may have no room yet, or be about to connect to a peer it has not talked to.
  ///
  ///     try endpoint.retrying(endpoint.send(region, to: peer))
  ///
  /// Completions stay in their queue, so this does not help a program that has filled it: that has to read.
  ///
  /// - Throws: The error of `body`; after `duration` that is ``FabricError/Code/tryAgain``, too.
  @discardableResult
  public func retrying<Result>(
    for duration: Duration = .seconds(10), _ body: @autoclosure () throws(FabricError) -> Result
  ) throws(FabricError) -> Result {
    var attempts = Attempts(for: duration)
    while true {
      do {
        return try body()
      } catch {
        guard try makeProgress(after: error, &attempts) else { continue }
        Readiness.pause(Attempts.pause)
      }
    }
  }

  /// The same for tasks: it suspends them where it would hold the thread.
  @discardableResult
  public func retrying<Result>(
    for duration: Duration = .seconds(10), isolation: isolated (any Actor)? = #isolation,
    _ body: @autoclosure () throws(FabricError) -> Result
  ) async throws(FabricError) -> Result {
    var attempts = Attempts(for: duration)
    while true {
      do {
        return try body()
      } catch {
        guard try makeProgress(after: error, &attempts) else { continue }
        try? await Task.sleep(for: Attempts.pause)
      }
    }
  }

  /// Whether to pause before the next attempt. Throws what cannot be helped by one.
  private func makeProgress(after error: FabricError, _ attempts: inout Attempts) throws(FabricError) -> Bool {
    guard error.code == .tryAgain && !attempts.areOver else { throw error }
    domain.fabric.makeProgress()
    return attempts.count()
  }
}

/// How often, and how long, something has been tried.
private struct Attempts {
  private let deadline: ContinuousClock.Instant
  private var number = 0

  init(for duration: Duration) {
    deadline = .now + duration
  }

  /// Whether time is up, or the task is cancelled.
  var areOver: Bool { Task.isCancelled || deadline <= .now }

  /// Counts one; the first are made without a pause.
  mutating func count() -> Bool {
    number += 1
    return number > Attempts.immediate
  }

  static let pause = Duration.microseconds(50)
  private static let immediate = 16
}
