import CPlatform

extension UDPSocket {
  /// Sends filled messages from `first` with one call each; how many went, or -errno of the first.
  mutating func transmitOneByOne(from first: Int, count: Int) -> Int {
    for index in 0..<count {
      let result = Syscall.sendmsg(descriptor, sending.messages[first + index])
      if result < 0 { return index > 0 ? index : result }
    }
    return count
  }

  /// A batch with one recvmsg each; how many buffers, or -errno of the first.
  mutating func receiveOneByOne() -> Int {
    for index in 0..<receiving.capacity {
      let result = Syscall.recvmsg(descriptor, receiving.messages[index])
      if result < 0 { return index > 0 ? index : result }
      take(index, length: result)
    }
    return receiving.capacity
  }

  /// Whether silence is to be looked into with ``isRefused(_:)``, since nothing is reported.
  package var asksWhoIsSilent: Bool { portable && !reportsErrors }

  /// Whether nobody listens at an address, as far as an earlier call could find out; a hint as all ``PeerError``s are.
  package mutating func isRefused(_ destination: SocketAddress) -> Bool { refusalProbes.isRefused(destination) }
}

#if !os(Linux)
extension UDPSocket {
  @inline(__always)
  mutating func transmit(from first: Int, count: Int, through socket: Int32) -> Int {
    transmitOneByOne(from: first, count: count)
  }

  @inline(__always)
  mutating func receiveBatch(from socket: Int32) -> Int { receiveOneByOne() }

  @inline(__always)
  func segmentSize(ofMessage index: Int) -> Int { 0 }

  package mutating func giveUpHotPeers() {}

  /// There is no error queue here.
  package mutating func nextError() -> PeerError? { nil }
}
#endif
