import CFabric
import CPlatform
import Containers
import Datagram
import Packet
import Transport

/// The groups that an endpoint has joined, and the collective operations under way in them.
///
/// Operations are steps over messages of the provider's own, to the peers' receive context FFFE. A message meets the
/// receive of the operation with its number in its group, or waits for it; between two members they come in the order in
/// which they were sent, so nothing else tells them apart. What events make due is done by ``work(_:)``; nothing blocks,
/// and nothing but a large scratch buffer and what a group is made of is allocated.
///
/// A member's death ends the operations of all: who waits for a message asks every second whether its sender is alive,
/// and who learns of a failure tells others. Protected by the engine's lock.
///
/// Man page: fi_collective(3)
final class Collectives {
  private let port: Unmanaged<Port>
  var groups = Slab<CollectiveGroup>(capacity: 1 << 12)
  var operations = Slab<CollectiveOperation>(capacity: Collectives.operationLimit)
  var receives = Slab<CollectiveReceive>(capacity: Collectives.operationLimit * Collectives.window)
  var unexpected: UnexpectedQueue
  var scratchBuffers = BufferPool(keeping: 1 << 20)
  private var nextGeneration = UInt16(truncatingIfNeeded: mix(Clock.now()))
  /// Groups whose join is under way, the oldest first.
  var joining: [CollectiveHandle] = []
  /// Messages of joins that have failed here and are still to come, one of a member for each join.
  var owed: [OwedJoin] = []
  /// Groups that are to fail, and why.
  private var failures: [(group: CollectiveHandle, code: Int32)] = []
  private var ready = ReadyList()
  /// Operations that found no room for a send.
  private var stalled = ReadyList()
  /// When to ask again whether those are alive whom operations wait for.
  private var nextProbe: Instant = .max

  /// `messages`: most messages that the port may have to hold.
  init(_ port: Port, messages: Int) {
    self.port = .passUnretained(port)
    unexpected = UnexpectedQueue(capacity: messages)
  }

  deinit {
    for index in 0..<operations.capacity where operations.contains(index) && operations[index].pointee.isLive {
      releaseMemory(of: index)
    }
    for index in 0..<groups.capacity where groups.contains(index) && groups[index].pointee.state != .free {
      groups[index].pointee.releaseMemory()
    }
  }

  @inline(__always)
  func withPort<Result>(_ body: (Port) -> Result) -> Result { port._withUnsafeGuaranteedRef(body) }

  // MARK: Groups

  /// A group that is there; nil for a handle of one that was.
  func group(_ handle: CollectiveHandle) -> UnsafeMutablePointer<CollectiveGroup>? {
    guard groups.contains(handle.slot) else { return nil }
    let group = groups[handle.slot]
    guard group.pointee.state != .free, group.pointee.generation == handle.generation else { return nil }
    return group
  }

  /// Makes a group with the program as member `rank`. Nil when there are too many.
  func makeGroup(permitted: UInt16, key: UInt64, members: [UInt64], rank: Int?) -> CollectiveHandle? {
    guard let slot = groups.allocate() else { return nil }
    // No group is called 0.
    nextGeneration = nextGeneration == .max ? 1 : nextGeneration + 1
    groups[slot].initialize(
      to: CollectiveGroup(
        generation: nextGeneration, permitted: permitted, key: key, members: members, rank: rank))
    return CollectiveHandle(slot: slot, generation: nextGeneration)
  }

  func freeGroup(_ handle: CollectiveHandle) {
    discardUnexpected(of: handle)
    groups[handle.slot].pointee.releaseMemory()
    groups[handle.slot].pointee.state = .free
    groups.free(handle.slot)
  }

  /// Frees a group that was left, once all has come to its end: until then those who wait for its messages are told that
  /// they will come.
  func freeIfOver(_ handle: CollectiveHandle) {
    guard let group = group(handle), group.pointee.state == .left else { return }
    if group.pointee.operations.isEmpty && group.pointee.messages == 0 { freeGroup(handle) }
  }

  /// Groups joined and not left.
  var groupCount: Int {
    var count = 0
    for index in 0..<groups.capacity where groups.contains(index) {
      let state = groups[index].pointee.state
      if state == .joining || state == .joined { count += 1 }
    }
    return count
  }

  // MARK: Operations

  /// Lists an operation in its group and lets it begin.
  func start(_ index: UInt32) {
    guard let group = group(operations[index].pointee.group) else { return }
    group.pointee.operations.append(index, in: operations)
    markReady(index)
    if nextProbe == .max { nextProbe = Clock.now() &+ Self.probeInterval }
    withPort { $0.workAtOnce() }
  }

  func markReady(_ index: UInt32) {
    guard !operations[index].pointee.isReady else { return }
    operations[index].pointee.isReady = true
    ready.append(index, in: operations)
    withPort { $0.scheduleInternalWork() }
  }

  /// The group is to fail as soon as events do not stand in the way.
  func noteFailure(of handle: CollectiveHandle, _ code: Int32) {
    failures.append((handle, code))
    withPort { $0.scheduleInternalWork() }
  }

  /// There may be room for sends again.
  func retryStalled() {
    while let index = stalled.popFirst(in: operations) {
      operations[index].pointee.isReady = false
      markReady(index)
    }
  }

  /// Does all that is due.
  func work(_ now: Instant) {
    while true {
      while let (handle, code) = failures.popLast() { fail(handle, code) }
      while let index = ready.popFirst(in: operations) {
        operations[index].pointee.isReady = false
        advance(index)
      }
      // Messages that had come before their receives; see `Port.pump` for when not.
      withPort { if $0.batch.isEmpty { $0.drain(now) } }
      if ready.isEmpty && failures.isEmpty { break }
    }
    if now >= nextProbe { nextProbe = probeSenders() ? now &+ Self.probeInterval : .max }
    withPort { $0.scheduleInternalWork(at: nextProbe) }
  }

  /// Takes an operation as far as it can go.
  private func advance(_ index: UInt32) {
    let operation = operations[index]
    while operation.pointee.failure == 0, let step = operation.pointee.schedule.step(operation.pointee.step) {
      if !operation.pointee.isSending {
        if mustWait(operation, step.waits) { return }
        operation.pointee.perform(step)
        if let receive = step.receive, !post(receive: receive, of: index) { return }
        operation.pointee.isSending = true
      }
      if let send = step.send, !post(send: send, of: index) { return }
      operation.pointee.isSending = false
      operation.pointee.step += 1
    }
    if operation.pointee.sends == 0 && operation.pointee.receives.isEmpty { finish(index) }
  }

  private func mustWait(_ operation: UnsafeMutablePointer<CollectiveOperation>, _ wait: CollectiveWait) -> Bool {
    let receives = operation.pointee.receives.count
    let sends = operation.pointee.sends
    switch wait {
    case .nothing: return receives >= Self.window || sends >= Self.window
    case .receives: return receives > 0 || sends >= Self.window
    case .all: return receives + sends > 0
    }
  }

  /// The connection to a member; nil, and the group fails, when its address has gone.
  private func connection(to rank: Int, of index: UInt32) -> ConnectionIndex? {
    let handle = operations[index].pointee.group
    guard let group = group(handle) else { return nil }
    if let found = withPort({ $0.connection(to: group.pointee.addresses[rank]) }) { return found }
    noteFailure(of: handle, FI_EADDRNOTAVAIL)
    return nil
  }

  /// Posts a receive, or gives it the message that came before it. False when the operation fails.
  private func post(receive: CollectiveTransfer, of index: UInt32) -> Bool {
    guard let connection = connection(to: receive.peer, of: index), let slot = receives.allocate() else { return false }
    let operation = operations[index]
    let entry = receives[slot]
    entry.initialize(to: CollectiveReceive(index, from: receive.peer, connection, length: receive.span.count))
    entry.pointee.sliceCount = withSlices(entry) { operation.pointee.slices(receive.span, into: $0) }
    operation.pointee.receives.append(slot, in: receives)
    let tag =
      operation.pointee.isJoin ? CollectiveTag.join(group(operation.pointee.group)!.pointee.key) : operation.pointee.tag
    if let message = unexpected.find(tagged: true, tag: tag.bits, ignore: 0, from: connection) {
      take(message, for: slot)
    }
    return true
  }

  /// Posts a message. False when there is no room for it now, and when the operation fails.
  private func post(send: CollectiveTransfer, of index: UInt32) -> Bool {
    guard let connection = connection(to: send.peer, of: index) else { return false }
    let operation = operations[index]
    let handle = operation.pointee.group
    let group = groups[handle.slot]
    let isJoin = operation.pointee.isJoin
    let tag: CollectiveTag =
      isJoin
      ? .join(group.pointee.key)
      : .step(CollectiveHandle(bits: group.pointee.handles[send.peer]), operation.pointee.sequence)
    var flags: OperationFlags = []
    // A peer without collective operations says so.
    if isJoin || operation.pointee.flags & FI_DELIVERY_COMPLETE != 0 { flags.insert(.deliveryComplete) }
    if operation.pointee.flags & FI_MATCH_COMPLETE != 0 { flags.insert(.matchComplete) }
    // What is small enough to be copied need not be waited for.
    let isCounted = operation.pointee.waitsForTarget || send.span.count > Capabilities.injectSize
    if !isCounted && send.span.count > 0 { flags.insert(.inject) }
    let cookie = SendName(handle, isCounted ? .counted(index) : .copied)
    let isPosted = withUnsafeTemporaryAllocation(of: Slice.self, capacity: 2) { slices in
      let count = operation.pointee.slices(send.span, into: slices.baseAddress!)
      return post(tag, slices.baseAddress!, count, flags, cookie, on: connection)
    }
    guard isPosted else {
      operation.pointee.isReady = true
      stalled.append(index, in: operations)
      return false
    }
    if isCounted { operation.pointee.sends += 1 }
    return true
  }

  /// Posts a message; false when there is no room for it now.
  func post(
    _ tag: CollectiveTag, _ slices: UnsafePointer<Slice>?, _ sliceCount: Int, _ flags: OperationFlags, _ name: SendName,
    on connection: ConnectionIndex
  ) -> Bool {
    let context = OperationContext(internal: name.bits, for: ReceiveContext.collectives)
    var message = Operation(
      kind: .message, flags: flags.union(.tagged), slices: slices, sliceCount: sliceCount, cookie: context.cookie)
    message.tag = tag.bits
    message.context = ReceiveContext.collectives
    guard withPort({ $0.postInternal(message, on: connection) }) else { return false }
    group(name.group)?.pointee.messages += 1
    return true
  }

  /// Calls `body` with where a receive's slices are.
  func withSlices<Result>(
    _ entry: UnsafeMutablePointer<CollectiveReceive>, _ body: (UnsafeMutablePointer<Slice>) -> Result
  ) -> Result {
    withUnsafeMutablePointer(to: &entry.pointee.slices) {
      body(UnsafeMutableRawPointer($0).assumingMemoryBound(to: Slice.self))
    }
  }

  // MARK: The end

  private func finish(_ index: UInt32) {
    let operation = operations[index]
    let handle = operation.pointee.group
    let group = groups[handle.slot]
    group.pointee.operations.remove(index, in: operations)
    if operation.pointee.failure == 0 { operation.pointee.packed?.unpack() }
    if operation.pointee.isJoin {
      finishJoin(handle, operation.pointee.failure)
    } else {
      report(operation)
    }
    releaseMemory(of: index)
    operation.pointee.isLive = false
    operations.free(index)
    freeIfOver(handle)
  }

  private func report(_ operation: UnsafeMutablePointer<CollectiveOperation>) {
    let code = operation.pointee.failure
    let context = operation.pointee.context
    let isReported = operation.pointee.flags & FI_COMPLETION != 0
    withPort { port in
      port.binding.transmitQueue._withUnsafeGuaranteedRef {
        if code != 0 {
          $0.pushError(
            context: context, flags: FI_COLLECTIVE, length: 0, buffer: 0, data: 0, tag: 0, olen: 0, err: code,
            provErrno: code, source: UInt64.max)
        } else if isReported {
          $0.push(
            context: context, flags: FI_COLLECTIVE, length: 0, buffer: 0, data: 0, tag: 0, source: UInt64.max)
        } else {
          $0.unreserve()
        }
      }
      if port.countsOperations {
        port.countOperation(FI_COLLECTIVE, UInt64(operation.pointee.schedule.size), isError: code != 0)
      }
    }
  }

  func releaseMemory(of index: UInt32) {
    let operation = operations[index]
    operation.pointee.packed?.releaseMemory()
    guard let scratch = operation.pointee.scratch else { return }
    let size = operation.pointee.schedule.scratchSize
    if size <= BufferPool.largest { scratchBuffers.deallocate(scratch, count: size) } else { free(scratch) }
  }

  /// The port goes away: room for completions that will not come is given up.
  func releaseReservations() {
    for index in 0..<operations.capacity where operations.contains(index) && operations[index].pointee.isLive {
      if operations[index].pointee.isJoin { continue }
      withPort { $0.binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
    }
  }

  /// Operations at once on one endpoint, joins included.
  static var operationLimit: Int { 256 }
  /// Messages of one operation under way in each direction.
  static var window: Int { 8 }
  /// Nanoseconds.
  private static var probeInterval: UInt64 { 1_000_000_000 }
}

/// What the end of a message is about: the group, and whether an operation waits for it.
struct SendName: BitwiseCopyable {
  enum Purpose { case copied, counted(UInt32), probe }

  let bits: UInt

  init(_ group: CollectiveHandle, _ purpose: Purpose) {
    switch purpose {
    case .copied: bits = UInt(group.bits)
    case .counted(let operation): bits = 1 << 62 | UInt(operation) << 32 | UInt(group.bits)
    case .probe: bits = 2 << 62 | UInt(group.bits)
    }
  }

  init(bits: UInt) { self.bits = bits }

  var group: CollectiveHandle { CollectiveHandle(bits: UInt32(truncatingIfNeeded: bits)) }
  var purpose: Purpose {
    switch bits >> 62 {
    case 1: .counted(UInt32(truncatingIfNeeded: bits >> 32) & (1 << 30 - 1))
    case 2: .probe
    default: .copied
    }
  }
}

/// Operations in the order in which they are to be looked at, linked by `nextReady`.
struct ReadyList {
  private var first: UInt32 = .max
  private var last: UInt32 = .max

  var isEmpty: Bool { first == .max }

  mutating func append(_ index: UInt32, in operations: borrowing Slab<CollectiveOperation>) {
    operations[index].pointee.nextReady = .max
    if last == .max { first = index } else { operations[last].pointee.nextReady = index }
    last = index
  }

  mutating func popFirst(in operations: borrowing Slab<CollectiveOperation>) -> UInt32? {
    guard first != .max else { return nil }
    let index = first
    first = operations[index].pointee.nextReady
    if first == .max { last = .max }
    return index
  }
}
