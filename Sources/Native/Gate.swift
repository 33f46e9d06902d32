import CPlatform
import Synchronization

/// A lock around what may take long, and may hang.
///
/// Whoever waits looks whether the wait has become pointless. A child of fork(2) takes over what a thread of its parent
/// held: it has no such thread. Waiting costs a system call in each millisecond, which is nothing beside opening a
/// library.
struct Gate: ~Copyable {
  /// The process of whoever is inside, 0 for nobody.
  private let holder = Atomic<Int32>(0)
  private let thread = Atomic<UInt>(0)

  /// Enters, as the only thread of the process; false if `isPointless` became true before, or if this thread is inside
  /// already: a library that is being loaded may call this one.
  func enter(unless isPointless: () -> Bool = { false }) -> Bool {
    let process = getpid()
    let ownThread = unsafeBitCast(pthread_self(), to: UInt.self)
    while true {
      if isPointless() { return false }
      let found = holder.load(ordering: .relaxed)
      if found == process {
        if thread.load(ordering: .relaxed) == ownThread { return false }
        _ = platform_poll(nil, 0, 1)
      } else if holder.compareExchange(expected: found, desired: process, ordering: .acquiring).exchanged {
        // Nobody was inside, or a thread of the parent's.
        thread.store(ownThread, ordering: .relaxed)
        return true
      }
    }
  }

  /// Lets the next one in.
  func leave() {
    thread.store(0, ordering: .relaxed)
    holder.store(0, ordering: .releasing)
  }
}
