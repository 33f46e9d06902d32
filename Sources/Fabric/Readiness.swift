import CFabric
@preconcurrency import Dispatch
import Glibc
import Synchronization

/// Waiting for a queue's descriptor.
///
/// Tasks wait on Dispatch's one thread for all descriptors; threads that may block call poll(2) themselves.
enum Readiness {
  /// Suspends the task until `descriptor` is readable or the task is cancelled. `owner` keeps the descriptor open.
  static func wait(for descriptor: Int32, owner: some AnyObject & Sendable) async {
    let waiter = ReadinessWaiter()
    await withTaskCancellationHandler {
      await withCheckedContinuation { waiter.start(descriptor, owner: owner, $0) }
    } onCancel: {
      waiter.finish()
    }
  }

  /// Holds the thread until `descriptor` is readable, up to `milliseconds`.
  static func block(on descriptor: Int32, milliseconds: Int32) {
    var request = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    poll(&request, 1, milliseconds)
  }

  /// Holds the thread for a while.
  static func pause(_ duration: Duration) {
    usleep(UInt32(clamping: Int64(duration / .microseconds(1)) + 1))
  }

  static let events = DispatchQueue(label: "Fabric.Readiness")
}

/// One wait: a continuation that is resumed once, by the descriptor or by cancellation, whichever comes first.
private final class ReadinessWaiter: Sendable {
  private enum State {
    case idle
    case waiting(any DispatchSourceRead, CheckedContinuation<Void, Never>)
    case over
  }

  private let state = Mutex(State.idle)

  func start(_ descriptor: Int32, owner: some AnyObject & Sendable, _ continuation: CheckedContinuation<Void, Never>) {
    let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: Readiness.events)
    source.setEventHandler { self.finish() }
    // Only now may the descriptor be closed.
    source.setCancelHandler { withExtendedLifetime(owner) {} }
    source.activate()
    let isOver = state.withLock { state in
      if case .over = state { return true }
      state = .waiting(source, continuation)
      return false
    }
    // Cancelled, or readable, before it began.
    guard isOver else { return }
    source.cancel()
    continuation.resume()
  }

  func finish() {
    let last = state.withLock { state in
      defer { state = .over }
      return state
    }
    guard case .waiting(let source, let continuation) = last else { return }
    source.cancel()
    continuation.resume()
  }
}
