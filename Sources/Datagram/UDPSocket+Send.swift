import CPlatform

extension UDPSocket {
  /// Sends `count` entries in order until one does not go. Never blocks, allocates nothing.
  ///
  /// An error that belongs to an earlier datagram costs no entry: it is retried, and ``errorsPending`` is set.
  ///
  /// The corresponding C functions are `sendmsg` and `sendmmsg`.
  package mutating func send(_ batch: UnsafePointer<OutgoingDatagrams>, count: Int) -> SendOutcome {
    #if os(Linux)
    if hotPeer != nil { return sendByPeer(batch, count: count) }
    let outcome = send(batch, count: count, through: descriptor)
    findHotPeer(batch, count: outcome.sent)
    return outcome
    #else
    return send(batch, count: count, through: descriptor)
    #endif
  }

  /// The same through one socket; one that is connected when it is not the main one.
  mutating func send(
    _ batch: UnsafePointer<OutgoingDatagrams>, count: Int, through socket: Int32
  ) -> SendOutcome {
    guard count > 0 else { return SendOutcome(sent: 0, segments: 0, stop: .finished) }
    var entry = 0
    var segment = batch[0].firstSegment
    var trouble = Trouble()
    while entry < count {
      sending.fill(
        batch, count, entry: entry, segment: segment, offload: segmentationOffload, connected: socket != descriptor)
      var first = 0
      while first < sending.count {
        statistics.sendCalls &+= 1
        let result = transmit(from: first, count: sending.count - first, through: socket)
        if result > 0 {
          account(first, result, trouble)
          first += result
          let last = sending.origins[first - 1]
          entry = Int(last.entry)
          segment = Int(last.firstSegment &+ last.segments)
          if last.isLast {
            entry += 1
            segment = entry < count ? batch[entry].firstSegment : 0
          }
          trouble.retries = 0
          continue
        }
        switch judge(Int32(truncatingIfNeeded: -result), sending.origins[first], &trouble) {
        case .again: continue
        case .refill: first = sending.count
        case .stop(let stop): return SendOutcome(sent: entry, segments: segment, stop: stop)
        }
      }
    }
    return SendOutcome(sent: count, segments: 0, stop: .finished)
  }

  /// Sends one entry: the shortest way for a single message.
  package mutating func send(_ datagrams: borrowing OutgoingDatagrams) -> SendOutcome {
    withUnsafePointer(to: datagrams) { send($0, count: 1) }
  }

  /// What went wrong so far in one call to `send`.
  private struct Trouble {
    /// Times the current message was tried again.
    var retries = 0
    /// The entry that the kernel refused to cut, and the errno it said.
    var refusedEntry: Int32 = -1
    var refusal: Int32 = 0
  }

  /// What to do about a message that did not go.
  private enum Verdict {
    case again
    case refill
    case stop(SendStop)
  }

  @inline(never)
  private mutating func judge(_ code: Int32, _ origin: SendQueue.Origin, _ trouble: inout Trouble) -> Verdict {
    if code == EAGAIN || code == EWOULDBLOCK { return .stop(.wouldBlock) }
    if code == ENOBUFS || code == ENOMEM { return .stop(.noBuffers) }
    // Any other error may have been left on the socket by an ICMP packet about an earlier datagram: reading it took it
    // away, so that the same message goes now. ECONNREFUSED never belongs to an unconnected socket's own send.
    errorsPending = reportsErrors
    if trouble.retries < (code == ECONNREFUSED ? Self.refusedRetries : 1) {
      trouble.retries += 1
      statistics.pendingErrors &+= 1
      return .again
    }
    trouble.retries = 0
    if segmentationOffload && origin.segments > 1 && Self.refusesSegmentation(code) {
      segmentationOffload = false
      statistics.segmentationRefusals &+= 1
      trouble.refusedEntry = origin.entry
      trouble.refusal = code
      return .refill
    }
    if code == EMSGSIZE && trouble.refusal == EINVAL && trouble.refusedEntry == origin.entry && origin.firstSegment == 0
    {
      // Some kernels say EINVAL to segments larger than the MTU: the size was refused, not the offload.
      segmentationOffload = true
      statistics.segmentationRefusals &-= 1
    }
    return .stop(Self.stop(code))
  }

  @inline(__always)
  private mutating func account(_ first: Int, _ count: Int, _ trouble: Trouble) {
    for index in first..<first + count {
      let origin = sending.origins[index]
      statistics.datagramsSent &+= UInt64(truncatingIfNeeded: origin.segments)
      if origin.entry == trouble.refusedEntry { statistics.segmentsResent &+= 1 }
    }
  }

  /// What drivers and kernels answer to UDP_SEGMENT that they cannot serve; some do so only at the first send.
  private static func refusesSegmentation(_ code: Int32) -> Bool {
    code == EIO || code == EINVAL || code == EOPNOTSUPP || code == ENOPROTOOPT
  }

  private static func stop(_ code: Int32) -> SendStop {
    switch code {
    case EMSGSIZE: return .tooBig
    case EHOSTUNREACH, ENETUNREACH, EHOSTDOWN, ENETDOWN, EADDRNOTAVAIL: return .unreachable
    case ECONNREFUSED: return .refused
    default: return .other(code)
    }
  }

  /// ICMP packets can arrive faster than one at a time, but not for ever.
  @inline(__always) private static var refusedRetries: Int { 8 }
}
