import Transport

/// What runs on a host: posts operations and answers events.
package protocol HostProgram: AnyObject {
  /// The host is awake: post what is due.
  func step(_ host: SimulatedHost, _ network: SimulatedNetwork)
  /// When `step` has something to do next.
  func nextStep(_ host: SimulatedHost) -> Instant
  /// Answers an event that was just polled.
  func handle(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork)
}

/// How often a host looks at its socket, and how well the socket works.
package struct HostHabits {
  /// From an arrival or deadline to the poll that notices it.
  package var reaction: UInt64 = microseconds(1)
  /// A host that sleeps polls only at multiples of this; 0 polls when something happens.
  package var cadence: UInt64 = 0
  /// From a poll that found something to the next one.
  package var pollGap: UInt64 = microseconds(1)
  /// Datagrams received before the host transmits.
  package var receiveBatch = 64
  /// Probability that the socket blocks in the middle of a batch, which is then kept until the next poll.
  package var blocking = 0.0
  /// Probability that a kept batch is dropped instead of sent.
  package var dropping = 0.0
  /// The socket puts payload where the endpoint predicts that it belongs.
  package var places = true

  package init() {}
}

/// A computer with one transport endpoint, a socket and a program, pumped as a progress engine does it.
package final class SimulatedHost {
  package let index: Int
  package let address: PeerAddress
  package var configuration: TransportConfiguration
  package var endpoint: TransportEndpoint
  package var program: any HostProgram
  package var habits = HostHabits()
  /// Nobody runs here; datagrams find no socket.
  package private(set) var isDown = false
  /// How often the endpoint was replaced.
  package private(set) var incarnation = 0
  /// The process is stopped until then; its socket still fills.
  package var pausedUntil: Instant = 0

  /// Datagrams whose payload was where the endpoint had predicted, and those that were something else.
  package private(set) var rightGuesses = 0
  package private(set) var wrongGuesses = 0

  package private(set) var queuedBytes = 0
  private var queue: [Int] = []
  private var queueHead = 0
  private var batch = TransmitBatch()
  /// Transmits of the batch that were sent; the rest waits for the socket.
  private var batchSent = 0
  private var nextWake: Instant = never

  init(index: Int, configuration: TransportConfiguration, program: any HostProgram) {
    self.index = index
    self.configuration = configuration
    self.program = program
    address = SimulatedNetwork.address(index)
    endpoint = TransportEndpoint(configuration: configuration, localAddress: address)
  }

  package var usage: TransportUsage { endpoint.usage }
  package var statistics: TransportStatistics { endpoint.statistics }
  package var isDrained: Bool { endpoint.isDrained }
  /// Nothing is under way, and nothing is timed.
  package var isQuiet: Bool { endpoint.isQuiet && endpoint.nextTimeout() == never }

  /// Makes sure that the host looks around at `time` or before.
  package func schedule(at time: Instant, _ network: SimulatedNetwork) {
    guard time != never, !isDown else { return }
    var time = max(time, network.now, pausedUntil)
    if habits.cadence > 0 { time = (time + habits.cadence - 1) / habits.cadence * habits.cadence }
    guard time < nextWake else { return }
    nextWake = time
    network.clock.schedule(.wake(host: index), at: time)
  }

  /// The process dies: everything it knew is gone.
  package func stop(_ network: SimulatedNetwork) {
    network.note("\(index) stops")
    isDown = true
    dropQueue(network)
    batch.removeAll()
    batchSent = 0
  }

  /// A new process takes the same address.
  package func restart(_ network: SimulatedNetwork, seed: UInt64) {
    incarnation += 1
    configuration.seed = seed
    endpoint = TransportEndpoint(configuration: configuration, localAddress: address)
    isDown = false
    nextWake = never
    network.note("\(index) starts again, incarnation \(incarnation)")
    schedule(at: network.now, network)
  }

  func enqueue(_ datagram: Int, bytes: Int, network: SimulatedNetwork) {
    queue.append(datagram)
    queuedBytes += bytes
    schedule(at: network.now + habits.reaction, network)
  }

  func dropQueue(_ network: SimulatedNetwork) {
    while let datagram = dequeue(network) { network.release(datagram) }
  }

  private func dequeue(_ network: SimulatedNetwork) -> Int? {
    guard queueHead < queue.count else {
      queue.removeAll(keepingCapacity: true)
      queueHead = 0
      return nil
    }
    queueHead += 1
    queuedBytes -= network.byteCount(queue[queueHead - 1])
    return queue[queueHead - 1]
  }

  // MARK: The pump

  func wake(_ network: SimulatedNetwork) {
    guard !isDown, network.now >= nextWake else { return }
    let now = network.now
    nextWake = never
    guard now >= pausedUntil else { return schedule(at: pausedUntil, network) }
    flushKept(network)
    program.step(self, network)
    var received = 0
    while received < habits.receiveBatch, let datagram = dequeue(network) {
      receive(datagram, network)
      received += 1
    }
    if received == 0 { endpoint.pollIdle(now: now) }
    if endpoint.nextTimeout() <= now { endpoint.handleTimeout(now: now) }
    drainEvents(network)
    let sent = transmit(network)
    if received > 0 || sent { schedule(at: now + habits.pollGap, network) }
    if queueHead < queue.count { schedule(at: now + habits.pollGap, network) }
    if !batch.isEmpty { schedule(at: max(now + habits.pollGap, network.whenWritable(index)), network) }
    schedule(at: program.nextStep(self), network)
    let timeout = endpoint.nextTimeout()
    if timeout != never { schedule(at: max(timeout, now) + habits.reaction, network) }
  }

  private func receive(_ datagram: Int, _ network: SimulatedNetwork) {
    let (source, bytes) = network.datagram(datagram)
    let placement = habits.places ? endpoint.nextPlacement() : nil
    if let placement, bytes.count > placement.headerLength {
      place(UnsafeMutableRawBufferPointer(mutating: bytes), from: source, placement, network)
    } else {
      endpoint.receive(bytes, from: source, now: network.now)
    }
    drainEvents(network)
    network.release(datagram)
  }

  /// Receives as a socket does that puts a part of the datagram elsewhere: that part is not in the buffer then, and is
  /// put there when the guess was wrong.
  private func place(
    _ bytes: UnsafeMutableRawBufferPointer, from source: PeerAddress, _ placement: Placement,
    _ network: SimulatedNetwork
  ) {
    let part = bytes.baseAddress! + placement.headerLength
    let placed = min(placement.length, bytes.count - placement.headerLength)
    placement.target.copyMemory(from: part, byteCount: placed)
    part.initializeMemory(as: UInt8.self, repeating: 0xEE, count: placed)
    if endpoint.fits(placement, UnsafeRawBufferPointer(bytes), placed: placed) {
      rightGuesses += 1
      return endpoint.receive(
        UnsafeRawBufferPointer(bytes), from: source, now: network.now, placement: placement, placed: placed)
    }
    wrongGuesses += 1
    part.copyMemory(from: placement.target, byteCount: placed)
    endpoint.receive(UnsafeRawBufferPointer(bytes), from: source, now: network.now)
  }

  private func drainEvents(_ network: SimulatedNetwork) {
    while network.failure == nil, let event = endpoint.pollEvent(now: network.now) {
      program.handle(event.pointee, self, network)
    }
  }

  private func flushKept(_ network: SimulatedNetwork) {
    guard !batch.isEmpty else { return }
    if network.random.chance(habits.dropping) {
      network.note("\(index) drops \(batch.count - batchSent) transmits that the socket did not take")
    } else {
      while batchSent < batch.count {
        if network.whenWritable(index) > network.now { return }
        send(batch.transmits[take()], network)
      }
    }
    batch.removeAll()
    batchSent = 0
  }

  private func take() -> Int {
    batchSent += 1
    return batchSent - 1
  }

  private func transmit(_ network: SimulatedNetwork) -> Bool {
    var sent = false
    while batch.isEmpty && network.failure == nil && endpoint.pollTransmit(into: &batch, now: network.now) {
      if batch.isEmpty { return network.fail("host \(index): pollTransmit promised a transmit and made none") != () }
      sent = true
      while batchSent < batch.count {
        if network.whenWritable(index) > network.now { return true }
        if network.random.chance(habits.blocking) { return true }
        send(batch.transmits[take()], network)
      }
      batch.removeAll()
      batchSent = 0
    }
    return sent
  }

  /// Splits a transmit into its datagrams, as UDP_SEGMENT does.
  private func send(_ transmit: Transmit, _ network: SimulatedNetwork) {
    guard check(transmit, network) else { return }
    var slice = transmit.firstSlice
    var used = 0
    var left = transmit.totalLength
    repeat {
      let count = min(transmit.segmentSize, left)
      left -= count
      network.send(
        from: index, to: transmit.destination,
        { memory in
          var filled = 0
          while filled < count {
            let source = self.batch.slices[slice]
            let part = min(source.count - used, count - filled)
            if part > 0 { (memory + filled).copyMemory(from: source.base! + used, byteCount: part) }
            filled += part
            used += part
            if used == source.count {
              slice += 1
              used = 0
            }
          }
        }, count: count)
    } while left > 0
  }

  /// What every transmit must obey, whoever sends it.
  private func check(_ transmit: Transmit, _ network: SimulatedNetwork) -> Bool {
    var sum = 0
    for slice in transmit.firstSlice..<(transmit.firstSlice + transmit.sliceCount) { sum += batch.slices[slice].count }
    let segments = (transmit.totalLength + transmit.segmentSize - 1) / max(transmit.segmentSize, 1)
    let isFine =
      transmit.totalLength > 0 && transmit.segmentSize > 0 && sum == transmit.totalLength
      && transmit.totalLength <= 65_507 && segments <= configuration.maximumSegments
      && min(transmit.segmentSize, transmit.totalLength) <= configuration.maximumDatagram
      && transmit.sliceCount <= TransmitBatch.maximumSlicesPerTransmit
    if !isFine {
      network.fail(
        "host \(index): impossible transmit: \(transmit.totalLength) bytes in \(segments) segments of "
          + "\(transmit.segmentSize), slices hold \(sum)")
    }
    return isFine
  }
}
