import CPlatform

extension UDPSocket {
  /// Receives what is there, up to a batch, and returns how many buffers hold something; 0 when nothing waits. Never
  /// blocks, allocates nothing. The buffers stay valid until the next call.
  ///
  /// It asks for one buffer first, which is quickest for the answer that a ping waits for (recvmmsg of a single datagram
  /// costs 0.2 µs more), and for all while each call brings several.
  ///
  /// The corresponding C functions are `recvmsg` and `recvmmsg`.
  package mutating func receive() -> Int {
    receiving.removeAll()
    #if os(Linux)
    if hotPeer != nil {
      let count = receiveHot()
      if count > 0 || !looksAtMain() { return count }
    }
    #endif
    hole = nil
    for _ in 0..<Self.errorRetries {
      statistics.receiveCalls &+= 1
      let result = receiving.isBusy ? receiveBatch(from: descriptor) : receiveOne()
      if result > 0 {
        receiving.isBusy = !receiving.isBusy || result > 1
        statistics.buffersReceived &+= UInt64(truncatingIfNeeded: result)
        if receiving.count > 0 {
          #if os(Linux)
          noteMainInput()
          #endif
          return receiving.count
        }
        continue
      }
      if result == 0 || result == -Int(EAGAIN) || result == -Int(EWOULDBLOCK) { break }
      // An ICMP error about an earlier datagram; reading it took it away.
      errorsPending = reportsErrors
      statistics.pendingErrors &+= 1
    }
    receiving.isBusy = false
    return 0
  }

  /// What buffer `index` of the last ``receive()`` holds.
  @inline(__always)
  package func datagram(_ index: Int) -> ReceivedDatagrams { receiving.datagrams(index) }

  /// One buffer by recvmsg; how many, or -errno.
  private mutating func receiveOne() -> Int {
    let header = receiving.messages[0]
    let result = Syscall.recvmsg(descriptor, header)
    if result < 0 { return result }
    take(0, length: result)
    return 1
  }

  /// Notes message `index` and makes it ready again.
  @inline(__always)
  mutating func take(_ index: Int, length: Int) {
    if !receiving.accept(index, length: length, segmentSize: segmentSize(ofMessage: index)) {
      statistics.truncated &+= 1
    }
    receiving.reset(index)
  }

  /// Errors in a row that one call steps over; the rest waits for the next.
  @inline(__always) private static var errorRetries: Int { 8 }
}
