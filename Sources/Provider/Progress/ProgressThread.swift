import CPlatform
import Datagram

/// The helper thread of a domain with automatic progress. It sleeps in the kernel, and stays out of the way of a program
/// that polls: it then only looks by every few milliseconds whether that is still so.
///
/// It keeps its engine alive; the engine stops it before the domain is gone. A child made by fork(2) has no such thread:
/// there the object does nothing.
final class ProgressThread {
  private let engine: ProgressEngine
  private let waiter: Waiter
  private var thread: Thread?
  private let owner = getpid()
  private let nap: UnsafeMutablePointer<Nap>

  /// What the thread naps on, and is stopped by.
  private struct Nap {
    var mutex = pthread_mutex_t()
    var condition = pthread_cond_t()
    var isStopping = false
  }

  convenience init(_ engine: ProgressEngine, _ waiter: Waiter) throws(FabricError) {
    self.init(engine: engine, waiter: waiter)
    try start()
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(engine: ProgressEngine, waiter: Waiter) {
    self.engine = engine
    self.waiter = waiter
    nap = .allocate(capacity: 1)
    nap.initialize(to: Nap())
    pthread_mutex_init(&nap.pointee.mutex, nil)
    _ = platform_condition_init(&nap.pointee.condition)
  }

  private func start() throws(FabricError) {
    do throws(SystemError) {
      thread = try Thread(
        { context in
          Thread.setName("fabric-progress")
          Unmanaged<ProgressThread>.fromOpaque(context!)._withUnsafeGuaranteedRef { $0.run() }
        }, context: Unmanaged.passUnretained(self).toOpaque())
    } catch {
      throw FabricError(code: error.code)
    }
  }

  deinit {
    pthread_cond_destroy(&nap.pointee.condition)
    pthread_mutex_destroy(&nap.pointee.mutex)
    nap.deallocate()
  }

  /// Ends the thread and waits for it. The engine's lock must be free.
  func stop() {
    guard getpid() == owner else {
      // Nothing of a thread that is not there may be touched, not even to forget it.
      _ = Unmanaged.passRetained(self)
      return
    }
    guard let running = thread.take() else { return }
    pthread_mutex_lock(&nap.pointee.mutex)
    nap.pointee.isStopping = true
    pthread_cond_signal(&nap.pointee.condition)
    pthread_mutex_unlock(&nap.pointee.mutex)
    waiter.signal()
    running.join()
  }

  private func run() {
    var seen: UInt64 = 0
    var length: UInt64 = 0
    var pause: UInt64 = 1_000_000
    while !take(pause) { pause = engine.threadTurn(&seen, &length) }
  }

  /// Naps for `nanoseconds`; true when the thread is to end.
  private func take(_ nanoseconds: UInt64) -> Bool {
    pthread_mutex_lock(&nap.pointee.mutex)
    defer { pthread_mutex_unlock(&nap.pointee.mutex) }
    if nanoseconds > 0 && !nap.pointee.isStopping {
      _ = platform_condition_wait(&nap.pointee.condition, &nap.pointee.mutex, nanoseconds)
    }
    return nap.pointee.isStopping
  }
}
