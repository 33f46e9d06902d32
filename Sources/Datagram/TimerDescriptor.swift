#if os(Linux)
import CPlatform

/// A descriptor that becomes readable at a time: it lets a program that sleeps on a poller's descriptor of its own
/// accord (FI_WAIT_FD) wake for protocol timers. timerfd_create(2).
public struct TimerDescriptor: ~Copyable {
  /// Readable once the deadline has passed, until ``arm(at:)`` or ``disarm()``.
  package let descriptor: Int32
  private var armed: UInt64 = 0

  package init() throws(SystemError) {
    let result = Syscall.timerCreate()
    if result < 0 { throw SystemError(result: result) }
    descriptor = Int32(result)
  }

  /// Fires once when ``Clock/now()`` reaches `deadline`, at once if it has. Arming again for the same time is free while
  /// the first has not fired.
  package mutating func arm(at deadline: UInt64) {
    if deadline == armed && deadline > Clock.now() { return }
    armed = deadline
    _ = Syscall.timerSet(descriptor, deadline: max(deadline, 1))
  }

  /// Never fires; not readable any more.
  package mutating func disarm() {
    if armed == 0 { return }
    armed = 0
    _ = Syscall.timerSet(descriptor, deadline: 0)
  }

  deinit { Syscall.close(descriptor) }
}
#endif
