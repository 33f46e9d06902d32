#if os(Linux)
import CPlatform

extension UDPSocket {
  /// Sends filled messages from `first`; how many went, or -errno of the first.
  @inline(__always)
  mutating func transmit(from first: Int, count: Int, through socket: Int32) -> Int {
    if count == 1 {
      let header = sending.messages[first]
      // The plain call is quicker: 0.1 µs that a ping waits for.
      let result =
        header.pointee.msg_iovlen == 1 && header.pointee.msg_controllen == 0
        ? Syscall.send(
          socket, header.pointee.msg_iov.pointee.iov_base, header.pointee.msg_iov.pointee.iov_len,
          header.pointee.msg_name, Int(header.pointee.msg_namelen)) : Syscall.sendmsg(socket, header)
      return result < 0 ? result : 1
    }
    if portable { return transmitOneByOne(from: first, count: count) }
    let result = Syscall.sendmmsg(socket, sending.messages.elements + first, count)
    // The error that ended a batch early is lost; if it belonged to an earlier datagram, only this tells.
    if result >= 0 && result < count { errorsPending = reportsErrors }
    return result
  }

  /// A batch by recvmmsg; how many buffers, or -errno.
  @inline(__always)
  mutating func receiveBatch(from socket: Int32) -> Int {
    if portable { return receiveOneByOne() }
    let result = Syscall.recvmmsg(socket, receiving.messages.elements, receiving.capacity)
    if result <= 0 { return result }
    for index in 0..<result { take(index, length: Int(receiving.messages.elements[index].msg_len)) }
    return result
  }

  /// What UDP_GRO says about a received message.
  @inline(__always)
  func segmentSize(ofMessage index: Int) -> Int {
    let header = receiving.messages[index]
    return header.pointee.msg_controllen == 0 ? 0 : Int(platform_gro_segment_size(header))
  }

  /// Turns on what Linux has beyond POSIX, as far as this kernel has it.
  static func enableFeatures(_ descriptor: Int32, _ family: Int32, _ options: UDPSocketOptions) -> Features {
    var features = Features()
    // Asking for the default segment size shows whether the kernel knows the option; whether the device serves it shows
    // at the first send only.
    features.segmentation =
      options.segmentationOffload && Syscall.option(descriptor, Int32(SOL_UDP), UDP_SEGMENT) >= 0
    features.receiveOffload = options.receiveOffload && Syscall.setOption(descriptor, Int32(SOL_UDP), UDP_GRO, 1) >= 0
    features.errors = Syscall.setReceiveErrors(descriptor, family: family) >= 0
    return features
  }

  /// Takes one error from the socket's error queue; nil when there is none. Call it until nil when ``errorsPending`` is
  /// set: a poller takes the socket for ready as long as errors wait.
  package mutating func nextError() -> PeerError? {
    guard reportsErrors else { return nil }
    if let error = Self.nextError(descriptor) { return error }
    if let hotPeer, let error = Self.nextError(hotPeer.pointee.descriptor) { return error }
    errorsPending = false
    return nil
  }

  private static func nextError(_ descriptor: Int32) -> PeerError? {
    var error: PeerError?
    for _ in 0..<strangeErrors {
      let found = withUnsafeTemporaryAllocation(byteCount: errorStorage, alignment: 16) {
        readError(descriptor, storage: $0.baseAddress!, &error)
      }
      if !found || error != nil { break }
    }
    return error
  }

  /// False when the error queue is empty; an entry that says nothing about a destination leaves `error` nil.
  private static func readError(
    _ descriptor: Int32, storage: UnsafeMutableRawPointer, _ error: inout PeerError?
  ) -> Bool {
    var header = msghdr()
    header.msg_name = storage
    header.msg_namelen = socklen_t(MessageArray.addressStride)
    header.msg_control = storage + MessageArray.addressStride
    header.msg_controllen = errorStorage - MessageArray.addressStride
    if Syscall.receiveError(descriptor, &header) < 0 { return false }
    var report = sock_extended_err()
    if platform_extended_error(&header, &report),
      let destination = SocketAddress(sockaddr: storage, length: Int(header.msg_namelen))
    {
      let isLocal = report.ee_origin == UInt8(SO_EE_ORIGIN_LOCAL)
      error = PeerError(destination: destination, kind: kind(report), isLocal: isLocal)
    }
    return true
  }

  private static func kind(_ error: sock_extended_err) -> PeerError.Kind {
    switch Int32(truncatingIfNeeded: error.ee_errno) {
    case ECONNREFUSED: return .portUnreachable
    case EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, ENONET: return .hostUnreachable
    case EMSGSIZE: return .messageTooBig(mtu: Int(error.ee_info))
    case let code: return .other(code)
    }
  }

  /// Room for an address and for the control messages of an error: what was reported, and by whom.
  @inline(__always) private static var errorStorage: Int { 256 }
  /// Entries without an address that one call skips.
  @inline(__always) private static var strangeErrors: Int { 64 }
}
#endif
