import Datagram
import Transport

// From the socket to the transport, and time.
extension Port {
  /// One round: receive a batch, act on what it brought, run timers, send what came of it. Work is bounded by the
  /// socket's batch.
  ///
  /// While the socket does not take what was sent before, nothing is received: completions must not reach the program
  /// while a datagram that reads its memory is still on the way.
  ///
  /// Returns whether the socket had anything.
  package func pump(_ now: Instant) -> Bool {
    guard batch.isEmpty || sendBatch(now) else { return false }
    if queuedOperations > 0 && endsOperations(now) { return true }
    isPaused = false
    var isEmpty = false
    if inputIndex >= inputCount {
      isEmpty = !takeInput(now)
      if socket.errorsPending { takeErrors(now) }
    }
    processInput(now)
    // The datagrams of a large transfer come one by one from the hot peer, and seldom alone; so do those of a stream,
    // whose sender is told where it stands once no more is there.
    var isIdle = isEmpty
    var patience = Self.furtherInputs
    while patience > 0, placement != nil || transport.expectsMore, inputIndex >= inputCount, !isPaused, !isIdle {
      isIdle = !takeInput(now)
      processInput(now)
      patience -= 1
    }
    if isIdle { transport.pollIdle(now: now) }
    transport.handleTimeout(now: now)
    if asksWhoIsSilent { askSilentPeers(now) }
    drain(now)
    if internalDeadline <= now { work(now) }
    if transport.wantsTransmit { flush(now) }
    return !isEmpty
  }

  /// Sends what is queued first. Whether that ended operations, so that the program has something to do without a look at
  /// the socket, which is taken in every fourth round all the same.
  @inline(__always)
  private func endsOperations(_ now: Instant) -> Bool {
    let before = outstanding
    flush(now)
    unheardRounds = outstanding < before ? (unheardRounds + 1) & 3 : 0
    return unheardRounds != 0
  }

  /// Receives a batch; false when nothing is there.
  @inline(__always)
  private func takeInput(_ now: Instant) -> Bool {
    inputCount = socket.hasFaults ? receiveThroughFaults(now) : receive()
    inputIndex = 0
    inputOffset = 0
    return inputCount > 0
  }

  /// Receives, the payload of a large transfer straight where it probably belongs.
  @inline(__always)
  private func receive() -> Int {
    placement = hotDescriptor < 0 ? nil : transport.nextPlacement()
    if let placement {
      socket.hole = ReceiveHole(
        offset: placement.headerLength, base: placement.target, length: placement.length)
    }
    let count = socket.receive()
    // Without a datagram there is no guess either, and no reason to look for one more.
    if count == 0 { placement = nil } else if placement != nil { checkPlacement() }
    return count
  }

  /// Was the guess wrong, then the buffer gets what belongs into it after all.
  private func checkPlacement() {
    let first = socket.datagram(0)
    guard let guess = placement, first.placed > 0 else {
      placement = nil
      return
    }
    let bytes = UnsafeRawBufferPointer(start: first.base, count: first.length)
    if transport.fits(guess, bytes, placed: first.placed) { return }
    (first.base + guess.headerLength).copyMemory(from: guess.target, byteCount: first.placed)
    placement = nil
  }

  /// Receives where FI_POLYFILL_FAULT is set, and tells sleepers when to come for what is kept back.
  @inline(never)
  private func receiveThroughFaults(_ now: Instant) -> Int {
    let count = socket.receiveThroughFaults(now: now)
    let deadline = socket.nextDelivery
    binding.engine._withUnsafeGuaranteedRef { $0.deadlineMoved(deadline) }
    return count
  }

  /// Feeds received datagrams, one by one, until all are done or the completion queue is full.
  private func processInput(_ now: Instant) {
    if isSuspended {
      drain(now)
      if isSuspended { return }
    }
    while inputIndex < inputCount {
      let datagrams = socket.datagram(inputIndex)
      let source = PeerAddress(words: datagrams.source.words)
      while inputOffset < datagrams.length {
        if isPaused { return }
        let length = min(datagrams.segmentSize, datagrams.length - inputOffset)
        let bytes = UnsafeRawBufferPointer(start: datagrams.base + inputOffset, count: length)
        inputOffset += length
        let placed = inputIndex == 0 && placement != nil ? datagrams.placed : 0
        transport.receive(bytes, from: source, now: now, placement: placement, placed: placed)
        drain(now)
        if isSuspended { return }
      }
      inputIndex += 1
      inputOffset = 0
    }
  }

  /// Whether received messages wait until the program has posted receives: it has others to look at first.
  package var mustContinue: Bool { isPaused && inputIndex < inputCount }

  /// How many more such datagrams are taken in one round.
  @inline(__always) private static var furtherInputs: Int { 7 }
}
