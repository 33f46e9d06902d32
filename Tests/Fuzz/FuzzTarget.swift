import Packet
import Transport

// Throws bytes at everything that reads a datagram. Built by Tests/Fuzz/run with libFuzzer and AddressSanitizer.
//
// An input is a script: the first byte chooses between the bare decoders and an endpoint with an established session,
// whose peer knows all its secrets and means harm. Whatever the script is, nothing may trap, no byte outside of the
// datagram may be read and none outside of the program's memory written, and every loop must end.

/// Reads a script; zeros follow its end.
private struct Script {
  let bytes: UnsafeRawBufferPointer
  var position = 0

  var isOver: Bool { position >= bytes.count }

  mutating func byte() -> UInt8 {
    defer { position += 1 }
    return position < bytes.count ? bytes[position] : 0
  }

  mutating func number() -> Int { Int(byte()) | Int(byte()) << 8 }

  /// Up to `count` bytes, fewer at the end.
  mutating func take(_ count: Int) -> UnsafeRawBufferPointer {
    let start = min(position, bytes.count)
    let end = min(start + count, bytes.count)
    position = end
    return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
  }
}

// MARK: Bare decoders

private func decodeEverything(_ bytes: UnsafeRawBufferPointer) {
  let reader = ByteReader(bytes)
  var copies = (reader, reader, reader, reader, reader, reader)
  _ = DataHeader(&copies.0)
  _ = InitialPacket(&copies.1)
  _ = ChallengePacket(&copies.2)
  _ = ConfirmHeader(&copies.3)
  _ = ResetPacket(&copies.4)
  _ = TransportParameters(&copies.5)
  decodeFrames(reader)
}

private func decodeFrames(_ start: ByteReader) {
  var reader = start
  while reader.remaining > 0, let type = FrameType(rawValue: reader.peek(0, as: UInt8.self)) {
    let before = reader.position
    switch type {
    case .padding: reader.skip(1)
    case .probe, .close: guard ShortFrame.decode(&reader) else { return }
    case .rangeAck:
      guard let frame = RangeAckFrame(&reader) else { return }
      var walk = RangeAckFrame.Runs(frame, largest: UInt64(frame.largest))
      while let run = walk.next() { precondition(run.first <= run.last) }
    case .accept: guard AcceptFrame(&reader) != nil else { return }
    case .credit: guard CreditFrame(&reader) != nil else { return }
    case .pullRequest: guard PullRequestFrame(&reader) != nil else { return }
    case .operationDone: guard OperationDoneFrame(&reader) != nil else { return }
    case .dataChunk:
      guard let frame = DataChunkFrame(&reader) else { return }
      touch(frame.payload, frame.payloadLength)
    case .readResponse:
      guard let frame = ReadResponseFrame(&reader) else { return }
      touch(frame.payload, frame.payloadLength)
    default:
      guard let frame = OrderedFrame(type, &reader) else { return }
      touch(frame.payload, frame.payloadLength)
      for index in 0..<frame.segmentCount { _ = RemoteSegment(encoded: frame.segments, at: index) }
    }
    precondition(reader.position > before)
  }
}

/// Reads every byte, for the sanitizer to see.
private func touch(_ start: UnsafeRawPointer, _ count: Int) {
  var sum: UInt8 = 0
  for byte in UnsafeRawBufferPointer(start: start, count: count) { sum &+= byte }
  precondition(sum != 1 || count > 0)
}

// MARK: An established session

private let here = PeerAddress(words: (1, 0, 0))
private let there = PeerAddress(words: (2, 0, 0))
private let elsewhere = PeerAddress(words: (3, 0, 0))

/// An endpoint under attack and the true peer that it has a session with.
private final class Victim {
  private static let memorySize = 8 * 1024
  private var endpoint: TransportEndpoint
  private var peer: TransportEndpoint
  private var batch = TransmitBatch()
  private var now: Instant = milliseconds(10)
  /// What the endpoint calls the session, learned from the packets that go there.
  private var connection: UInt32 = 0
  private var session: UInt64 = 0
  private var packetNumber: UInt32 = 0
  private let memory: UnsafeMutableRawPointer
  private var answers: UInt8 = 0
  private var held: [(id: UInt64, handle: MessageHandle)] = []
  private var holds: UInt64 = 0

  init() {
    var configuration = TransportConfiguration()
    configuration.transmitQueueSize = 16
    configuration.inboundTransfers = 16
    configuration.packetsInFlight = 64
    configuration.maximumReads = 4
    configuration.operationWindow = 64
    configuration.creditWindow = 64 * 1024
    configuration.eagerLimit = 16 * 1024
    configuration.interfaceDatagram = 1_472
    endpoint = TransportEndpoint(configuration: configuration, localAddress: here)
    configuration.seed = 2
    peer = TransportEndpoint(configuration: configuration, localAddress: there)
    memory = .allocate(byteCount: Self.memorySize, alignment: 16)
    memory.initializeMemory(as: UInt8.self, repeating: 0x5A, count: Self.memorySize)
    post(.message, size: 100)
    for _ in 0..<4 { exchange() }
  }

  deinit { memory.deallocate() }

  func run(_ script: inout Script) {
    var steps = 0
    while !script.isOver && steps < 256 {
      steps += 1
      step(&script)
      precondition(endpoint.usage.inbound <= 16 && endpoint.usage.packets <= 64)
    }
    finish()
  }

  private func step(_ script: inout Script) {
    let action = script.byte()
    answers = script.byte()
    switch action % 12 {
    case 0...4: receiveFrames(script.take(script.number() % 1_472), kind: action)
    case 5: receive(script.take(script.number() % 1_472), from: there)
    case 6: receive(script.take(script.number() % 1_472), from: elsewhere)
    case 7:
      let kind = answers & 0x40 != 0 ? OperationKind.atomic : OperationKind(rawValue: answers % 3)!
      post(kind, size: script.number() % Self.memorySize)
    case 8: exchange()
    case 9: advance(UInt64(script.number()) * 1_000)
    case 10: answerHeld()
    default:
      endpoint.datagramTooBig(there, maximumDatagram: script.number(), now: now)
      if answers % 4 == 0 { endpoint.peerUnreachable(there, now: now) }
      if answers % 4 == 1 { endpoint.abortTransfers(now: now) { $0.first == UInt64(answers) } }
    }
  }

  // MARK: What arrives

  /// Frames in a packet of the session, numbered as the next or as chosen.
  private func receiveFrames(_ frames: UnsafeRawBufferPointer, kind: UInt8) {
    packetNumber = kind < 128 ? packetNumber &+ 1 : packetNumber &+ UInt32(kind)
    let count = DataHeader.size + frames.count
    let datagram = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
    defer { datagram.deallocate() }
    var writer = ByteWriter(start: datagram.baseAddress!, end: datagram.baseAddress! + count)
    DataHeader(flags: [], connection: connection, session: session, packetNumber: packetNumber).encode(&writer)
    if let base = frames.baseAddress { writer.write(base, count: frames.count) }
    endpoint.receive(UnsafeRawBufferPointer(datagram), from: there, now: now)
    drain()
  }

  private func receive(_ bytes: UnsafeRawBufferPointer, from source: PeerAddress) {
    // A heap copy, so that the sanitizer knows its end.
    let datagram = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    defer { datagram.deallocate() }
    datagram.copyMemory(from: bytes)
    endpoint.receive(UnsafeRawBufferPointer(datagram), from: source, now: now)
    drain()
  }

  private func drain() {
    var events = 0
    while let event = endpoint.pollEvent(now: now)?.pointee {
      events += 1
      precondition(events < 100_000, "events without end")
      answer(event)
    }
    transmit()
  }

  private func answer(_ event: Event) {
    switch event.kind {
    case .message:
      if let payload = event.payload { touch(payload, Int(event.length)) }
      if answers & 1 != 0 {
        holds += 1
        held.append((holds, endpoint.hold(cookie: Cookies(UInt64(answers), holds))))
      } else if event.payload == nil {
        accept(event)
      }
    case .write, .read:
      for index in 0..<Int(event.segmentCount) { _ = event.segment(index) }
      if answers & 2 != 0 {
        endpoint.refuse(.outOfBounds)
      } else if let payload = event.payload {
        touch(payload, Int(event.length))
      } else if event.length > UInt64(Self.memorySize) {
        endpoint.refuse(.accessDenied)
      } else {
        accept(event)
      }
    case .atomic:
      precondition(event.length <= UInt64(AtomicCode.maximumSize))
      for index in 0..<Int(event.segmentCount) { _ = event.segment(index) }
      touch(event.payload!, Int(event.operandLength))
      if answers & 2 != 0 || event.length == 0 {
        endpoint.refuse(.unsupported)
      } else if event.flags.contains(.fetch) {
        let count = Int(event.length)
        endpoint.respond(count).initializeMemory(as: UInt8.self, repeating: answers, count: count)
      }
    case .heldMessageLost:
      precondition(held.contains { $0.id == event.cookie.second })
      held.removeAll { $0.id == event.cookie.second }
    case .connectionFailed, .operationCompleted, .silentlyCompleted, .messageReceived, .writeReceived, .readAnswered:
      break
    }
  }

  private func accept(_ event: Event) {
    let size = Int(min(event.length, UInt64(Self.memorySize)))
    let half = answers & 4 != 0 ? size / 2 : size
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: 2) { slices in
      slices.initializeElement(at: 0, to: Slice(base: memory, count: half))
      slices.initializeElement(at: 1, to: Slice(base: memory + half, count: size - half))
      endpoint.accept(slices.baseAddress!, count: half < size ? 2 : 1, cookie: Cookies(UInt64(answers)))
    }
  }

  private func answerHeld() {
    guard let (_, handle) = held.popLast() else { return }
    if answers & 1 != 0 {
      endpoint.discardHeld(handle, now: now)
    } else {
      var slice = Slice(base: memory, count: Self.memorySize)
      endpoint.acceptHeld(handle, &slice, count: 1, cookie: Cookies(7), now: now)
    }
    drain()
  }

  // MARK: What this side does

  private func post(_ kind: OperationKind, size: Int) {
    let size = kind == .atomic ? min(size, AtomicCode.maximumSize) : size
    var slice = Slice(base: memory, count: size)
    var segment = RemoteSegment(address: 0, length: UInt64(size), key: 1)
    withUnsafePointer(to: &slice) { slice in
      withUnsafePointer(to: &segment) { segment in
        let flags = OperationFlags(rawValue: UInt16(answers & (size <= 1_024 ? 15 : 7)))
        var operation = Operation(
          kind: kind, flags: kind == .read ? [] : flags, slices: slice, sliceCount: 1, cookie: Cookies(UInt64(size)))
        if kind != .message {
          operation.segments = segment
          operation.segmentCount = 1
        }
        if kind == .atomic && answers & 4 != 0 && size > 0 {
          operation.flags.insert(.fetch)
          operation.results = slice
          operation.resultCount = 1
        }
        _ = endpoint.post(operation, on: endpoint.connection(to: there))
      }
    }
    transmit()
  }

  private func advance(_ span: UInt64) {
    now += span
    endpoint.pollIdle(now: now)
    if endpoint.nextTimeout() <= now { endpoint.handleTimeout(now: now) }
    drain()
  }

  /// Sends into the void, as far as the peer is concerned.
  private func transmit() {
    var calls = 0
    while endpoint.pollTransmit(into: &batch, now: now) {
      calls += 1
      precondition(calls < 10_000, "datagrams without end")
      batch.removeAll()
    }
  }

  /// Lets the endpoint and its true peer talk for one turn.
  private func exchange() {
    now += 100_000
    endpoint.pollIdle(now: now)
    if endpoint.nextTimeout() <= now { endpoint.handleTimeout(now: now) }
    forward(from: &endpoint, to: &peer, source: here)
    peer.pollIdle(now: now)
    if peer.nextTimeout() <= now { peer.handleTimeout(now: now) }
    forward(from: &peer, to: &endpoint, source: there)
    drain()
  }

  private func forward(from sender: inout TransportEndpoint, to receiver: inout TransportEndpoint, source: PeerAddress)
  {
    while sender.pollTransmit(into: &batch, now: now) {
      for index in 0..<batch.count {
        let transmit = batch.transmits[index]
        var bytes: [UInt8] = []
        for slice in transmit.firstSlice..<(transmit.firstSlice + transmit.sliceCount) {
          let part = batch.slices[slice]
          bytes += UnsafeRawBufferPointer(start: part.base, count: part.count)
        }
        var start = 0
        while start < bytes.count {
          let end = min(start + transmit.segmentSize, bytes.count)
          bytes[start..<end].withUnsafeBytes { datagram in
            if source == there { note(datagram) }
            receiver.receive(datagram, from: source, now: now)
            // Refused and discarded: what the true peer does with it is of no interest.
            while let event = receiver.pollEvent(now: now)?.pointee {
              if source == there { answer(event) } else { refuse(event, &receiver) }
            }
          }
          start = end
        }
      }
      batch.removeAll()
    }
  }

  private func refuse(_ event: Event, _ receiver: inout TransportEndpoint) {
    switch event.kind {
    case .message where event.payload == nil: receiver.accept(nil, count: 0, cookie: Cookies())
    case .write, .read, .atomic: receiver.refuse(.accessDenied)
    default: break
    }
  }

  /// Reads the session's name off a packet of the true peer.
  private func note(_ datagram: UnsafeRawBufferPointer) {
    var reader = ByteReader(datagram)
    guard datagram.first == firstByte(.data), let header = DataHeader(&reader) else { return }
    connection = header.connection
    session = header.session
    packetNumber = header.packetNumber
  }

  /// A long time passes; everything that was under way must come to an end.
  private func finish() {
    answers = 0
    for _ in 0..<200 {
      let timeout = endpoint.nextTimeout()
      guard timeout != never else { break }
      now = max(now, timeout)
      advance(1_000)
    }
  }
}

/// What libFuzzer calls with each input.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var script = Script(bytes: UnsafeRawBufferPointer(start: start, count: count))
  if script.byte() & 1 == 0 {
    decodeEverything(script.take(count))
  } else {
    Victim().run(&script)
  }
  return 0
}
