import CFabric
import CPlatform
import Datagram
import Transport

// From sockets to the program's memory.
extension DatagramPort {
  /// One round: as many datagrams as receives wait for, at most a batch of each socket. Returns whether there was any.
  package func pump(_ now: Instant) -> Bool {
    if receives.isEmpty { return false }
    if socket.hasFaults { return pumpThroughFaults(now) }
    var isEmpty = !takeInput(socket.descriptor)
    if groups.count > 0 && takeGroupInput() { isEmpty = false }
    return !isEmpty
  }

  @inline(__always)
  private func takeInput(_ descriptor: Int32) -> Bool {
    let places = min(receives.count, receiver.room)
    if places == 0 { return false }
    for place in 0..<places {
      receiver.place(place, receives.slices(place), count: receives[place].pointee.sliceCount)
    }
    let count = receiver.receive(from: descriptor, count: places)
    for place in 0..<count {
      let arrival = receiver.arrival(place)
      complete(length: arrival.length, isTruncated: arrival.isTruncated, from: arrival.source)
    }
    return count > 0
  }

  @inline(never)
  private func takeGroupInput() -> Bool {
    var isEmpty = true
    for index in 0..<groups.count {
      if let group = groups[index], group.descriptor >= 0, takeInput(group.descriptor) { isEmpty = false }
    }
    return !isEmpty
  }

  /// Ends the first receive: a datagram of `length` bytes is in its memory, as far as it fits.
  @inline(__always)
  private func complete(length: Int, isTruncated: Bool, from peer: SocketAddress) {
    let entry = receives[0]
    let buffer = UInt(bitPattern: receives.slices(0).pointee.iov_base)
    defer { receives.removeFirst() }
    if isTruncated {
      let capacity = entry.pointee.capacity
      return fail(
        entry.pointee, buffer: buffer, length: capacity, overflow: max(length - capacity, 0), code: Int32(FI_ETRUNC))
    }
    if entry.pointee.flags & FI_COMPLETION != 0 {
      let source = source(of: peer)
      binding.receiveQueue._withUnsafeGuaranteedRef {
        $0.push(
          context: entry.pointee.context, flags: entry.pointee.flags & ~FI_COMPLETION, length: length, buffer: buffer,
          data: 0, tag: 0, source: source)
      }
    } else {
      binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() }
    }
    binding.counters.receive?._withUnsafeGuaranteedRef { $0.count(UInt64(truncatingIfNeeded: length)) }
  }

  // MARK: A bad network

  /// Where FI_POLYFILL_FAULT is set, datagrams come through the sockets' buffers and are copied.
  @inline(never)
  private func pumpThroughFaults(_ now: Instant) -> Bool {
    var isEmpty = !takeInput(through: &socket, &input, now)
    for index in 0..<groups.count {
      if let group = groups[index], group.takeInput(of: self, now) { isEmpty = false }
    }
    return !isEmpty
  }

  /// Takes what a socket's fault plan lets through, as far as receives wait.
  func takeInput(through socket: inout UDPSocket, _ input: inout DatagramInput, _ now: Instant) -> Bool {
    if input.isEmpty {
      input = DatagramInput(count: socket.receiveThroughFaults(now: now), index: 0)
      let deadline = socket.nextDelivery
      binding.engine._withUnsafeGuaranteedRef { $0.deadlineMoved(deadline) }
    }
    var isEmpty = true
    while !input.isEmpty && !receives.isEmpty {
      isEmpty = false
      let datagram = socket.datagram(input.index)
      input.index += 1
      scatter(datagram.base, datagram.length)
      complete(
        length: datagram.length, isTruncated: datagram.length > receives[0].pointee.capacity, from: datagram.source)
    }
    return !isEmpty
  }

  /// Copies a datagram into the first receive's memory, as far as it fits.
  private func scatter(_ bytes: UnsafeRawPointer, _ length: Int) {
    let slices = receives.slices(0)
    var position = 0
    for index in 0..<receives[0].pointee.sliceCount where position < length {
      let fitting = min(length - position, slices[index].iov_len)
      if fitting > 0 { memcpy(slices[index].iov_base, bytes + position, fitting) }
      position += fitting
    }
  }
}
