import CPlatform
import Synchronization

/// A mutual exclusion lock. Uncontended it is two atomic operations, without a call into libc; contended it spins for
/// a moment only (two processes may share one core) and then sleeps in the kernel. Not recursive, not fair.
///
/// Measured on x86_64: an uncontended pair costs about half of pthread_mutex_lock and pthread_mutex_unlock.
public struct Lock: ~Copyable, @unchecked Sendable {
  private let state = Atomic<UInt32>(Lock.free)
  private let parking: UnsafeMutablePointer<Parking>

  package init() {
    parking = .allocate(capacity: 1)
    parking.initialize(to: Parking())
    let error = max(pthread_mutex_init(&parking.pointee.mutex, nil), pthread_cond_init(&parking.pointee.condition, nil))
    precondition(error == 0, "a mutex without attributes can always be made")
  }

  deinit {
    pthread_cond_destroy(&parking.pointee.condition)
    pthread_mutex_destroy(&parking.pointee.mutex)
    parking.deallocate()
  }

  /// Waits until the lock is free, and takes it.
  @inline(__always)
  package func lock() {
    if !tryLock() { lockContended() }
  }

  /// Takes the lock if it is free; false otherwise, at once.
  @inline(__always)
  package func tryLock() -> Bool {
    state.compareExchange(expected: Lock.free, desired: Lock.held, ordering: .acquiring).exchanged
  }

  /// Gives the lock back. Only the thread that holds it may call this.
  @inline(__always)
  package func unlock() {
    if state.exchange(Lock.free, ordering: .releasing) == Lock.heldWithSleepers { wakeSleeper() }
  }

  /// Runs `body` with the lock held.
  @inline(__always)
  package func withLock<Result: ~Copyable, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    lock()
    defer { unlock() }
    return try body()
  }

  @inline(never)
  private func lockContended() {
    for _ in 0..<Lock.spins {
      platform_spin_pause()
      if state.load(ordering: .relaxed) == Lock.free && tryLock() { return }
    }
    pthread_mutex_lock(&parking.pointee.mutex)
    // Whoever sleeps leaves `heldWithSleepers` behind, and whoever takes the lock here keeps that mark, since others
    // may still sleep: the next unlock then comes by the parking place, at worst for nothing.
    while state.exchange(Lock.heldWithSleepers, ordering: .acquiring) != Lock.free {
      pthread_cond_wait(&parking.pointee.condition, &parking.pointee.mutex)
    }
    pthread_mutex_unlock(&parking.pointee.mutex)
  }

  @inline(never)
  private func wakeSleeper() {
    pthread_mutex_lock(&parking.pointee.mutex)
    pthread_cond_signal(&parking.pointee.condition)
    pthread_mutex_unlock(&parking.pointee.mutex)
  }

  private struct Parking {
    var mutex = pthread_mutex_t()
    var condition = pthread_cond_t()
  }

  @inline(__always) private static var free: UInt32 { 0 }
  @inline(__always) private static var held: UInt32 { 1 }
  @inline(__always) private static var heldWithSleepers: UInt32 { 2 }
  /// About a microsecond: longer than any bookkeeping under a lock, shorter than a context switch.
  @inline(__always) private static var spins: Int { 40 }
}
