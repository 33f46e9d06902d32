import CFabric
import Datagram

/// What a program sleeps on while a queue is empty: a descriptor that becomes readable when the queue may have something
/// to say (FI_WAIT_FD and its relatives).
///
/// It watches a wake descriptor of its own and, for completion queues, the descriptor of the domain's engine, so that
/// traffic, protocol timers and other threads' completions all end the sleep. Signalling and sleeping need no lock; who
/// arms and drains, and when, is decided by the queue, under the queue's lock.
///
/// Man pages: fi_cq(3), fi_eq(3), "wait_obj"; fi_control(3), FI_GETWAIT
package final class WaitObject {
  /// FI_WAIT_FD or FI_WAIT_POLLFD; FI_WAIT_UNSPEC, which becomes FI_WAIT_FD otherwise, where there is no descriptor that
  /// a program could sleep on by itself.
  package let kind: fi_wait_obj
  private let poller: Poller
  private let wake: WakeDescriptor
  private let owner: Log.Subsystem

  /// Opens the object that a queue's attributes ask for; nil for FI_WAIT_NONE. `watched` is a descriptor to watch
  /// besides the queue's own signals; -1 says that there should be one and is not (the portable path), so that the
  /// object serves the library's own waiting calls alone. `owner` is who logs.
  ///
  /// Throws FI_EINVAL for an object that no queue has, FI_ENOSYS for wait sets and where the system has no descriptor
  /// to hand out, FI_EMFILE and the like when descriptors are short.
  package static func open(
    _ kind: fi_wait_obj, waitSet: UnsafeMutablePointer<fid_wait>?, watching watched: Int32? = nil,
    for owner: Log.Subsystem
  ) throws(FabricError) -> WaitObject? {
    switch kind {
    case FI_WAIT_NONE: return nil
    case FI_WAIT_UNSPEC:
      return try WaitObject((watched ?? 0) < 0 ? FI_WAIT_UNSPEC : FI_WAIT_FD, watching: watched, owner)
    case FI_WAIT_FD, FI_WAIT_POLLFD:
      // Without a descriptor of the engine's there is none that tells of traffic.
      if let watched, watched < 0 {
        throw .notImplemented.because(owner, "the portable path has no descriptor to wait on", in: "open")
      }
      return try WaitObject(kind, watching: watched, owner)
    case FI_WAIT_SET:
      let error = waitSet == nil ? FabricError.invalidArgument : .notImplemented
      throw error.because(owner, "wait sets are not offered", in: "open")
    default: throw .invalidArgument.because(owner, "unknown wait object", in: "open")
    }
  }

  private convenience init(
    _ kind: fi_wait_obj, watching watched: Int32?, _ owner: Log.Subsystem
  ) throws(FabricError) {
    do throws(SystemError) {
      var poller = try Poller()
      let wake = try WakeDescriptor()
      try poller.add(wake.descriptor)
      if let watched, watched >= 0 { try poller.add(watched) }
      self.init(kind, poller, wake, owner)
    } catch {
      throw FabricError(code: error.code).because(owner, "no descriptor to wait on could be made", in: "open")
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ kind: fi_wait_obj, _ poller: consuming Poller, _ wake: consuming WakeDescriptor, _ owner: Log.Subsystem
  ) {
    self.kind = kind
    self.poller = poller
    self.wake = wake
    self.owner = owner
  }

  /// Ends the sleep of everybody, now and until ``drain()``. Any thread.
  package func signal() { wake.signal() }

  /// Takes all signals back.
  package func drain() { wake.drain() }

  /// Sleeps until something happened or the clock shows `deadline`. Call it without any lock held. Any thread.
  package func sleep(until deadline: UInt64) {
    if deadline == .max {
      _ = poller.wait(timeout: .max)
      return
    }
    let now = Clock.now()
    if now < deadline { _ = poller.wait(timeout: deadline - now) }
  }

  /// Answers FI_GETWAIT and FI_GETWAITOBJ. FI_ENOSYS for FI_GETWAIT where there is no descriptor, FI_ETOOSMALL when a
  /// program left no room for the list of descriptors.
  package func control(_ command: Int32, _ argument: UnsafeMutableRawPointer?) throws(FabricError) {
    guard let argument else { throw .invalidArgument.because(owner, "no place for the answer", in: "fi_control") }
    switch Int(command) {
    case Int(FI_GETWAITOBJ):
      argument.storeBytes(of: kind, as: fi_wait_obj.self)
    case Int(FI_GETWAIT) where kind == FI_WAIT_FD:
      argument.storeBytes(of: poller.descriptor, as: Int32.self)
    case Int(FI_GETWAIT) where kind == FI_WAIT_POLLFD:
      let list = argument.assumingMemoryBound(to: fi_wait_pollfd.self)
      let room = list.pointee.nfds
      list.pointee.nfds = 1
      guard room >= 1, let entries = list.pointee.fd else {
        throw .tooSmall.because(owner, "no room for the list of descriptors", in: "fi_control")
      }
      list.pointee.change_index = 1
      entries[0] = pollfd(fd: poller.descriptor, events: Int16(POLLIN), revents: 0)
    default:
      throw .notImplemented.because(owner, "the portable path has no descriptor to hand out", in: "fi_control")
    }
  }
}

extension Clock {
  /// When `milliseconds` from now have passed; never for a negative number, as all waiting calls have it.
  package static func deadline(milliseconds: Int32) -> UInt64 {
    milliseconds < 0 ? .max : now() + UInt64(milliseconds) * 1_000_000
  }
}
