import Packet
import SimulationSupport
import Transport

/// A program that takes what comes and remembers it.
final class Recorder: HostProgram {
  struct Message: Equatable {
    var length: UInt64
    var tag: UInt64 = 0
    var data: UInt64 = 0
    var context: UInt16 = 0
    var bytes: [UInt8]
  }

  /// Messages that are over, in that order, and the status of those that ended badly.
  private(set) var messages: [Message] = []
  /// What messages brought: they end in any order, the long ones late.
  var bytesBySize: [[UInt8]] { messages.sorted { $0.length < $1.length }.map(\.bytes) }
  private(set) var lostMessages: [TransportStatus] = []
  private(set) var completions: [(id: UInt64, status: TransportStatus, time: Instant)] = []
  private(set) var failures: [(status: TransportStatus, time: Instant)] = []
  private(set) var writes: [(length: UInt64, data: UInt64, status: TransportStatus)] = []
  private(set) var answeredReads = 0
  /// Atomic operations in the order in which they were carried out, each by its operation and datatype as one number.
  private(set) var atomics: [Int] = []
  private(set) var events: [EventKind] = []

  /// Messages are held instead of accepted.
  var holds = false
  private(set) var held: [(handle: MessageHandle, length: UInt64)] = []
  private(set) var lostHeld = 0
  private(set) var silentCompletions = 0
  /// Messages for this receive context are refused.
  var missingContext: UInt16?
  /// Writes and reads are refused.
  var refusal: OperationStatus?
  /// What was to be made persistent, and whether that works.
  private(set) var persisted: [(places: [Int], isAll: Bool)] = []
  var canPersist = true
  /// Messages are received in the region from here on.
  var place: Int?
  /// Accepted messages get buffers of at most this size.
  var capacity = Int.max
  /// What peers write and read; addresses are offsets.
  let region: UnsafeMutableRawBufferPointer
  /// Called for each message that starts.
  var onMessage: ((Event) -> Void)?
  /// Called at each step of the pump.
  var onStep: (() -> Void)?

  private var buffers: [UInt64: UnsafeMutableRawBufferPointer] = [:]
  private var pending: [UInt64: Message] = [:]
  private var nextCookie: UInt64 = 1_000_000

  init(regionSize: Int = 1 << 16) {
    region = .allocate(byteCount: regionSize, alignment: 16)
    for index in region.indices { region[index] = UInt8(truncatingIfNeeded: index &* 7) }
  }

  deinit {
    region.deallocate()
    for buffer in buffers.values { buffer.deallocate() }
  }

  func step(_ host: SimulatedHost, _ network: SimulatedNetwork) { onStep?() }
  func nextStep(_ host: SimulatedHost) -> Instant { never }

  func handle(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    events.append(event.kind)
    switch event.kind {
    case .operationCompleted: completions.append((event.cookie.first, event.status, network.now))
    case .silentlyCompleted: silentCompletions += Int(event.length)
    case .connectionFailed: failures.append((event.status, network.now))
    case .message: message(event, host)
    case .messageReceived: received(event)
    case .heldMessageLost: lostHeld += 1
    case .write: write(event, host)
    case .writeReceived:
      writes.append((event.length, event.data, event.status))
      persist(event, host) { host.endpoint.writtenMemory($0) }
    case .read:
      if let refusal { return host.endpoint.refuse(refusal) }
      withRegion(event) { host.endpoint.accept($0, count: $1, cookie: Cookies()) }
    case .readAnswered: answeredReads += 1
    case .atomic: atomic(event, host)
    }
  }

  private func message(_ event: Event, _ host: SimulatedHost) {
    onMessage?(event)
    if event.context == missingContext { return host.endpoint.refuse(.aborted) }
    let message = Message(length: event.length, tag: event.tag, data: event.data, context: event.context, bytes: [])
    if holds {
      nextCookie += 1
      pending[nextCookie] = message
      held.append((host.endpoint.hold(cookie: Cookies(nextCookie)), event.length))
    } else if let place {
      let slice = Slice(base: region.baseAddress! + place, count: Int(event.length))
      withUnsafePointer(to: slice) { host.endpoint.accept($0, count: 1, cookie: Cookies()) }
    } else if let payload = event.payload, !host.endpoint.isAnsweringReads {
      var whole = message
      whole.bytes = Array(UnsafeRawBufferPointer(start: payload, count: min(Int(event.length), capacity)))
      messages.append(whole)
    } else {
      let (slice, cookie) = buffer(for: message)
      withUnsafePointer(to: slice) { host.endpoint.accept($0, count: 1, cookie: cookie) }
    }
  }

  private func buffer(for message: Message) -> (Slice, Cookies) {
    nextCookie += 1
    let buffer = UnsafeMutableRawBufferPointer.allocate(
      byteCount: min(Int(clamping: message.length), capacity), alignment: 16)
    buffers[nextCookie] = buffer
    pending[nextCookie] = message
    return (Slice(base: buffer.baseAddress, count: buffer.count), Cookies(nextCookie))
  }

  /// Accepts what is held, the oldest first.
  func acceptHeld(count: Int = .max, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    for _ in 0..<min(count, held.count) {
      let (handle, length) = held.removeFirst()
      let (slice, cookie) = buffer(for: Message(length: length, bytes: []))
      withUnsafePointer(to: slice) {
        host.endpoint.acceptHeld(handle, $0, count: 1, cookie: cookie, now: network.now)
      }
    }
    host.schedule(at: network.now, network)
  }

  private func received(_ event: Event) {
    guard let buffer = buffers.removeValue(forKey: event.cookie.first) else { return }
    defer { buffer.deallocate() }
    guard event.status == .ok else { return lostMessages.append(event.status) }
    messages.append(Message(length: event.length, tag: event.tag, data: event.data, bytes: Array(buffer)))
  }

  private func write(_ event: Event, _ host: SimulatedHost) {
    if let refusal { return host.endpoint.refuse(refusal) }
    withRegion(event) { slices, count in
      guard var payload = event.payload, !host.endpoint.isAnsweringReads else {
        return host.endpoint.accept(slices, count: count, cookie: Cookies())
      }
      for index in 0..<count {
        slices[index].base!.copyMemory(from: payload, byteCount: slices[index].count)
        payload += slices[index].count
      }
      writes.append((event.length, event.data, .ok))
      persist(event, host) { memory in
        for index in 0..<count { (memory + index).initialize(to: slices[index]) }
        return count
      }
    }
  }

  /// Notes what is to be persistent, as the region's addresses and whether all before is too.
  private func persist(_ event: Event, _ host: SimulatedHost, _ memory: (UnsafeMutablePointer<Slice>) -> Int) {
    guard event.flags.contains(.persistent), event.status == .ok else { return }
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: maximumSlices) { slices in
      let count = memory(slices.baseAddress!)
      let places = (0..<count).map { slices[$0].base! - region.baseAddress! }
      persisted.append((places, event.flags.contains(.fence)))
    }
    if !canPersist { host.endpoint.refuse(.notPersistent) }
  }

  /// Whatever the operation is, the memory gets its operands, as far as there are any, and what it held is returned.
  private func atomic(_ event: Event, _ host: SimulatedHost) {
    if let refusal { return host.endpoint.refuse(refusal) }
    atomics.append(Int(event.atomic.datatype) << 8 | Int(event.atomic.operation))
    withRegion(event) { slices, count in
      var former = event.flags.contains(.fetch) ? host.endpoint.respond(Int(event.length)) : nil
      var operands = event.payload!
      for index in 0..<count {
        former?.copyMemory(from: slices[index].base!, byteCount: slices[index].count)
        former = former.map { $0 + slices[index].count }
        guard event.operandLength > 0 else { continue }
        slices[index].base!.copyMemory(from: operands, byteCount: slices[index].count)
        operands += slices[index].count
      }
    }
  }

  private func withRegion(_ event: Event, _ body: (UnsafePointer<Slice>, Int) -> Void) {
    let slices = (0..<Int(event.segmentCount)).map { index in
      let segment = event.segment(index)
      return Slice(base: region.baseAddress! + Int(segment.address), count: Int(segment.length))
    }
    slices.withUnsafeBufferPointer { body($0.baseAddress!, slices.count) }
  }
}

/// A few hosts with recorders, and what a test does with them.
final class Bench {
  let network: SimulatedNetwork
  let recorders: [Recorder]
  private var sources: [UnsafeMutableRawBufferPointer] = []
  private var posted: UInt64 = 0

  init(
    hosts: Int = 2, seed: UInt64 = 1, conditions: NetworkConditions = NetworkConditions(),
    _ configure: (inout TransportConfiguration, Int) -> Void = { _, _ in }
  ) {
    network = SimulatedNetwork(seed: seed, conditions: conditions)
    recorders = (0..<hosts).map { _ in Recorder() }
    for index in 0..<hosts {
      var configuration = TransportConfiguration()
      configuration.seed = seed &* 1_000 &+ UInt64(index)
      configuration.packetsInFlight = 2_048
      configuration.inboundTransfers = 512
      configure(&configuration, index)
      network.attach(configuration, program: recorders[index])
    }
  }

  deinit { for source in sources { source.deallocate() } }

  func host(_ index: Int) -> SimulatedHost { network.hosts[index] }

  static func pattern(_ size: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      if size > 0 { Content(0, salt: 0).fill(buffer.baseAddress!, count: size, offset: 0) }
      count = size
    }
  }

  /// Posts an operation of `size` bytes; the result is its completion's id, nil when the queue is full.
  @discardableResult
  func post(
    _ kind: OperationKind = .message, from source: Int = 0, to target: Int = 1, size: Int = 8,
    flags: OperationFlags = [], tag: UInt64 = 0, data: UInt64 = 0, context: UInt16 = 0,
    segments: [RemoteSegment]? = nil
  ) -> UInt64? {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 16)
    memory.copyBytes(from: Self.pattern(size))
    sources.append(memory)
    var slice = Slice(base: memory.baseAddress, count: size)
    let segments = kind == .message ? [] : segments ?? [RemoteSegment(address: 0, length: UInt64(size), key: 1)]
    let id = posted + 1
    let host = host(source)
    let result = withUnsafePointer(to: &slice) { slice in
      segments.withUnsafeBufferPointer { segments in
        var operation = Operation(kind: kind, flags: flags, slices: slice, sliceCount: 1, cookie: Cookies(id))
        operation.tag = tag
        operation.data = data
        operation.context = context
        operation.segments = segments.baseAddress
        operation.segmentCount = segments.count
        let connection = host.endpoint.connection(to: SimulatedNetwork.address(target))
        return host.endpoint.post(operation, on: connection)
      }
    }
    host.schedule(at: network.now, network)
    guard result == .queued else { return nil }
    posted = id
    return id
  }

  /// Posts an atomic operation with `size` bytes of operands and comparands; what it returns goes to `result`. The result
  /// is its completion's id, nil when the queue is full.
  @discardableResult
  func postAtomic(
    _ code: AtomicCode, from source: Int = 0, to target: Int = 1, size: Int = 8, flags: OperationFlags = [],
    data: UInt64 = 0, segments: [RemoteSegment], result: UnsafeMutableRawBufferPointer? = nil
  ) -> UInt64? {
    var operands = Self.pattern(size)
    let id = posted + 1
    let host = host(source)
    let posting = operands.withUnsafeMutableBytes { operands in
      var slice = Slice(base: operands.baseAddress, count: size)
      var place = Slice(base: result?.baseAddress, count: result?.count ?? 0)
      return withUnsafePointer(to: &slice) { slice in
        withUnsafePointer(to: &place) { place in
          segments.withUnsafeBufferPointer { segments in
            var operation = Operation(kind: .atomic, flags: flags, slices: slice, sliceCount: 1, cookie: Cookies(id))
            operation.atomic = code
            operation.data = data
            operation.segments = segments.baseAddress
            operation.segmentCount = segments.count
            operation.results = place
            operation.resultCount = result == nil ? 0 : 1
            return host.endpoint.post(operation, on: host.endpoint.connection(to: SimulatedNetwork.address(target)))
          }
        }
      }
    }
    host.schedule(at: network.now, network)
    guard posting == .queued else { return nil }
    posted = id
    return id
  }

  /// The memory of the operation posted last but `index`.
  func source(last index: Int = 0) -> [UInt8] { Array(sources[sources.count - 1 - index]) }

  /// The program uses the memory of its operations, all but one, for something else.
  func spoilSources(butFor id: UInt64? = nil) {
    for (index, source) in sources.enumerated() where id != UInt64(index + 1) {
      source.initializeMemory(as: UInt8.self, repeating: 0xEE)
    }
  }

  func status(_ id: UInt64?, at host: Int = 0) -> TransportStatus? {
    recorders[host].completions.first { $0.id == id }?.status
  }

  /// A session between two hosts, with all that belongs to it over.
  func establish(_ source: Int = 0, _ target: Int = 1) {
    post(from: source, to: target, size: 1, flags: .deliveryComplete)
    network.run(maximumSteps: 100_000)
  }

  /// Has a host keep its session with another alive.
  func keepAlive(_ source: Int = 0, _ target: Int = 1) {
    let host = host(source)
    host.endpoint.keepAlive(host.endpoint.connection(to: SimulatedNetwork.address(target)))
    host.schedule(at: network.now, network)
  }

  /// Has a host end its session with another.
  func close(_ source: Int, to target: Int) {
    let host = host(source)
    host.endpoint.close(host.endpoint.connection(to: SimulatedNetwork.address(target)))
    host.schedule(at: network.now, network)
  }

  var isQuiet: Bool { network.hosts.allSatisfy { $0.isDown || $0.isQuiet } }
}
