import CPlatform

#if !(DEBUG && !hasFeature(Embedded))
enum SyscallName {
  case socket, bind, connect, socketOption, socketName, sendmsg, sendmmsg, recvmsg, recvmmsg, errorQueue, splice
  case read, write, poll, epollControl, epollWait, timer, random
}
#endif

/// The one door to the kernel. Every function returns what the call returned, or `-errno`; EINTR never leaves.
///
/// The functions stay out of line: one copy of each retry loop, and a call that a debugger or a profile can name.
enum Syscall {
  // MARK: Sockets

  @inline(never)
  static func socket(family: Int32) -> Int {
    call(.socket, -1) { _ in platform_udp_socket(family) }
  }

  @inline(never)
  static func bind(_ descriptor: Int32, _ address: UnsafeRawPointer, _ length: Int) -> Int {
    call(.bind, descriptor) { _ in platform_bind(descriptor, address, socklen_t(length)) }
  }

  @inline(never)
  static func connect(_ descriptor: Int32, _ address: UnsafeRawPointer, _ length: Int) -> Int {
    call(.connect, descriptor) { _ in platform_connect(descriptor, address, socklen_t(length)) }
  }

  @inline(never)
  static func socketName(_ descriptor: Int32, _ address: UnsafeMutableRawPointer, capacity: Int) -> Int {
    var length = socklen_t(capacity)
    let result = call(.socketName, descriptor) { _ in platform_getsockname(descriptor, address, &length) }
    return result < 0 ? result : Int(length)
  }

  @inline(never)
  static func setOption(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) -> Int {
    call(.socketOption, descriptor) { _ in platform_setsockopt_int(descriptor, level, option, value) }
  }

  @inline(never)
  static func option(_ descriptor: Int32, _ level: Int32, _ option: Int32) -> Int {
    var value: Int32 = 0
    let result = call(.socketOption, descriptor) { _ in platform_getsockopt_int(descriptor, level, option, &value) }
    return result < 0 ? result : Int(value)
  }

  @inline(never)
  static func setBufferSize(_ descriptor: Int32, receive: Bool, bytes: Int32) -> Int {
    call(.socketOption, descriptor) { _ in platform_set_buffer_size(descriptor, receive, bytes) }
  }

  @inline(never)
  static func setPathMTUProbe(_ descriptor: Int32, family: Int32) -> Int {
    call(.socketOption, descriptor) { _ in platform_set_path_mtu_probe(descriptor, family) }
  }

  @inline(never)
  static func socketDrops(_ descriptor: Int32) -> Int { platform_socket_drops(descriptor) }

  @inline(never)
  static func sendmsg(_ descriptor: Int32, _ message: UnsafePointer<msghdr>) -> Int {
    call(.sendmsg, descriptor, segmented: message.pointee.msg_controllen != 0) { _ in
      platform_sendmsg(descriptor, message, 0)
    }
  }

  /// One datagram from one place in memory, to an address or, without one, to whom the socket is connected.
  @inline(never)
  static func send(
    _ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ address: UnsafeRawPointer?, _ length: Int
  ) -> Int {
    call(.sendmsg, descriptor) { _ in
      platform_sendto(descriptor, bytes, count, 0, address, socklen_t(truncatingIfNeeded: length))
    }
  }

  /// The length of the datagram, also where it is more than `count`.
  @inline(never)
  static func receive(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
    call(.recvmsg, descriptor) { _ in platform_recv(descriptor, bytes, count, Int32(MSG_TRUNC)) }
  }

  @inline(never)
  static func recvmsg(_ descriptor: Int32, _ message: UnsafeMutablePointer<msghdr>, flags: Int32 = 0) -> Int {
    call(.recvmsg, descriptor) { _ in platform_recvmsg(descriptor, message, flags) }
  }

  @inline(never)
  static func changeMembership(
    _ descriptor: Int32, group: UnsafeRawPointer, interface: UInt32, joins: Bool
  ) -> Int {
    call(.socketOption, descriptor) { _ in
      platform_multicast_membership(descriptor, group.assumingMemoryBound(to: sockaddr.self), interface, joins)
    }
  }

  @inline(never)
  static func setMulticastInterface(_ descriptor: Int32, family: Int32, interface: UInt32) -> Int {
    call(.socketOption, descriptor) { _ in platform_multicast_interface(descriptor, family, interface) }
  }

  #if os(Linux)
  @inline(never)
  static func sendmmsg(_ descriptor: Int32, _ messages: UnsafeMutablePointer<platform_mmsghdr>, _ count: Int) -> Int {
    call(.sendmmsg, descriptor, count: count, segmented: messages.pointee.msg_hdr.msg_controllen != 0) { count in
      platform_sendmmsg(descriptor, messages, UInt32(truncatingIfNeeded: count), 0)
    }
  }

  @inline(never)
  static func recvmmsg(
    _ descriptor: Int32, _ messages: UnsafeMutablePointer<platform_mmsghdr>, _ count: Int, flags: Int32 = 0
  ) -> Int {
    call(.recvmmsg, descriptor, count: count) { count in
      platform_recvmmsg(descriptor, messages, UInt32(truncatingIfNeeded: count), flags)
    }
  }

  @inline(never)
  static func vmsplice(_ pipe: Int32, _ slices: UnsafePointer<iovec>, _ count: Int) -> Int {
    call(.splice, pipe) { _ in platform_vmsplice(pipe, slices, count) }
  }

  @inline(never)
  static func splice(_ pipe: Int32, to descriptor: Int32, _ count: Int) -> Int {
    call(.splice, descriptor) { _ in platform_splice(pipe, descriptor, count) }
  }

  @inline(never)
  static func routeMTU(_ descriptor: Int32, family: Int32) -> Int { platform_route_mtu(descriptor, family) }

  @inline(never)
  static func receiveError(_ descriptor: Int32, _ message: UnsafeMutablePointer<msghdr>) -> Int {
    call(.errorQueue, descriptor) { _ in platform_recvmsg(descriptor, message, Int32(MSG_ERRQUEUE)) }
  }

  @inline(never)
  static func setReceiveErrors(_ descriptor: Int32, family: Int32) -> Int {
    call(.socketOption, descriptor) { _ in platform_set_receive_errors(descriptor, family) }
  }
  #endif

  // MARK: Descriptors

  @inline(never)
  static func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int {
    call(.read, descriptor, count: count) { count in platform_read(descriptor, buffer, count) }
  }

  @inline(never)
  static func write(_ descriptor: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int {
    call(.write, descriptor, count: count) { count in platform_write(descriptor, bytes, count) }
  }

  @inline(never)
  static func openForReading(_ path: UnsafePointer<CChar>) -> Int {
    call(.read, -1) { _ in platform_open_read(path) }
  }

  /// Closes once: after EINTR the descriptor is already gone, and its number may be somebody else's.
  @inline(never)
  static func close(_ descriptor: Int32) {
    #if DEBUG && !hasFeature(Embedded)
    SyscallHook.current?.noteClose(descriptor)
    #endif
    _ = platform_close(descriptor)
  }

  /// Waits for input or an error on any entry. An interrupted wait goes on for what is left of the time.
  @inline(never)
  static func poll(_ entries: UnsafeMutablePointer<pollfd>, _ count: Int, timeout: UInt64) -> Int {
    untilDeadline(.poll, -1, timeout) { left in
      platform_poll(entries, UInt32(truncatingIfNeeded: count), milliseconds(left))
    }
  }

  @inline(never)
  static func pipe(_ ends: UnsafeMutablePointer<Int32>) -> Int { platform_pipe(ends) }

  #if os(Linux)
  @inline(never)
  static func eventfd() -> Int { platform_eventfd() }

  @inline(never)
  static func epollCreate() -> Int { platform_epoll_create() }

  @inline(never)
  static func epollAdd(_ poller: Int32, _ descriptor: Int32) -> Int {
    call(.epollControl, descriptor) { _ in platform_epoll_add(poller, descriptor) }
  }

  @inline(never)
  static func epollRemove(_ poller: Int32, _ descriptor: Int32) -> Int {
    call(.epollControl, descriptor) { _ in platform_epoll_remove(poller, descriptor) }
  }

  @inline(never)
  static func epollWait(_ poller: Int32, timeout: UInt64) -> Int {
    untilDeadline(.epollWait, poller, timeout) { left in platform_epoll_wait(poller, left) }
  }

  @inline(never)
  static func timerCreate() -> Int { platform_timerfd_create() }

  @inline(never)
  static func timerSet(_ descriptor: Int32, deadline: UInt64) -> Int {
    call(.timer, descriptor) { _ in platform_timerfd_set(descriptor, deadline) }
  }
  #endif

  // MARK: The rest

  @inline(never)
  static func random(_ bytes: UnsafeMutableRawPointer, _ count: Int) -> Int {
    call(.random, -1, count: count) { count in platform_getrandom(bytes, count) }
  }

  @inline(never)
  static func interfaceMTU(_ descriptor: Int32, _ name: UnsafePointer<CChar>) -> Int {
    platform_interface_mtu(descriptor, name)
  }

  @inline(never)
  static func interfaceAddresses(_ head: inout UnsafeMutablePointer<ifaddrs>?) -> Int {
    platform_getifaddrs(&head)
  }

  /// The EAI_ code, and what went wrong where it is EAI_SYSTEM.
  @inline(never)
  static func addressInformation(
    _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ hints: inout addrinfo,
    _ head: inout UnsafeMutablePointer<addrinfo>?
  ) -> (code: Int32, system: SystemError) {
    var error: Int32 = 0
    let code = platform_getaddrinfo(node, service, &hints, &head, &error)
    return (code, SystemError(code: error))
  }

  // MARK: Mechanics

  /// Makes one call until it is not interrupted. In debug builds the thread's hook sees it first, and results that
  /// only a defect of this library can cause stop the program.
  @inline(__always)
  private static func call(
    _ name: SyscallName, _ descriptor: Int32, count: Int = 1, segmented: Bool = false, _ body: (Int) -> Int
  ) -> Int {
    while true {
      let result: Int
      #if DEBUG && !hasFeature(Embedded)
      let record = SyscallRecord(name: name, descriptor: descriptor, count: count, segmented: segmented)
      switch SyscallHook.current?.verdict(record) ?? .pass {
      case .pass: result = body(count)
      case .fail(let code): result = -Int(code)
      case .limit(let limit): result = body(min(count, limit))
      }
      #else
      result = body(count)
      #endif
      assert(result != -Int(EBADF) && result != -Int(EFAULT), "a system call was given a descriptor or memory not ours")
      if result != -Int(EINTR) { return result }
    }
  }

  @inline(__always)
  private static func untilDeadline(
    _ name: SyscallName, _ descriptor: Int32, _ timeout: UInt64, _ body: (UInt64) -> Int
  ) -> Int {
    if timeout == 0 || timeout == .max { return call(name, descriptor) { _ in body(timeout) } }
    let (deadline, overflow) = Clock.now().addingReportingOverflow(timeout)
    if overflow { return call(name, descriptor) { _ in body(.max) } }
    return call(name, descriptor) { _ in
      let now = Clock.now()
      return body(deadline > now ? deadline - now : 0)
    }
  }

  /// Whole milliseconds as poll(2) wants them, rounded up so that a short wait does not become a spin; -1 for ever.
  private static func milliseconds(_ nanoseconds: UInt64) -> Int32 {
    if nanoseconds == .max { return -1 }
    let whole = nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
    return Int32(clamping: whole)
  }
}
