#if os(Linux)
import CPlatform

// The way of datagrams to and from the hot peer.
extension UDPSocket {
  /// Gives a peer that everything has gone to for a while a socket of its own.
  @inline(__always)
  mutating func findHotPeer(_ batch: UnsafePointer<OutgoingDatagrams>, count: Int) {
    guard !hotPeerSearch.isOver else { return }
    for index in 0..<count where hotPeerSearch.note(batch[index].destination) {
      return openHotPeer(batch[index].destination)
    }
  }

  @inline(never)
  private mutating func openHotPeer(_ peer: SocketAddress) {
    // A refusal is for good: the reason will hardly go away, and trying costs.
    guard let opened = HotPeer.open(beside: descriptor, localAddress, to: peer, hotPeerOptions) else {
      hotPeerSearch.isOver = true
      return
    }
    let memory = UnsafeMutablePointer<HotPeer>.allocate(capacity: 1)
    memory.initialize(to: opened)
    hotPeer = memory
    hotPeerSearch.restart()
  }

  /// Goes on without; what waits in its socket is lost.
  package mutating func closeHotPeer() {
    guard let hotPeer else { return }
    hotPeer.deinitialize(count: 1)
    hotPeer.deallocate()
    self.hotPeer = nil
  }

  /// Does without for good.
  package mutating func giveUpHotPeers() {
    closeHotPeer()
    hotPeerSearch.isOver = true
  }

  /// Sends entries through the socket that their destination calls for.
  mutating func sendByPeer(_ batch: UnsafePointer<OutgoingDatagrams>, count: Int) -> SendOutcome {
    let address = hotPeer!.pointee.address
    var entry = 0
    var hot = 0
    while entry < count {
      let isHot = batch[entry].destination == address
      var end = entry + 1
      while end < count && (batch[end].destination == address) == isHot { end += 1 }
      let outcome =
        isHot
        ? sendHot(batch + entry, count: end - entry) : send(batch + entry, count: end - entry, through: descriptor)
      entry += outcome.sent
      if isHot { hot += outcome.sent }
      switch outcome.stop {
      case .finished: continue
      case .unreachable, .other:
        // A connected socket keeps the address it had when its route was another one.
        if isHot { closeHotPeer() }
      case .wouldBlock, .noBuffers, .tooBig, .refused: break
      }
      return SendOutcome(sent: entry, segments: outcome.segments, stop: outcome.stop)
    }
    if hotPeerSearch.note(hot: hot, others: count - hot) {
      closeHotPeer()
      hotPeerSearch.restart()
    }
    return SendOutcome(sent: count, segments: 0, stop: .finished)
  }

  private mutating func sendHot(_ batch: UnsafePointer<OutgoingDatagrams>, count: Int) -> SendOutcome {
    let hot = hotPeer!
    var entry = 0
    while entry < count {
      if Splice.suits(batch + entry), hot.pointee.splice != nil, !scratch.isEmpty,
        hot.pointee.splice!.send(batch + entry, through: hot.pointee.descriptor, scratch: scratch)
      {
        statistics.sendCalls &+= 2
        statistics.datagramsSent &+= 1
        entry += 1
        continue
      }
      if hot.pointee.splice?.isBroken == true {
        // It may have been told an error about an earlier datagram, which nobody else will hear of.
        errorsPending = reportsErrors
        hot.pointee.replaceSplice()
      }
      var end = entry + 1
      while end < count && !Splice.suits(batch + end) { end += 1 }
      let outcome = send(batch + entry, count: end - entry, through: hot.pointee.descriptor)
      entry += outcome.sent
      guard outcome.stop == .finished else {
        return SendOutcome(sent: entry, segments: outcome.segments, stop: outcome.stop)
      }
    }
    return SendOutcome(sent: count, segments: 0, stop: .finished)
  }

  /// One datagram, or several put together, of the hot peer; how many buffers. 0 now and then although there may be more,
  /// so that others get their turn.
  mutating func receiveHot() -> Int {
    let hot = hotPeer!
    let hole = self.hole
    self.hole = nil
    hot.pointee.isTurnOfMain = hot.pointee.turns >= Self.hotTurns
    guard !hot.pointee.isTurnOfMain else {
      hot.pointee.turns = 0
      return 0
    }
    statistics.receiveCalls &+= 1
    let result: Int
    if hot.pointee.isWhole, let hole {
      let message = receiving.message(around: hole)
      result = Syscall.recvmsg(hot.pointee.descriptor, message)
      if result > 0 {
        take(message.pointee.msg_flags & Int32(MSG_TRUNC) != 0 ? .max : result, from: hot.pointee.address)
        if receiving.count > 0 { receiving.notePlaced(hole, length: result) }
      }
    } else if hot.pointee.isBusy {
      result = receiveBatch(from: hot.pointee.descriptor)
    } else if hot.pointee.isWhole {
      // The plain call is quicker, and the peer is known.
      result = Syscall.receive(hot.pointee.descriptor, receiving.buffer, receiving.bufferCapacity)
      if result > 0 { take(result, from: hot.pointee.address) }
    } else {
      result = Syscall.recvmsg(hot.pointee.descriptor, receiving.messages[0])
      if result > 0 { take(0, length: result) }
    }
    guard result > 0 else {
      hot.pointee.turns = 0
      hot.pointee.isBusy = false
      if result < 0 && result != -Int(EAGAIN) {
        errorsPending = reportsErrors
        statistics.pendingErrors &+= 1
      }
      return 0
    }
    hot.pointee.turns += 1
    // As in `receive`: one at a time for the answer that a ping waits for, batches while they bring several.
    let isBatch = !(hot.pointee.isWhole && hole != nil)
    hot.pointee.isBusy = isBatch && (!hot.pointee.isBusy || receiving.count > 1)
    statistics.buffersReceived &+= UInt64(receiving.count)
    return receiving.count
  }

  /// Whether to look at the main socket after the hot peer's: every time at first, and seldom once it has been quiet for
  /// a while, since a look costs more than the hot peer's own.
  @inline(__always)
  mutating func looksAtMain() -> Bool {
    let hot = hotPeer!
    hot.pointee.quietLooks &+= 1
    return hot.pointee.quietLooks <= Self.looksBeforeQuiet || hot.pointee.quietLooks & 3 == 0
      || hot.pointee.isTurnOfMain
  }

  /// Somebody other than the hot peer talks.
  @inline(__always)
  mutating func noteMainInput() { hotPeer?.pointee.quietLooks = 0 }

  @inline(__always)
  private mutating func take(_ length: Int, from source: SocketAddress) {
    if !receiving.accept(length: length, from: source) { statistics.truncated &+= 1 }
  }

  @inline(__always) private static var hotTurns: Int { 8 }
  @inline(__always) private static var looksBeforeQuiet: UInt32 { 64 }
}
#endif
