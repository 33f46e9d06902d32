import CFabric
import Containers
import Datagram

/// Something a poll set looks at: a completion queue or a counter.
package protocol Pollable: AnyObject {
  /// The program has closed it.
  var isClosed: Bool { get }

  /// Drives progress, and tells whether there may be something to read.
  func poll() -> Bool
}

extension CompletionQueue: Pollable {}
extension Counter: Pollable {}

/// Several completion queues and counters of a domain, looked at by one call. Members that the program closes leave by
/// themselves.
///
/// A lock of its own protects the list; it is taken before the engine's, never after.
///
/// Man page: fi_poll(3)
package final class PollSet {
  private let domain: Domain
  private let lock = Lock()
  private var members: UnsafeMutablePointer<Member>
  private var capacity = 4
  private var count = 0

  private struct Member {
    var pollable: any Pollable
    /// The program's handle, valid until it is closed.
    var fid: UnsafeMutablePointer<fid>
  }

  /// Throws FI_EINVAL for flags.
  package convenience init(_ domain: Domain, flags: UInt64) throws(FabricError) {
    if flags != 0 { throw Self.refuse("unknown flags", in: "fi_poll_open") }
    self.init(domain)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ domain: Domain) {
    self.domain = domain
    members = .allocate(capacity: capacity)
    domain.engine.lock()
    domain.addChild()
    domain.engine.unlock()
  }

  deinit {
    members.deinitialize(count: count)
    members.deallocate()
  }

  /// Throws FI_EBUSY while open queues or counters are in the set.
  package func close() throws(FabricError) {
    let isBusy = lock.withLock {
      removeClosed()
      return count != 0
    }
    if isBusy { throw Self.refuse("queues or counters are still in the set", in: "fi_close", .busy) }
    domain.engine.lock()
    domain.removeChild()
    domain.engine.unlock()
  }

  /// Looks at `pollable` too from now on. Adding it twice changes nothing. Throws FI_EINVAL for flags, FI_EDOMAIN for
  /// another domain's.
  package func add(
    _ pollable: any Pollable, _ fid: UnsafeMutablePointer<fid>, of owner: Domain, flags: UInt64
  ) throws(FabricError) {
    if flags != 0 { throw Self.refuse("unknown flags", in: "fi_poll_add") }
    if owner !== domain { throw Self.refuse("another domain's queue or counter", in: "fi_poll_add", .wrongDomain) }
    lock.lock()
    defer { lock.unlock() }
    removeClosed()
    for index in 0..<count where members[index].pollable === pollable { return }
    if count == capacity { doubleCapacity(of: &members, count: count, &capacity) }
    (members + count).initialize(to: Member(pollable: pollable, fid: fid))
    count += 1
  }

  /// No longer looks at `pollable`. Does nothing for one that is not in the set. Throws FI_EINVAL for flags.
  package func remove(_ pollable: any Pollable, flags: UInt64) throws(FabricError) {
    if flags != 0 { throw Self.refuse("unknown flags", in: "fi_poll_del") }
    lock.lock()
    defer { lock.unlock() }
    for index in 0..<count where members[index].pollable === pollable { return removeMember(index) }
  }

  /// Stores the contexts of up to `limit` members that may have something to read, in the order in which they were added,
  /// and returns how many. All members make progress.
  package func poll(_ contexts: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, limit: Int) -> Int {
    lock.lock()
    defer { lock.unlock() }
    removeClosed()
    var found = 0
    for index in 0..<count {
      // What cannot be told now must be new to the next call.
      guard found < limit, let contexts else { break }
      guard members[index].pollable.poll() else { continue }
      contexts[found] = members[index].fid.pointee.context
      found += 1
    }
    return found
  }

  private func removeClosed() {
    var index = 0
    while index < count {
      if members[index].pollable.isClosed { removeMember(index) } else { index += 1 }
    }
  }

  private func removeMember(_ index: Int) {
    (members + index).deinitialize(count: 1)
    (members + index).moveInitialize(from: members + index + 1, count: count - index - 1)
    count -= 1
  }

  private static func refuse(
    _ reason: StaticString, in call: StaticString, _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.domain, reason, in: call)
  }
}
