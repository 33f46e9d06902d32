import CPlatform

/// Receives single datagrams straight into the memory of those who wait for them, several in one system call.
///
/// The sockets' own buffers stay out of it: a datagram that nobody waits for stays in the kernel. Nothing is allocated
/// after initialization. Not thread-safe.
///
/// Man pages: recvmsg(2), recvmmsg(2)
public struct ScatterReceiver: ~Copyable {
  /// What one call brought for one place.
  package struct Arrival {
    /// Bytes of the datagram, those that did not fit included where the system tells (Linux).
    package var length: Int
    /// Whether some did not fit.
    package var isTruncated: Bool
    package var source: SocketAddress
  }

  private let messages: MessageArray
  /// Bytes of each message; on Linux they stand beside the headers.
  private let lengths: UnsafeMutablePointer<Int>
  private let isPortable: Bool
  /// Whether a batch is worth asking for: the last call brought all that it could.
  private var isBusy = false

  /// `batch`: most datagrams of one call.
  package init(batch: Int, portable: Bool) {
    messages = MessageArray(capacity: batch)
    lengths = .allocate(capacity: batch)
    lengths.initialize(repeating: 0, count: batch)
    isPortable = portable
  }

  deinit { lengths.deallocate() }

  /// How many places the next call can use: one, unless datagrams come in numbers.
  @inline(__always)
  package var room: Int { isBusy ? messages.capacity : 1 }

  /// Says where datagram `index` of the next call goes.
  @inline(__always)
  package func place(_ index: Int, _ slices: UnsafePointer<iovec>, count: Int) {
    let header = messages[index]
    header.pointee.msg_iov = UnsafeMutablePointer(mutating: slices)
    header.pointee.msg_iovlen = .init(truncatingIfNeeded: count)
    header.pointee.msg_namelen = socklen_t(MessageArray.addressStride)
    header.pointee.msg_controllen = 0
  }

  /// Receives into the first `count` places and returns how many datagrams came; 0 when none waits.
  @inline(__always)
  package mutating func receive(from descriptor: Int32, count: Int) -> Int {
    let received = count == 1 ? receiveOne(descriptor, 0) : receiveBatch(descriptor, count)
    isBusy = received == count
    return received
  }

  /// What place `index` of the last call holds.
  @inline(__always)
  package func arrival(_ index: Int) -> Arrival {
    let header = messages[index]
    let source = SocketAddress(sockaddr: messages.address(index), length: MessageArray.addressStride)
    return Arrival(
      length: lengths[index], isTruncated: header.pointee.msg_flags & Int32(MSG_TRUNC) != 0,
      source: source ?? SocketAddress())
  }

  private func receiveOne(_ descriptor: Int32, _ index: Int) -> Int {
    let result = Syscall.recvmsg(descriptor, messages[index], flags: Self.flags)
    if result < 0 { return 0 }
    lengths[index] = result
    return 1
  }

  private func receiveBatch(_ descriptor: Int32, _ count: Int) -> Int {
    #if os(Linux)
    if !isPortable {
      let result = Syscall.recvmmsg(descriptor, messages.elements, count, flags: Self.flags)
      if result <= 0 { return 0 }
      for index in 0..<result { lengths[index] = Int(messages.elements[index].msg_len) }
      return result
    }
    #endif
    for index in 0..<count where receiveOne(descriptor, index) == 0 { return index }
    return count
  }

  /// Linux then tells the datagram's length, not what was stored of it.
  private static var flags: Int32 {
    #if os(Linux)
    Int32(MSG_TRUNC)
    #else
    0
    #endif
  }
}
