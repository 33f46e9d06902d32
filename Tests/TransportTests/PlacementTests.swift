import Packet
import SimulationSupport
import Testing
import Transport

/// A program that takes messages, writes and reads in memory that a test looks at.
private final class Taker: HostProgram {
  static let guardBytes = 4_096

  let memory: UnsafeMutableRawBufferPointer
  /// Where everything goes, from everywhere.
  var slices: [Slice]
  var statuses: [TransportStatus] = []

  init(size: Int, parts: Int = 1) {
    memory = .allocate(byteCount: size + Self.guardBytes, alignment: 4_096)
    memory.initializeMemory(as: UInt8.self, repeating: 0xA5)
    let base = memory.baseAddress!
    slices = (0..<parts).map { Slice(base: base + size / parts * $0, count: size / parts) }
  }

  deinit { memory.deallocate() }

  var size: Int { memory.count - Self.guardBytes }
  var guardIsIntact: Bool { memory[size...].allSatisfy { $0 == 0xA5 } }

  /// Whether the first `count` bytes are what the other side has.
  func isRight(_ count: Int, _ content: Content) -> Bool {
    content.firstDifference(memory.baseAddress!, count: count, offset: 0) == nil
  }

  func step(_ host: SimulatedHost, _ network: SimulatedNetwork) {}
  func nextStep(_ host: SimulatedHost) -> Instant { never }

  func handle(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    switch event.kind {
    case .message, .write, .read:
      if let payload = event.payload {
        memory.baseAddress!.copyMemory(from: payload, byteCount: Int(event.length))
        return statuses.append(.ok)
      }
      slices.withUnsafeBufferPointer {
        host.endpoint.accept($0.baseAddress!, count: $0.count, cookie: Cookies(77))
      }
    case .messageReceived, .writeReceived, .operationCompleted: statuses.append(event.status)
    default: break
    }
  }
}

/// A transfer from host 0 to host 1, whoever asks for it.
private final class Transfer {
  let kind: OperationKind
  let network = SimulatedNetwork(seed: 5, conditions: NetworkConditions())
  let source: Taker
  let target: Taker
  let content = Content(3, salt: 4)

  init(_ kind: OperationKind, size: Int, capacity: Int? = nil, parts: Int = 1, datagram: Int = 65_507) {
    self.kind = kind
    source = Taker(size: size)
    target = Taker(size: capacity ?? size, parts: parts)
    content.fill(source.memory.baseAddress!, count: size, offset: 0)
    for program in [source, target] {
      var configuration = TransportConfiguration()
      configuration.seed = UInt64(program === source ? 1 : 2)
      configuration.pageSize = 4_096
      configuration.interfaceDatagram = datagram
      network.attach(configuration, program: program)
    }
    // The path and its MTU become known.
    for _ in 0..<2 {
      post()
      network.run(maximumSteps: 1_000_000)
    }
    #expect(network.failure == nil)
    target.memory.initializeMemory(as: UInt8.self, repeating: 0xA5)
    target.statuses = []
  }

  var receiver: SimulatedHost { network.hosts[1] }
  var prediction: Placement? { receiver.endpoint.nextPlacement() }
  var senderPrediction: Placement? { network.hosts[0].endpoint.nextPlacement() }
  var base: UnsafeMutableRawPointer { target.memory.baseAddress! }
  var headerLength: Int { DataHeader.size + (kind == .read ? ReadResponseFrame.overhead : DataChunkFrame.overhead) }

  func post() {
    let own = kind == .read ? target : source
    let host = network.hosts[kind == .read ? 1 : 0]
    let segments = [RemoteSegment(address: 0, length: UInt64(source.size), key: 1)]
    own.slices.withUnsafeBufferPointer { slices in
      segments.withUnsafeBufferPointer { segments in
        var operation = Operation(
          kind: kind, flags: [], slices: slices.baseAddress!, sliceCount: slices.count, cookie: Cookies(1))
        if kind != .message {
          operation.segments = segments.baseAddress
          operation.segmentCount = 1
        }
        let connection = host.endpoint.connection(to: SimulatedNetwork.address(kind == .read ? 0 : 1))
        check(host.endpoint.post(operation, on: connection) == .queued)
      }
    }
    host.schedule(at: network.now, network)
  }

  /// The transfer's first datagrams, in order, none of which has arrived.
  func capture() -> [[UInt8]] {
    var captured: [[UInt8]] = []
    network.filter = { source, _, datagram in
      guard source == 0, datagram.count > 10_000 else { return source != 0 || captured.isEmpty }
      captured.append(Array(datagram))
      return false
    }
    post()
    network.run(for: milliseconds(1))
    network.filter = nil
    return captured
  }

  /// Feeds a datagram by hand, with the bytes that `placement` expects in their place already if there is one.
  func feed(_ datagram: [UInt8], _ placement: Placement? = nil, placed: Int = 0) {
    var bytes = datagram
    if let placement, placed > 0 {
      for index in 0..<placed { bytes[placement.headerLength + index] = 0xEE }
    }
    bytes.withUnsafeBytes {
      receiver.endpoint.receive(
        $0, from: SimulatedNetwork.address(0), now: network.now, placement: placement, placed: placed)
      drain()
    }
  }

  func drain() {
    while let event = receiver.endpoint.pollEvent(now: network.now) {
      target.handle(event.pointee, receiver, network)
    }
  }

  func fits(_ placement: Placement, _ datagram: [UInt8], placed: Int) -> Bool {
    datagram.withUnsafeBytes { receiver.endpoint.fits(placement, $0, placed: placed) }
  }
}

/// Where the payload of the next datagram belongs.
@Suite struct PlacementTests {
  private static let kinds: [OperationKind] = [.message, .write, .read]
  private static let size = 3_000_000

  @Test(arguments: kinds) func followsATransfer(kind: OperationKind) {
    let transfer = Transfer(kind, size: Self.size)
    let before = transfer.receiver.rightGuesses
    var offsets: [Int] = []
    transfer.post()
    transfer.network.run(maximumSteps: 1_000_000) {
      guard let placement = transfer.prediction else { return true }
      let offset = placement.target - transfer.base
      check(placement.headerLength == transfer.headerLength)
      check(placement.length >= 16 * 1024 && offset >= 0 && offset + placement.length <= Self.size)
      guard offset != offsets.last else { return true }
      check(offset > offsets.last ?? -1)
      // All before it is there, and nothing behind it.
      check(transfer.target.isRight(offset, transfer.content))
      check((offset..<min(offset + 64, Self.size)).allSatisfy { transfer.target.memory[$0] == 0xA5 })
      offsets.append(offset)
      return true
    }
    #expect(transfer.network.failure == nil)
    #expect(transfer.target.statuses == [.ok])
    #expect(transfer.target.isRight(Self.size, transfer.content))
    #expect(transfer.target.guardIsIntact)
    #expect(offsets.count > 20)
    #expect(transfer.receiver.rightGuesses - before > 20)
    check(transfer.prediction == nil)
    check(transfer.senderPrediction == nil)
  }

  /// Nothing beyond the memory that a message was given is named, however long the message is.
  @Test func staysInMemoryThatIsTooShort() {
    let transfer = Transfer(.message, size: Self.size, capacity: 1_000_000)
    transfer.post()
    var count = 0
    transfer.network.run(maximumSteps: 1_000_000) {
      guard let placement = transfer.prediction else { return true }
      count += 1
      check(placement.target + placement.length <= transfer.base + 1_000_000)
      return true
    }
    #expect(count > 0)
    #expect(transfer.target.isRight(1_000_000, transfer.content))
    #expect(transfer.target.guardIsIntact)
  }

  @Test(arguments: kinds) func knowsNoScatteredMemory(kind: OperationKind) {
    let transfer = Transfer(kind, size: Self.size, parts: 2)
    transfer.post()
    transfer.network.run(maximumSteps: 1_000_000) {
      check(transfer.prediction == nil)
      return true
    }
    #expect(transfer.target.statuses == [.ok])
    #expect(transfer.target.isRight(Self.size, transfer.content))
    #expect(transfer.receiver.rightGuesses + transfer.receiver.wrongGuesses == 0)
  }

  @Test func knowsNothingOfShortMessages() {
    let transfer = Transfer(.message, size: 60_000)
    for _ in 0..<10 {
      transfer.post()
      transfer.network.run(maximumSteps: 100_000) {
        check(transfer.prediction == nil)
        return true
      }
    }
    #expect(transfer.target.statuses.count == 10)
  }

  // MARK: By hand

  private static func payload(_ datagram: [UInt8], _ transfer: Transfer) -> Int {
    datagram.count - transfer.headerLength
  }

  @Test(arguments: kinds) func placesWhatFits(kind: OperationKind) throws {
    let transfer = Transfer(kind, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    try #require(datagrams.count >= 6)
    transfer.feed(datagrams[0])
    // The first may carry an acknowledgement as well.
    var offset = try #require(transfer.prediction).target - transfer.base
    #expect(transfer.target.isRight(offset, transfer.content))

    // All of it, half of it, a byte of it, nothing of it is where it belongs already.
    for (index, part) in [1.0, 0.5, 0.00002, 0].enumerated() {
      let datagram = datagrams[index + 1]
      let count = Self.payload(datagram, transfer)
      let placed = Int(Double(count) * part)
      let placement = try #require(transfer.prediction)
      #expect(placement.target == transfer.base + offset)
      #expect(placement.length >= count)
      check(transfer.fits(placement, datagram, placed: placed))
      datagram.withUnsafeBytes {
        placement.target.copyMemory(from: $0.baseAddress! + transfer.headerLength, byteCount: placed)
      }
      transfer.feed(datagram, placement, placed: placed)
      offset += count
      #expect(transfer.target.isRight(offset, transfer.content))
      #expect(transfer.target.memory[offset] == 0xA5)
    }
    transfer.feed(datagrams[5])
    transfer.network.run(maximumSteps: 1_000_000)
    #expect(transfer.target.statuses == [.ok])
    #expect(transfer.target.isRight(Self.size, transfer.content))
    #expect(transfer.target.guardIsIntact)
  }

  @Test(arguments: kinds) func refusesWhatDoesNotFit(kind: OperationKind) throws {
    let transfer = Transfer(kind, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    try #require(datagrams.count >= 6)
    transfer.feed(datagrams[0])
    let placement = try #require(transfer.prediction)
    let right = datagrams[1]
    let placed = Self.payload(right, transfer)
    check(transfer.fits(placement, right, placed: placed))
    // Other places, and what is there already.
    for index in [0, 2, 3, 4, 5] { check(!transfer.fits(placement, datagrams[index], placed: placed)) }
    // Kind and version of the packet, type of the frame, slot, operation, each byte of the offset.
    let offset = transfer.headerLength - 8
    for position in [0, 20, 24, 25, 26, 27, 28, 29, 30, 31] + Array(offset..<offset + 8) {
      var wrong = right
      wrong[position] ^= 0x10
      check(!transfer.fits(placement, wrong, placed: placed), "byte \(position)")
    }
    // Cut off anywhere.
    for length in Array(0..<100) + [right.count / 2, right.count - 1] {
      check(!transfer.fits(placement, Array(right.prefix(length)), placed: max(0, length - placement.headerLength)))
    }
    // A frame that says more than there is, and a short one that others follow.
    for difference in [1, -1, -1_000] {
      var wrong = right
      let length = placed + difference
      wrong[22] = UInt8(truncatingIfNeeded: length)
      wrong[23] = UInt8(truncatingIfNeeded: length >> 8)
      check(!transfer.fits(placement, wrong, placed: placed))
      if difference < 0 { check(transfer.fits(placement, wrong, placed: length)) }
    }
    // Another frame before it.
    let other = [FrameType.probe.rawValue, 0, 0, 0]
    check(!transfer.fits(placement, Array(right[..<20]) + other + Array(right[20...]), placed: placed))
  }

  /// Whatever lands in the transfer's memory by mistake is gone in the end; with a gap nothing is predicted.
  @Test(arguments: kinds) func aWrongGuessSpoilsNothing(kind: OperationKind) throws {
    let transfer = Transfer(kind, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    try #require(datagrams.count >= 6)
    transfer.feed(datagrams[0])
    let placement = try #require(transfer.prediction)
    placement.target.initializeMemory(as: UInt8.self, repeating: 0x77, count: placement.length)
    transfer.feed(datagrams[2])
    check(transfer.prediction == nil)
    transfer.feed(datagrams[4])
    check(transfer.prediction == nil)
    transfer.feed(datagrams[1])
    check(transfer.prediction == nil)
    transfer.feed(datagrams[3])
    let first = placement.target - transfer.base
    let prefix = datagrams[1...4].reduce(first) { $0 + Self.payload($1, transfer) }
    let next = try #require(transfer.prediction)
    #expect(next.target == transfer.base + prefix)
    #expect(transfer.target.isRight(prefix, transfer.content))
    transfer.network.run(maximumSteps: 1_000_000)
    #expect(transfer.target.statuses == [.ok])
    #expect(transfer.target.isRight(Self.size, transfer.content))
    #expect(transfer.target.guardIsIntact)
  }

  /// A duplicate, and a packet of nobody, that fit: dropped like any.
  @Test func whatIsDroppedLeavesTheTransferAlone() throws {
    let transfer = Transfer(.message, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    try #require(datagrams.count >= 6)
    transfer.feed(datagrams[0])
    let placement = try #require(transfer.prediction)
    let placed = Self.payload(datagrams[1], transfer)
    var forged = datagrams[1]
    forged[8] ^= 1
    check(transfer.fits(placement, forged, placed: placed))
    placement.target.initializeMemory(as: UInt8.self, repeating: 0x55, count: placed)
    transfer.feed(forged, placement, placed: placed)
    let same = try #require(transfer.prediction)
    #expect(same.target == placement.target)
    transfer.network.run(maximumSteps: 1_000_000)
    #expect(transfer.target.statuses == [.ok])
    #expect(transfer.target.isRight(Self.size, transfer.content))
  }

  @Test(arguments: [OperationKind.message, .write]) func endsWithAnAbortedTransfer(kind: OperationKind) throws {
    let transfer = Transfer(kind, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    transfer.feed(try #require(datagrams.first))
    _ = try #require(transfer.prediction)
    transfer.receiver.endpoint.abortTransfers(now: transfer.network.now) { $0.first == 77 }
    check(transfer.prediction == nil)
    transfer.drain()
    #expect(transfer.target.statuses == [.aborted])
    let before = Array(transfer.target.memory)
    for datagram in datagrams.dropFirst() { transfer.feed(datagram) }
    transfer.network.run(maximumSteps: 1_000_000)
    check(transfer.prediction == nil)
    #expect(Array(transfer.target.memory) == before)
  }

  @Test(arguments: kinds) func endsWithTheSession(kind: OperationKind) throws {
    let transfer = Transfer(kind, size: Self.size, datagram: 16_000)
    let datagrams = transfer.capture()
    transfer.feed(try #require(datagrams.first))
    _ = try #require(transfer.prediction)
    transfer.network.hosts[0].stop(transfer.network)
    transfer.network.run(maximumSteps: 1_000_000)
    #expect(transfer.target.statuses == [.timedOut])
    check(transfer.prediction == nil)
  }
}
