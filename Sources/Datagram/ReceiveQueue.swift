import CPlatform

/// The buffers of one system call to receive.
struct ReceiveQueue: ~Copyable {
  /// A buffer that holds something.
  struct Filled {
    var message: Int32
    var length: Int32
    var segmentSize: Int32
  }

  let messages: MessageArray
  let filled: UnsafeMutablePointer<Filled>
  var count = 0
  /// More than one buffer can be expected, so that a batch is worth asking for.
  var isBusy = false
  private let slices: UnsafeMutablePointer<iovec>
  let buffers: UnsafeMutableRawPointer
  let stride: Int

  init(batch: Int, capacity: Int) {
    precondition(batch > 0 && capacity > 0 && capacity <= Int32.max, "a receive batch needs buffers")
    messages = MessageArray(capacity: batch)
    filled = .allocate(capacity: batch)
    slices = .allocate(capacity: batch)
    // Some lines of slack, so that the beginnings of the buffers do not all fall into one set of the cache.
    stride = (capacity + 63) & ~63 + Self.slack
    buffers = .allocate(byteCount: batch * stride, alignment: 64)
    for index in 0..<batch {
      (slices + index).initialize(to: iovec(iov_base: buffers + index * stride, iov_len: capacity))
      let header = messages[index]
      header.pointee.msg_iov = slices + index
      header.pointee.msg_iovlen = 1
      header.pointee.msg_control = messages.control(index)
      reset(index)
    }
  }

  var capacity: Int { messages.capacity }

  @inline(__always)
  mutating func removeAll() { count = 0 }

  /// Takes note of what the kernel stored in message `index`; false for one that was cut off and is dropped.
  @inline(__always)
  mutating func accept(_ index: Int, length: Int, segmentSize: Int) -> Bool {
    let truncated = messages[index].pointee.msg_flags & Int32(MSG_TRUNC) != 0
    if !truncated {
      let whole = segmentSize <= 0 || segmentSize > length
      filled[count] = Filled(
        message: Int32(truncatingIfNeeded: index), length: Int32(truncatingIfNeeded: length),
        segmentSize: Int32(truncatingIfNeeded: whole ? length : segmentSize))
      count += 1
    }
    return !truncated
  }

  /// Makes message `index` ready for the kernel again. Leaves the address in place, which is read later.
  @inline(__always)
  func reset(_ index: Int) {
    let header = messages[index]
    header.pointee.msg_namelen = socklen_t(MessageArray.addressStride)
    header.pointee.msg_controllen = .init(MessageArray.controlStride)
  }

  @inline(__always)
  func datagrams(_ index: Int) -> ReceivedDatagrams {
    precondition(index >= 0 && index < count, "no such datagram")
    let found = filled[index]
    let message = Int(found.message)
    let source = SocketAddress(sockaddr: messages.address(message), length: MessageArray.addressStride)
    return ReceivedDatagrams(
      base: buffers + message * stride, length: Int(found.length), segmentSize: Int(found.segmentSize),
      source: source ?? SocketAddress())
  }

  deinit {
    filled.deallocate()
    slices.deallocate()
    buffers.deallocate()
  }

  @inline(__always) private static var slack: Int { 320 }
}
