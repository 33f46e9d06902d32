import CFabric
import Containers
import Datagram

/// Something a program can wait for through a wait set: a completion queue, an event queue or a counter.
package protocol Waitable: AnyObject {
  /// Makes the next thing that happens signal. Throws FI_EAGAIN when there is something to see already.
  func prepareToWait() throws(FabricError)
}

/// Waiting for several queues and counters at once, on one object that all of them signal.
///
/// A lock of its own protects the list of members; it is taken before the engines' locks, never after.
///
/// Man page: fi_poll(3), "fi_wait_open"
package final class WaitSet {
  package let fabric: Fabric
  /// What members signal.
  package let object: WaitObject
  private let lock = Lock()
  private var members: UnsafeMutablePointer<Member>
  private var capacity = 4
  private var count = 0

  /// The set keeps it alive until it leaves, which it does when it is closed.
  private struct Member {
    var waitable: any Waitable
    var descriptor: Int32?
  }

  /// Throws FI_EINVAL for flags and for wait objects that no set has, FI_ENOSYS where the portable path has no
  /// descriptor, FI_EMFILE and the like.
  package convenience init(_ fabric: Fabric, _ attributes: UnsafePointer<fi_wait_attr>) throws(FabricError) {
    if attributes.pointee.flags != 0 { throw Self.refuse("unknown flags") }
    let kind = attributes.pointee.wait_obj
    guard kind != FI_WAIT_SET, let object = try WaitObject.open(kind, shared: true, for: .fabric) else {
      throw Self.refuse("a wait set needs a wait object of its own")
    }
    self.init(fabric, object)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ fabric: Fabric, _ object: WaitObject) {
    self.fabric = fabric
    self.object = object
    members = .allocate(capacity: capacity)
    fabric.addChild()
  }

  deinit {
    members.deinitialize(count: count)
    members.deallocate()
  }

  /// Throws FI_EBUSY while queues or counters belong to the set.
  package func close() throws(FabricError) {
    if lock.withLock({ count != 0 }) {
      throw Self.refuse("queues or counters still belong to the set", in: "fi_close", .busy)
    }
    object.close()
    fabric.removeChild()
  }

  // MARK: Members

  /// Takes a new member in. `descriptor` is that of the engine behind it, which the set's object then watches; nil if
  /// there is no engine. Throws FI_ENOMEM and the like.
  package func add(_ member: any Waitable, watching descriptor: Int32?) throws(FabricError) {
    lock.lock()
    defer { lock.unlock() }
    if let descriptor { try object.watch(descriptor) }
    if count == capacity { doubleCapacity(of: &members, count: count, &capacity) }
    (members + count).initialize(to: Member(waitable: member, descriptor: descriptor))
    count += 1
  }

  /// Lets a member go. Does nothing for one that is not there.
  package func remove(_ member: any Waitable) {
    lock.lock()
    defer { lock.unlock() }
    for index in 0..<count where members[index].waitable === member {
      if let descriptor = members[index].descriptor { object.unwatch(descriptor) }
      count -= 1
      if index != count { members[index] = members[count] }
      (members + count).deinitialize(count: 1)
      return
    }
  }

  // MARK: Waiting

  /// Whether the program may sleep on the set's object: throws FI_EAGAIN when a member has something to say. Part of
  /// fi_trywait.
  package func prepareToWait() throws(FabricError) {
    let wasSignalled = object.rearm()
    lock.lock()
    defer { lock.unlock() }
    do throws(FabricError) {
      for index in 0..<count { try members[index].waitable.prepareToWait() }
    } catch {
      // The signal that was taken back may be what another thread sleeps for.
      if wasSignalled { object.signal() }
      throw error
    }
    object.expectSleep()
  }

  /// Waits up to `timeout` milliseconds, for ever if negative, until a member has something to say. Throws FI_ETIMEDOUT.
  package func wait(timeout: Int32) throws(FabricError) {
    let deadline = Clock.deadline(milliseconds: timeout)
    while true {
      do throws(FabricError) { try prepareToWait() } catch {
        if error == .tryAgain { return }
        throw error
      }
      if deadline != .max && Clock.now() >= deadline { throw .timedOut }
      object.announceSleep()
      object.sleep(until: deadline)
    }
  }

  /// FI_GETWAIT and FI_GETWAITOBJ.
  package func control(_ command: Int32, _ argument: UnsafeMutableRawPointer?) throws(FabricError) {
    try object.control(command, argument)
  }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_wait_open", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.fabric, reason, in: call)
  }
}

/// How a queue or counter waits: on an object of its own, on a set's, or not at all.
package struct WaitChoice {
  package let object: WaitObject?
  package let set: WaitSet?

  /// Opens what attributes ask for. `watched` as in ``WaitObject/open(_:watching:shared:for:)``, which also tells what
  /// this throws; FI_EINVAL for FI_WAIT_SET without a set of the same fabric.
  package init(
    _ kind: fi_wait_obj, _ waitSet: UnsafeMutablePointer<fid_wait>?, in fabric: Fabric, watching watched: Int32? = nil,
    for owner: Log.Subsystem
  ) throws(FabricError) {
    guard kind == FI_WAIT_SET else {
      object = try WaitObject.open(kind, watching: watched, for: owner)
      set = nil
      return
    }
    guard let waitSet, waitSet.pointee.fid.fclass == Int(FI_CLASS_WAIT) else {
      throw .invalidArgument.because(owner, "FI_WAIT_SET without a wait set", in: "open")
    }
    let handle = UnsafeMutableRawPointer(waitSet).assumingMemoryBound(to: lfp_wait.self)
    let chosen = Unmanaged<WaitSet>.fromOpaque(handle.pointee.object).takeUnretainedValue()
    if chosen.fabric !== fabric { throw .invalidArgument.because(owner, "another fabric's wait set", in: "open") }
    set = chosen
    object = chosen.object
  }

  /// Gives up what the owner had of its own: it is closed.
  package func close(_ member: any Waitable) {
    if let set { set.remove(member) } else { object?.close() }
  }
}
