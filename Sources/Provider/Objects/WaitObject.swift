import CFabric
import Containers
import Datagram

/// What a program sleeps on until a queue, a counter or one of a whole set of them may have something to say.
///
/// - FI_WAIT_FD and FI_WAIT_POLLFD: a descriptor that becomes readable. It watches a wake descriptor of its own and the
///   descriptors of the engines behind it, so that traffic, protocol timers and other threads' completions all end the
///   sleep.
/// - FI_WAIT_MUTEX_COND: a mutex and a condition, signalled by a thread that sleeps on such a descriptor.
/// - FI_WAIT_YIELD: nothing; waiting calls look again and again, and yield the processor in between.
///
/// Signalling and sleeping need no lock of the caller's, and signalling takes none that is held for long. Who takes
/// signals back, and when, is decided by the owner: a queue, under its own lock, or a ``WaitSet``.
///
/// Man pages: fi_cq(3), fi_eq(3), fi_cntr(3), "wait_obj"; fi_poll(3); fi_control(3), FI_GETWAIT
package final class WaitObject {
  /// As asked for, FI_WAIT_UNSPEC being FI_WAIT_FD except where there is no descriptor that a program could sleep on by
  /// itself.
  package let kind: fi_wait_obj
  /// It is a wait set's: members signal it, and only the set takes signals back.
  package let isShared: Bool
  private var poller: Poller
  private let wake: WakeDescriptor
  private let owner: Log.Subsystem

  private let lock = Lock()
  private var isSignalled = false
  /// Threads that sleep, or have said that they will.
  private var sleepers = 0
  /// Descriptors that set members brought, and how often each.
  private var watches: UnsafeMutablePointer<Watch>
  private var watchCapacity = 2
  private var watchCount = 0
  /// A member has no descriptor (the portable path), so sleepers look again soon.
  private var blindMembers = 0
  /// Of FI_WAIT_MUTEX_COND, while the object is open.
  private var notifier: ConditionNotifier?

  private struct Watch: BitwiseCopyable {
    var descriptor: Int32
    var uses: Int32
  }

  /// Opens the object that attributes ask for; nil for FI_WAIT_NONE. `watched` is a descriptor to watch besides the
  /// owner's own signals; -1 says that there should be one and is not (the portable path), so that the object serves the
  /// library's own waiting calls alone. `owner` is who logs.
  ///
  /// Throws FI_EINVAL for an object that there is not, FI_ENOSYS where the system has no descriptor to hand out,
  /// FI_EMFILE and the like when descriptors are short, FI_EAGAIN when there is no thread.
  package static func open(
    _ kind: fi_wait_obj, watching watched: Int32? = nil, shared: Bool = false, for owner: Log.Subsystem
  ) throws(FabricError) -> WaitObject? {
    switch kind {
    case FI_WAIT_NONE: return nil
    case FI_WAIT_UNSPEC:
      let hasDescriptor = (watched ?? 0) >= 0 && !(shared && Configuration.current.isPortable)
      return try WaitObject(hasDescriptor ? FI_WAIT_FD : FI_WAIT_UNSPEC, watching: watched, shared, owner)
    case FI_WAIT_YIELD: return try WaitObject(kind, watching: nil, shared, owner)
    case FI_WAIT_FD, FI_WAIT_POLLFD, FI_WAIT_MUTEX_COND:
      // Without a descriptor of the engine's there is none that tells of traffic.
      if (watched ?? 0) < 0 || shared && Configuration.current.isPortable {
        throw .notImplemented.because(owner, "the portable path has no descriptor to wait on", in: "open")
      }
      let object = try WaitObject(kind, watching: watched, shared, owner)
      if kind == FI_WAIT_MUTEX_COND { object.notifier = try ConditionNotifier(object) }
      return object
    default: throw .invalidArgument.because(owner, "unknown wait object", in: "open")
    }
  }

  private convenience init(
    _ kind: fi_wait_obj, watching watched: Int32?, _ isShared: Bool, _ owner: Log.Subsystem
  ) throws(FabricError) {
    do throws(SystemError) {
      var poller = try Poller()
      let wake = try WakeDescriptor()
      try poller.add(wake.descriptor)
      if let watched, watched >= 0 { try poller.add(watched) }
      self.init(kind, isShared, poller, wake, owner)
    } catch {
      throw FabricError(code: error.code).because(owner, "no descriptor to wait on could be made", in: "open")
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ kind: fi_wait_obj, _ isShared: Bool, _ poller: consuming Poller, _ wake: consuming WakeDescriptor,
    _ owner: Log.Subsystem
  ) {
    self.kind = kind
    self.isShared = isShared
    self.poller = poller
    self.wake = wake
    self.owner = owner
    watches = .allocate(capacity: watchCapacity)
  }

  deinit {
    close()
    watches.deallocate()
  }

  /// Ends the thread behind a condition: the owner is closed. No lock that a signalling thread needs may be held.
  package func close() {
    notifier?.stop { wake.signal() }
    notifier = nil
  }

  // MARK: Signals

  /// Ends the sleep of everybody, now and until the signal is taken back. Any thread.
  package func signal() {
    lock.lock()
    defer { lock.unlock() }
    if isSignalled { return }
    isSignalled = true
    wake.signal()
  }

  /// Takes all signals back, unless somebody has still to wake by them. Call it before looking at the state that signals
  /// are about. Returns whether there was one. The owner alone may call this; others' members leave it to their set.
  @discardableResult
  package func rearm() -> Bool {
    lock.lock()
    defer { lock.unlock() }
    guard isSignalled && sleepers == 0 else { return false }
    isSignalled = false
    wake.drain()
    return true
  }

  /// Takes all signals back, whoever sleeps: what they are about is over.
  package func drain() {
    lock.lock()
    defer { lock.unlock() }
    guard isSignalled else { return }
    isSignalled = false
    wake.drain()
  }

  /// Whether a program can sleep on the object by itself.
  package var isHandedOut: Bool { kind != FI_WAIT_UNSPEC && kind != FI_WAIT_YIELD }

  /// Whether a read that finds nothing should be followed by ``expectSleep()``: programs that wait for a condition hold
  /// its mutex, read, and wait, without a call in between.
  package var sleepsUnannounced: Bool { notifier != nil && !isShared }

  /// The program is about to sleep on the object by itself. Any thread, after ``rearm()``.
  package func expectSleep() { notifier?.arm() }

  // MARK: Sleeping

  /// Announces one call of ``sleep(until:)``, so that no signal is taken back before that has seen it.
  package func announceSleep() { lock.withLock { sleepers += 1 } }

  /// Sleeps until something happened or the clock shows `deadline`. Call it without any lock held, once for each
  /// ``announceSleep()``. Any thread.
  package func sleep(until deadline: UInt64) {
    defer { lock.withLock { sleepers -= 1 } }
    if kind == FI_WAIT_YIELD { return Thread.yield() }
    let isBlind = lock.withLock { blindMembers > 0 }
    let now = Clock.now()
    let latest = isBlind ? min(deadline, now + Self.blindSleep) : deadline
    if latest == .max { _ = poller.wait(timeout: .max) } else if now < latest { _ = poller.wait(timeout: latest - now) }
  }

  /// For the notifier, which announces nothing.
  func sleepUnannounced() { _ = poller.wait(timeout: .max) }

  /// Watches a member's descriptor as well; -1 for a member that should have one and has not. Throws FI_ENOMEM and the
  /// like.
  package func watch(_ descriptor: Int32) throws(FabricError) {
    lock.lock()
    defer { lock.unlock() }
    guard descriptor >= 0 else {
      blindMembers += 1
      return
    }
    for index in 0..<watchCount where watches[index].descriptor == descriptor {
      watches[index].uses += 1
      return
    }
    do throws(SystemError) { try poller.add(descriptor) } catch { throw FabricError(code: error.code) }
    if watchCount == watchCapacity { doubleCapacity(of: &watches, count: watchCount, &watchCapacity) }
    (watches + watchCount).initialize(to: Watch(descriptor: descriptor, uses: 1))
    watchCount += 1
  }

  /// Undoes one ``watch(_:)``.
  package func unwatch(_ descriptor: Int32) {
    lock.lock()
    defer { lock.unlock() }
    guard descriptor >= 0 else {
      blindMembers -= 1
      return
    }
    for index in 0..<watchCount where watches[index].descriptor == descriptor {
      watches[index].uses -= 1
      if watches[index].uses > 0 { return }
      do throws(SystemError) { try poller.remove(descriptor) } catch {}
      watchCount -= 1
      watches[index] = watches[watchCount]
      return
    }
  }

  // MARK: Control

  /// Answers FI_GETWAIT and FI_GETWAITOBJ. FI_ENOSYS for FI_GETWAIT where there is nothing to hand out, FI_ETOOSMALL
  /// when a program left no room for the list of descriptors.
  package func control(_ command: Int32, _ argument: UnsafeMutableRawPointer?) throws(FabricError) {
    guard let argument else { throw .invalidArgument.because(owner, "no place for the answer", in: "fi_control") }
    switch Int(command) {
    case Int(FI_GETWAITOBJ):
      argument.storeBytes(of: kind, as: fi_wait_obj.self)
    case Int(FI_GETWAIT) where kind == FI_WAIT_FD:
      argument.storeBytes(of: poller.descriptor, as: Int32.self)
    case Int(FI_GETWAIT) where kind == FI_WAIT_POLLFD:
      // One descriptor stands for all, so the list never changes.
      let list = argument.assumingMemoryBound(to: fi_wait_pollfd.self)
      let room = list.pointee.nfds
      list.pointee.nfds = 1
      guard room >= 1, let entries = list.pointee.fd else {
        throw .tooSmall.because(owner, "no room for the list of descriptors", in: "fi_control")
      }
      list.pointee.change_index = 1
      entries[0] = pollfd(fd: poller.descriptor, events: Int16(POLLIN), revents: 0)
    case Int(FI_GETWAIT) where notifier != nil:
      notifier?.store(argument.assumingMemoryBound(to: fi_mutex_cond.self))
    case Int(FI_GETWAIT):
      throw .notImplemented.because(owner, "there is no wait object to hand out", in: "fi_control")
    default: throw .notImplemented.because(owner, "unknown command", in: "fi_control")
    }
  }

  /// Nanoseconds.
  private static var blindSleep: UInt64 { 10_000_000 }
}

extension Clock {
  /// When `milliseconds` from now have passed; never for a negative number, as all waiting calls have it.
  package static func deadline(milliseconds: Int32) -> UInt64 {
    milliseconds < 0 ? .max : now() + UInt64(milliseconds) * 1_000_000
  }
}

extension ProgressEngine {
  /// One sleep of a call that waits for something of this engine's domain, on an object of the program's choice or on
  /// none. The caller holds the lock, which is released meanwhile, has just polled, and looks again afterwards: it may also
  /// return early.
  package func sleep(on object: WaitObject?, until deadline: UInt64) {
    guard let object, object.kind == FI_WAIT_YIELD || (waitDescriptor >= 0 && !object.isShared) else {
      // Nothing tells of other threads' completions, or only together with what others of a set have to say: sleep on
      // the engine, and look again soon.
      return _ = wait(deadline: min(deadline, Clock.now() + Self.shortSleep))
    }
    if object.kind != FI_WAIT_YIELD && !armWait() { return }
    object.announceSleep()
    unlock()
    object.sleep(until: deadline)
    lock()
  }

  /// Nanoseconds.
  private static var shortSleep: UInt64 { 10_000_000 }
}
