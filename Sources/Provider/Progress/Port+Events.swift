import CFabric
import CPlatform
import Datagram
import Packet
import Transport

// What the transport tells, turned into matches and completions.
extension Port {
  /// Acts on all events. Stops early, `isSuspended` set, when a peer's write with completion data, a message in a buffer
  /// for many, or one for a shared context, would find the completion queue full.
  func drain(_ now: Instant) {
    while true {
      if needsSpareCompletion && !hasSpareCompletion && !findSpareCompletion() {
        isSuspended = true
        return
      }
      if isPaused && transport.isInPacket {
        isSuspended = true
        return
      }
      while !countsOperations, let cookie = transport.takeCompletion() { operationSucceeded(OperationContext(cookie)) }
      guard let event = transport.pollEvent(now: now) else { break }
      switch event.pointee.kind {
      case .message: messageArrived(event)
      case .messageReceived: messageReceived(event)
      case .operationCompleted: operationCompleted(event)
      case .silentlyCompleted: silentlyCompleted(Int(truncatingIfNeeded: event.pointee.length))
      case .heldMessageLost: heldMessageLost(event)
      case .write: writeArrived(event)
      case .writeReceived: writeReceived(event)
      case .read: readArrived(event)
      case .readAnswered: readAnswered(event)
      case .atomic: atomicArrived(event)
      case .connectionFailed: connectionFailed(event.pointee.connection, event.pointee.status)
      }
    }
    isSuspended = false
  }

  // MARK: Messages

  @inline(__always)
  private func messageArrived(_ event: UnsafePointer<Event>) {
    guard event.pointee.context | routing == 0 else { return messageForContext(event) }
    context._withUnsafeGuaranteedRef { match(event, in: $0, to: binding.receiveQueue) }
  }

  /// A message that names another context than the first, or for whose first one that is not just the port's own, or one
  /// that comes before it is known to be the connected peer's.
  @inline(never)
  private func messageForContext(_ event: UnsafePointer<Event>) {
    if event.pointee.context >= ReceiveContext.firstInternal { return internalMessage(event) }
    guard isFromPeer(event) else { return transport.refuse(.aborted) }
    if event.pointee.context == 0 && isSharing { return matchShared(event) }
    guard let receiver = receiver(event.pointee.context) else { return transport.refuse(.aborted) }
    receiver._withUnsafeGuaranteedRef { match(event, in: $0, to: $0.queue ?? binding.receiveQueue) }
  }

  /// Lets a message meet its receive, or wait for it.
  @inline(__always)
  private func match(
    _ event: UnsafePointer<Event>, in context: ReceiveContext, to queue: Unmanaged<CompletionQueue>
  ) {
    let isTagged = event.pointee.flags.contains(.tagged)
    let connection = event.pointee.connection
    guard let index = context.receives.take(tagged: isTagged, tag: event.pointee.tag, from: connection) else {
      return holdMessage(event, in: context)
    }
    if context.receives[index].pointee.isMulti { return context.pack(event, into: index, at: self, to: queue) }
    // What comes next had better wait until the program has posted other receives: it has something to read first.
    if context.receives.areAllTaken { isPaused = true }
    context.assign(
      index, connection: connection, flags: event.pointee.flags, tag: event.pointee.tag, data: event.pointee.data)
    let slices = context.receives.slices(index)
    let count = Int(context.receives[index].pointee.sliceCount)
    guard let payload = placeablePayload(event) else {
      return transport.accept(slices, count: count, cookie: TransferName.receive(index, of: context))
    }
    scatter(payload, Int(truncatingIfNeeded: event.pointee.length), slices, count)
    context.complete(index, length: event.pointee.length, at: self, to: queue)
  }

  @inline(never)
  func holdMessage(_ event: UnsafePointer<Event>, in context: ReceiveContext, from sender: ConnectionIndex? = nil) {
    // There is an element for every message that the transport can hold.
    let index = context.unexpected.allocate()!
    let entry = context.unexpected[index]
    entry.initialize(
      to: UnexpectedMessage(
        connection: event.pointee.connection, flags: event.pointee.flags, tag: event.pointee.tag,
        data: event.pointee.data, length: event.pointee.length))
    entry.pointee.port = .passUnretained(self)
    if let sender { entry.pointee.connection = sender }
    entry.pointee.handle = transport.hold(cookie: TransferName.unexpected(index, of: context))
    context.unexpected.append(index)
    noteUnexpected(isNew: true)
  }

  /// Goes on after receives took messages that came before them.
  func acceptedHeld(_ now: Instant) {
    // Most such messages are here in full.
    if batch.isEmpty { drain(now) }
    binding.engine._withUnsafeGuaranteedRef { $0.startDeferredWork() }
    if transport.wantsTransmit && binding.engine._withUnsafeGuaranteedRef({ $0.isSomebodyAsleep }) { flush(now) }
  }

  private func heldMessageLost(_ event: UnsafePointer<Event>) {
    if TransferName.isImported(event.pointee.cookie) { return importedLost(event) }
    if TransferName.isInternal(event.pointee.cookie) { return internalMessageLost(event) }
    let index = TransferName.index(event.pointee.cookie)
    withContext(event.pointee.cookie) { context, _ in
      context.unexpected.unlink(index)
      context.unexpected.free(index)
      noteUnexpected(isNew: false)
    }
  }

  private func messageReceived(_ event: UnsafePointer<Event>) {
    if TransferName.isInternal(event.pointee.cookie) { return internalMessageReceived(event) }
    let index = TransferName.index(event.pointee.cookie)
    withContext(event.pointee.cookie) { context, queue in
      if TransferName.isPacked(event.pointee.cookie) {
        return context.packedReceived(index, event.pointee.length, event.pointee.status, at: self, to: queue)
      }
      if isSharing {
        if TransferName.isImported(event.pointee.cookie) { return importedReceived(event) }
        receiveEnds(index)
      }
      if event.pointee.status == .ok {
        return context.complete(index, length: event.pointee.length, at: self, to: queue)
      }
      context.fail(
        index, length: 0, overflow: 0, code: TransferError.code(event.pointee.status),
        providerCode: TransferError.providerCode(event.pointee.status), at: self, to: queue)
    }
  }

  /// The payload of a message or write that is all there, if it may be copied to where it belongs; nil if it is to be
  /// accepted.
  @inline(__always)
  func placeablePayload(_ event: UnsafePointer<Event>) -> UnsafeRawPointer? {
    transport.isAnsweringReads ? nil : event.pointee.payload
  }

  /// Calls `body` with the context that a receive or an unexpected message belongs to, and where it reports.
  @inline(__always)
  private func withContext(
    _ cookie: Cookies, _ body: (ReceiveContext, Unmanaged<CompletionQueue>) -> Void
  ) {
    if contexts == nil { return context._withUnsafeGuaranteedRef { body($0, binding.receiveQueue) } }
    receiver(named: cookie.second)?._withUnsafeGuaranteedRef { body($0, $0.queue ?? binding.receiveQueue) }
  }

  /// What an error entry says beyond its fields: the address of a peer that is not in the address vector, for those who
  /// want to know (FI_SOURCE_ERR).
  func errorData(_ source: UInt64, _ connection: ConnectionIndex) -> ErrorData {
    guard source == UInt64.max && reportsUnknownSources else { return ErrorData() }
    return ErrorData(SocketAddress(words: transport.address(of: connection).words))
  }

  /// Sets room aside for the next completion that no receive has room for; false when there is none. What came before
  /// goes first: messages that wait for their completions' room.
  @inline(never)
  private func findSpareCompletion() -> Bool {
    if contexts != nil { return findSpareCompletions() }
    if !findRoom() { return false }
    context._withUnsafeGuaranteedRef { $0.takeBacklog() }
    return findRoom()
  }

  /// Sees to it that there is a spare completion for a context; false when the completion queue has no room for it.
  func findRoom(for context: ReceiveContext) -> Bool { contexts == nil ? findRoom() : context.findRoom() }

  func findRoom() -> Bool {
    if !hasSpareCompletion {
      hasSpareCompletion = binding.receiveQueue._withUnsafeGuaranteedRef { $0.reserveUncounted() }
    }
    return hasSpareCompletion
  }

  /// The spare completion has become one.
  @inline(__always)
  func spendSpareCompletion(of context: ReceiveContext) {
    hasSpareCompletion = false
    context.hasSpareCompletion = false
  }

  // MARK: This side's operations

  private func operationCompleted(_ event: UnsafePointer<Event>) {
    let operation = OperationContext(event.pointee.cookie)
    if operation.isInternal { return internalOperationEnded(operation, event.pointee.status) }
    if operation.flags & FI_TRIGGER != 0 { return deferredWorkEnded(operation, event.pointee.status) }
    if operation.number != 0 { return contextOperationEnded(operation, event) }
    if countsOperations { countOperation(operation.flags, event.pointee.length, isError: event.pointee.status != .ok) }
    end(operation, event.pointee.status)
  }

  @inline(__always)
  func operationSucceeded(_ operation: OperationContext) {
    // Those of which no success is reported end silently: what is neither is the provider's own.
    guard operation.flags & FI_COMPLETION != 0 else { return unreportedSuccess(operation) }
    outstanding &-= 1
    operation.succeed(binding.transmitQueue)
  }

  @inline(never)
  private func unreportedSuccess(_ operation: OperationContext) {
    if operation.isInternal { return internalOperationEnded(operation, .ok) }
    if operation.flags & FI_TRIGGER != 0 { return deferredWorkEnded(operation, .ok) }
    silentlyCompleted(1)
  }

  /// Work that was queued to the domain has ended.
  @inline(never)
  private func deferredWorkEnded(_ operation: OperationContext, _ status: TransportStatus) {
    binding.engine._withUnsafeGuaranteedRef { $0.deferredWorkEnded(operation, status, at: self) }
  }

  /// Ends an operation; `operation` has FI_COMPLETION where a success is reported.
  func end(_ operation: OperationContext, _ status: TransportStatus) {
    if status == .ok { return operationSucceeded(operation) }
    outstanding &-= 1
    operation.fail(status, binding.transmitQueue)
  }

  /// Operations of which the program wants to hear only when they fail.
  @inline(__always)
  func silentlyCompleted(_ count: Int) {
    outstanding &-= count
    binding.transmitQueue._withUnsafeGuaranteedRef { $0.unreserve(count) }
  }

  // MARK: Peers' access to memory regions

  /// Finds the memory that an event's segments name.
  func resolve(
    _ event: UnsafePointer<Event>, _ access: RegionAccess, _ slices: UnsafeMutablePointer<Slice>,
    _ transfer: inout RegionTransfer
  ) -> (status: OperationStatus, sliceCount: Int) {
    var count = 0
    for index in 0..<Int(event.pointee.segmentCount) {
      let segment = event.pointee.segment(index)
      let resolved = binding.domain._withUnsafeGuaranteedRef {
        $0.regions.resolve(segment, for: access, into: slices + count, capacity: maximumSlices - count)
      }
      if resolved.status != .ok { return (resolved.status, 0) }
      if resolved.sliceCount > 0 { transfer.append(resolved.region, segment.length) }
      count += resolved.sliceCount
    }
    return (.ok, count)
  }

  private func writeArrived(_ event: UnsafePointer<Event>) {
    guard isFromPeer(event) else { return transport.refuse(.accessDenied) }
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: maximumSlices) { memory in
      let slices = memory.baseAddress!
      var transfer = RegionTransfer()
      let found = resolve(event, .write, slices, &transfer)
      guard found.status == .ok else { return transport.refuse(found.status) }
      if let payload = placeablePayload(event) {
        scatter(payload, Int(truncatingIfNeeded: event.pointee.length), slices, found.sliceCount)
        return writeEnds(event, transfer, slices, found.sliceCount)
      }
      guard let name = regionTransfers.begin(transfer, in: binding.domain) else { return transport.refuse(.aborted) }
      transport.accept(slices, count: found.sliceCount, cookie: name)
    }
  }

  private func writeReceived(_ event: UnsafePointer<Event>) {
    let transfer = regionTransfers[event.pointee.cookie]
    regionTransfers.end(event.pointee.cookie, in: binding.domain)
    guard event.pointee.status == .ok else { return }
    guard event.pointee.flags.contains(.persistent) else { return writeEnds(event, transfer, nil, 0) }
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: maximumSlices) { memory in
      writeEnds(event, transfer, memory.baseAddress!, transport.writtenMemory(memory.baseAddress!))
    }
  }

  /// A write is in place, at `slices` if it is to be persistent.
  @inline(__always)
  private func writeEnds(
    _ event: UnsafePointer<Event>, _ transfer: RegionTransfer, _ slices: UnsafePointer<Slice>?, _ count: Int
  ) {
    if event.pointee.flags.contains(.persistent), let slices, !persist(event, slices, count) {
      return transport.refuse(.notPersistent)
    }
    if countsRemotes { countRemoteWrite(transfer, event.pointee.length) }
    reportAccess(event)
  }

  /// Makes what was written persistent, and all regions that are meant to be if the write was fenced. All else waits
  /// meanwhile: an initiator who asks for this wants to wait.
  @inline(never)
  private func persist(_ event: UnsafePointer<Event>, _ slices: UnsafePointer<Slice>, _ count: Int) -> Bool {
    var isPersistent = true
    for index in 0..<count where !PersistentMemory.flush(slices[index]) { isPersistent = false }
    if event.pointee.flags.contains(.fence) {
      binding.domain._withUnsafeGuaranteedRef { if !$0.regions.flushPersistent() { isPersistent = false } }
    }
    return isPersistent
  }

  private func readArrived(_ event: UnsafePointer<Event>) {
    guard isFromPeer(event) else { return transport.refuse(.accessDenied) }
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: maximumSlices) { memory in
      let slices = memory.baseAddress!
      var transfer = RegionTransfer()
      let found = resolve(event, .read, slices, &transfer)
      guard found.status == .ok else { return transport.refuse(found.status) }
      guard let name = regionTransfers.begin(transfer, in: binding.domain) else { return transport.refuse(.aborted) }
      transport.accept(slices, count: found.sliceCount, cookie: name)
    }
  }

  private func readAnswered(_ event: UnsafePointer<Event>) {
    if countsRemotes && event.pointee.status == .ok {
      countRemoteRead(regionTransfers[event.pointee.cookie], event.pointee.length)
    }
    regionTransfers.end(event.pointee.cookie, in: binding.domain)
  }

  /// A write or atomic operation that carries completion data is told to the target's program, `flags` saying what it was.
  @inline(__always)
  func reportAccess(_ event: UnsafePointer<Event>, _ flags: UInt64 = FI_RMA | FI_REMOTE_WRITE) {
    guard event.pointee.flags.contains(.remoteData), takesRemoteWrites, hasSpareCompletion else { return }
    let queue = takeWriteQueue()
    let source = source(of: event.pointee.connection)
    if source == UInt64.max && reportsUnknownSources { return reportUnknownWriter(event, flags, to: queue) }
    queue._withUnsafeGuaranteedRef {
      $0.push(
        context: 0, flags: flags | FI_REMOTE_CQ_DATA,
        length: Int(truncatingIfNeeded: event.pointee.length), buffer: 0, data: event.pointee.data, tag: 0,
        source: source)
    }
  }

  /// Where a write is told, with the spare completion.
  @inline(__always)
  private func takeWriteQueue() -> Unmanaged<CompletionQueue> {
    if contexts != nil { return takeContextWriteQueue() }
    hasSpareCompletion = false
    return binding.receiveQueue
  }

  @inline(never)
  private func reportUnknownWriter(
    _ event: UnsafePointer<Event>, _ flags: UInt64, to queue: Unmanaged<CompletionQueue>
  ) {
    let data = errorData(UInt64.max, event.pointee.connection)
    queue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: 0, flags: flags | FI_REMOTE_CQ_DATA,
        length: Int(truncatingIfNeeded: event.pointee.length), buffer: 0, data: event.pointee.data, tag: 0, olen: 0,
        err: FI_EADDRNOTAVAIL, provErrno: FI_EADDRNOTAVAIL, source: UInt64.max, errorData: data)
    }
  }

  /// Ends the transfers of peers to and from a region that goes away.
  package func abortTransfers(region: UInt64, _ now: Instant) {
    guard batch.isEmpty || sendBatch(now) else { return dropAndAbort(region, now) }
    abort(region, now)
  }

  private func dropAndAbort(_ region: UInt64, _ now: Instant) {
    dropBatch()
    abort(region, now)
  }

  private func abort(_ region: UInt64, _ now: Instant) {
    regionTransfers.forEachTransfer(using: region) { name in
      transport.abortTransfers(now: now) { $0.first == name.first }
    }
    drain(now)
  }
}

/// Copies a payload over slices; what does not fit is left out.
@inline(__always)
func scatter(_ payload: UnsafeRawPointer, _ length: Int, _ slices: UnsafePointer<Slice>, _ count: Int) {
  if count == 1 {
    let fitting = min(length, slices.pointee.count)
    if fitting > 0 { memcpy(slices.pointee.base!, payload, fitting) }
    return
  }
  var position = payload
  var missing = length
  for index in 0..<count where missing > 0 {
    let fitting = min(missing, slices[index].count)
    if fitting > 0 { memcpy(slices[index].base!, position, fitting) }
    position += fitting
    missing -= fitting
  }
}
