import CPlatform

/// Sleeps until one of a few descriptors has input or an error: epoll(7), or poll(2) on the portable path.
///
/// Level-triggered. A socket with unread errors counts as ready until ``UDPSocket/nextError()`` has returned nil.
public struct Poller: ~Copyable {
  /// Ready whenever a watched descriptor is, so that a program can sleep on it instead (FI_WAIT_FD); -1 on the portable
  /// path, which has none.
  package let descriptor: Int32
  private let entries: UnsafeMutablePointer<pollfd>?
  private var count = 0

  package init(portable: Bool = false) throws(SystemError) {
    #if os(Linux)
    if !portable {
      let result = Syscall.epollCreate()
      if result < 0 { throw SystemError(result: result) }
      descriptor = Int32(result)
      entries = nil
      return
    }
    #endif
    descriptor = -1
    entries = .allocate(capacity: Poller.portableCapacity)
  }

  /// Descriptors that the portable path can watch at once.
  package static var portableCapacity: Int { 64 }

  /// Watches `watched` for input and errors. Throws EEXIST for one already watched, ENOSPC or ENOMEM when full.
  package mutating func add(_ watched: Int32) throws(SystemError) {
    guard let entries else {
      #if os(Linux)
      let result = Syscall.epollAdd(descriptor, watched)
      if result < 0 { throw SystemError(result: result) }
      #endif
      return
    }
    if index(of: watched) != nil { throw SystemError(code: EEXIST) }
    if count == Poller.portableCapacity { throw SystemError(code: ENOSPC) }
    (entries + count).initialize(to: pollfd(fd: watched, events: Int16(POLLIN), revents: 0))
    count += 1
  }

  /// Stops watching. Must come before the descriptor is closed. Throws ENOENT for one that is not watched.
  package mutating func remove(_ watched: Int32) throws(SystemError) {
    guard let entries else {
      #if os(Linux)
      let result = Syscall.epollRemove(descriptor, watched)
      if result < 0 { throw SystemError(result: result) }
      #endif
      return
    }
    guard let index = index(of: watched) else { throw SystemError(code: ENOENT) }
    count -= 1
    entries[index] = entries[count]
  }

  /// Sleeps until a watched descriptor is ready (true) or `timeout` nanoseconds have passed (false); `UInt64.max` waits
  /// for ever, 0 only looks. The portable path rounds up to whole milliseconds. Any thread, several at once; on the
  /// portable path not while another adds or removes.
  package func wait(timeout: UInt64) -> Bool {
    if let entries {
      // poll(2) writes into its entries, and several threads may wait.
      return withUnsafeTemporaryAllocation(of: pollfd.self, capacity: Poller.portableCapacity) { copy in
        memcpy(copy.baseAddress!, entries, count * MemoryLayout<pollfd>.stride)
        return Syscall.poll(copy.baseAddress!, count, timeout: timeout) > 0
      }
    }
    #if os(Linux)
    return Syscall.epollWait(descriptor, timeout: timeout) > 0
    #else
    return false
    #endif
  }

  private func index(of watched: Int32) -> Int? {
    guard let entries else { return nil }
    for index in 0..<count where entries[index].fd == watched { return index }
    return nil
  }

  deinit {
    if descriptor >= 0 { Syscall.close(descriptor) }
    entries?.deallocate()
  }
}
