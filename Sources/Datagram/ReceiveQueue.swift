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
  /// Bytes of the first buffer's datagram that went elsewhere.
  private var placed = 0
  /// A message whose pieces lie before, in and behind a hole.
  private let pieces: UnsafeMutablePointer<iovec>
  private let piecewise: UnsafeMutablePointer<msghdr>
  private let slices: UnsafeMutablePointer<iovec>
  let buffers: UnsafeMutableRawPointer
  let stride: Int

  init(batch: Int, capacity: Int) {
    precondition(batch > 0 && capacity > 0 && capacity <= Int32.max, "a receive batch needs buffers")
    messages = MessageArray(capacity: batch)
    filled = .allocate(capacity: batch)
    slices = .allocate(capacity: batch)
    pieces = .allocate(capacity: 3)
    piecewise = .allocate(capacity: 1)
    memset(piecewise, 0, MemoryLayout<msghdr>.size)
    piecewise.pointee.msg_iov = pieces
    piecewise.pointee.msg_iovlen = 3
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
  mutating func removeAll() {
    count = 0
    placed = 0
  }

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

  /// The first buffer, for a call that needs no message header.
  @inline(__always)
  var buffer: UnsafeMutableRawPointer { buffers }

  @inline(__always)
  var bufferCapacity: Int { slices.pointee.iov_len }

  /// A message for one datagram into the first buffer, all but what falls into a hole.
  func message(around hole: ReceiveHole) -> UnsafeMutablePointer<msghdr> {
    let behind = end(of: hole)
    pieces[0] = iovec(iov_base: buffers, iov_len: hole.offset)
    pieces[1] = iovec(iov_base: hole.base, iov_len: behind - hole.offset)
    pieces[2] = iovec(iov_base: buffers + behind, iov_len: bufferCapacity - behind)
    return piecewise
  }

  /// Takes note that the datagram in the first buffer was received around a hole.
  mutating func notePlaced(_ hole: ReceiveHole, length: Int) {
    placed = max(0, min(end(of: hole), length) - hole.offset)
  }

  /// Where the buffer goes on behind a hole.
  private func end(of hole: ReceiveHole) -> Int { min(hole.offset + hole.length, bufferCapacity) }

  /// Takes note of one datagram in the first buffer; false for one that was cut off and is dropped.
  @inline(__always)
  mutating func accept(length: Int, from source: SocketAddress) -> Bool {
    guard length <= bufferCapacity else { return false }
    source.store(to: messages.address(0), capacity: MessageArray.addressStride)
    let length = Int32(truncatingIfNeeded: length)
    filled[0] = Filled(message: 0, length: length, segmentSize: length)
    count = 1
    return true
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
      source: source ?? SocketAddress(), placed: index == 0 ? placed : 0)
  }

  deinit {
    pieces.deallocate()
    piecewise.deallocate()
    filled.deallocate()
    slices.deallocate()
    buffers.deallocate()
  }

  @inline(__always) private static var slack: Int { 320 }
}
