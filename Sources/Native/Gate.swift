import CPlatform
import Synchronization

/// A lock around what may take long, and may hang.
///
/// Whoever waits looks whether the wait has become pointless. A child of fork(2) takes over what a thread of its parent
/// held: it has no such thread. Waiting costs a system call in each millisecond, which is nothing beside opening a
/// library.
struct Gate: ~Copyable {
  private let holder = Atomic<Int32>(0)

  /// Enters, as the only thread of the process; false if `isPointless` became true before.
  func enter(unless isPointless: () -> Bool = { false }) -> Bool {
    let process = getpid()
    while true {
      if isPointless() { return false }
      let found = holder.compareExchange(expected: 0, desired: process, ordering: .acquiring)
      if found.exchanged { return true }
      if found.original != process,
        holder.compareExchange(expected: found.original, desired: process, ordering: .acquiring).exchanged
      {
        return true
      }
      _ = platform_poll(nil, 0, 1)
    }
  }

  /// Lets the next one in.
  func leave() { holder.store(0, ordering: .releasing) }
}
