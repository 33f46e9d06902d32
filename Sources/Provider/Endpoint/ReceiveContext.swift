import CFabric
import Transport

/// Where messages meet the receives that wait for them: posted receives, and messages that came before theirs.
///
/// Each port has one, number 0; the receive contexts of a scalable endpoint are others, and several ports may share one.
/// A message names on the wire the number it is for. What refers to a context is kept alive by the endpoint, so
/// references are unmanaged, as in `Port`. Everything is protected by the engine's lock.
///
/// Man pages: fi_endpoint(3), fi_msg(3), fi_tagged(3)
package final class ReceiveContext {
  /// Contexts from this number on are the provider's own; no program's receives meet their messages.
  package static var firstInternal: UInt16 { 0xFF00 }
  /// Of the management of connections.
  package static var connections: UInt16 { 0xFFFF }
  /// Of collective operations.
  package static var collectives: UInt16 { 0xFFFE }

  /// What messages call it.
  package let number: UInt16
  /// What names of its transfers have: the number, and above it the `turn` of a context that is not the only one.
  let name: UInt64
  let engine: Unmanaged<ProgressEngine>
  /// Where its receives complete, and room for that is set aside when they are posted. Nil of a shared one: there it is
  /// the queue of the port that the message came to, and room is found when it comes.
  private(set) var queue: Unmanaged<CompletionQueue>?
  /// Counts its receives; where it is nil, and beside that of a shared one, the port's own counter does.
  private(set) var counter: Unmanaged<Counter>?
  /// Receives are counted: here, or by a port that takes its messages to this context.
  var isCounted: Bool
  /// Why nothing may be posted, as a positive FI_E value: there is no completion queue, or no connection any more. Else 0.
  private(set) var obstacle: Int32
  /// Several ports take their receives from here (fi_srx_context).
  let isShared: Bool
  /// The port whose messages it takes; of a shared one the first, if there is any.
  private(set) var port: Unmanaged<Port>?
  /// Of a shared one: where its own receives are told of that meet no message; nil if nobody chose one.
  var boundQueue: Unmanaged<CompletionQueue>?
  /// All ports of a shared one.
  private var ports: [Unmanaged<Port>] = []
  /// Messages whose senders were not in the address vector when they came, as far as generation `resolved` of it.
  var hasUnknownSenders = false
  var resolvedGeneration: UInt32 = 0
  /// Most pieces of memory in one receive.
  package private(set) var iovLimit = 0
  private(set) var directsMessages = false
  private(set) var directsTagged = false
  private(set) var demandsSource = false
  /// Capabilities of what its receives may be.
  package private(set) var capabilities: UInt64 = 0
  var receives: ReceiveQueue
  var unexpected: UnexpectedQueue
  /// Messages in buffers for many, once such a buffer was posted.
  var multi: MultiReceives?
  /// FI_OPT_MIN_MULTI_RECV.
  package var minimumMultiReceive = 0
  /// Of a scalable endpoint: completions come that nobody set room aside for, and there is room for the next one.
  var needsSpareCompletion = false
  var hasSpareCompletion = false
  /// Of a shared one whose receives another provider owns (FI_PEER): there is none here.
  let imported: Unmanaged<ImportedReceives>?
  private let ownImported: ImportedReceives?

  /// `messages`: most messages that may wait for their receives. Shared without a `queue`.
  package init(
    number: UInt16, engine: Unmanaged<ProgressEngine>, queue: Unmanaged<CompletionQueue>?,
    counter: Unmanaged<Counter>? = nil, options: EndpointOptions, messages: Int, imported: ImportedReceives? = nil
  ) {
    ownImported = imported
    self.imported = imported.map { .passUnretained($0) }
    self.number = number
    name = UInt64(number)
    self.engine = engine
    self.queue = queue
    self.counter = counter
    isCounted = counter != nil
    isShared = queue == nil
    obstacle = isShared || options.hasReceiveQueue ? 0 : Int32(FI_ENOCQ)
    receives = ReceiveQueue(capacity: options.receiveQueueSize)
    unexpected = UnexpectedQueue(capacity: messages)
    adopt(options)
  }

  /// A context of a scalable endpoint, the `turn`th of all that it has had, where messages wait until it is opened.
  init(number: UInt16, turn: UInt64, of port: Port, messages: Int) {
    ownImported = nil
    imported = nil
    self.number = number
    name = UInt64(number) | turn << 16
    engine = port.binding.engine
    self.port = .passUnretained(port)
    isCounted = false
    isShared = false
    obstacle = Int32(FI_ENOCQ)
    receives = ReceiveQueue(capacity: 1)
    unexpected = UnexpectedQueue(capacity: messages)
  }

  private func adopt(_ options: EndpointOptions) {
    iovLimit = options.iovLimit
    directsMessages = options.isDirected(tagged: false)
    directsTagged = options.isDirected(tagged: true)
    demandsSource = options.demandsSource
    capabilities = options.capabilities
    minimumMultiReceive = options.minimumMultiReceive
  }

  /// Lets receives be posted from now on.
  func open(_ queue: Unmanaged<CompletionQueue>, _ counter: Unmanaged<Counter>?, _ options: EndpointOptions) {
    self.queue = queue
    self.counter = counter
    isCounted = counter != nil
    obstacle = 0
    receives = ReceiveQueue(capacity: options.receiveQueueSize)
    adopt(options)
  }

  /// Counts the receives of a shared one, wherever they end; nil no longer does.
  func count(at counter: Unmanaged<Counter>?) {
    self.counter = counter
    if counter != nil { isCounted = true }
  }

  /// Lets no more be posted. What waits is dropped; what is arriving ends untold, in `queue`, which nobody reads.
  func end(in queue: Unmanaged<CompletionQueue>) {
    while let message = unexpected.firstOfAll { discard(message) }
    while let index = receives.removeFirst() {
      if receives[index].pointee.isMulti && receives[index].pointee.messages > 0 {
        receives[index].pointee.bufferState = .cancelled
      } else {
        if receives[index].pointee.flags & UInt32(FI_TRIGGER) != 0 { dropDeferred(index) }
        receives.free(index)
        self.queue?._withUnsafeGuaranteedRef { $0.unreserve() }
      }
    }
    releaseReservations()
    if hasSpareCompletion { self.queue?._withUnsafeGuaranteedRef { $0.unreserve() } }
    hasSpareCompletion = false
    needsSpareCompletion = false
    let entries = receives.count + (multi?.count ?? 0)
    queue._withUnsafeGuaranteedRef { queue in
      queue.grow(by: entries)
      for _ in 0..<entries { _ = queue.reserve() }
    }
    self.queue = queue
    counter = nil
    isCounted = false
    obstacle = Int32(FI_ENOCQ)
  }

  /// A receive that waits is dropped that was work queued to the domain.
  private func dropDeferred(_ index: UInt32) {
    let work = DeferredWork.of(receives[index].pointee.context)
    engine._withUnsafeGuaranteedRef { $0.deferredWork.remove(work) }
  }

  /// Nothing waits here, and nothing is arriving.
  var isQuiet: Bool { receives.count == 0 && unexpected.count == 0 && (multi?.count ?? 0) == 0 }

  /// Sees to it that there is a spare completion; false when the completion queue has no room for it.
  func findRoom() -> Bool {
    if !hasSpareCompletion {
      hasSpareCompletion = queue.map { $0._withUnsafeGuaranteedRef { $0.reserveUncounted() } } ?? false
    }
    return hasSpareCompletion
  }

  /// Takes the messages of a port from now on, of which `messages` may have to wait.
  func attach(_ port: Port, messages: Int) {
    self.port = self.port ?? .passUnretained(port)
    guard isShared else { return }
    ports.append(.passUnretained(port))
    if imported == nil { unexpected.grow(by: messages) }
  }

  /// Leaves a port out of a shared context: its messages are gone, and the receives that some of them were in are over.
  func detach(_ port: Port) {
    let gone = Unmanaged.passUnretained(port).toOpaque()
    ports.removeAll { $0.toOpaque() == gone }
    self.port = ports.first
    unexpected.forEach { queue, index in
      guard queue[index].pointee.port?.toOpaque() == gone else { return }
      queue.unlink(index)
      queue.free(index)
    }
  }

  /// What of the default flags is for tagged receives: FI_MULTI_RECV only where it is offered for them.
  @inline(__always)
  package func taggedFlags(_ flags: UInt64) -> UInt64 {
    capabilities & FI_TAGGED_MULTI_RECV == 0 ? flags & ~FI_MULTI_RECV : flags
  }

  @inline(__always)
  func lock() { engine._withUnsafeGuaranteedRef { $0.lock() } }
  @inline(__always)
  func unlock() { engine._withUnsafeGuaranteedRef { $0.unlock() } }

  /// Whether receives may wait for counters (FI_TRIGGER).
  package var hasTriggers: Bool { capabilities & FI_TRIGGER != 0 }

  /// Whether it belongs to the domain of an engine.
  package func isDriven(by engine: ProgressEngine) -> Bool {
    self.engine.toOpaque() == Unmanaged.passUnretained(engine).toOpaque()
  }

  /// Receives that may still be posted.
  package var receivesLeft: Int {
    lock()
    defer { unlock() }
    return receives.available
  }

  /// The connection is gone: ends the receives that wait, as if they had been cancelled, and lets none be posted but for
  /// messages that are here already.
  func refuseAll() {
    obstacle = FI_ENOTCONN
    while let index = receives.removeFirst() {
      if receives[index].pointee.isMulti { cancelBuffer(index) } else { failUnmatched(index) }
    }
  }

  /// Ends a receive that met no message.
  func failUnmatched(_ index: UInt32) {
    guard let queue = answerQueue(for: nil) else { return receives.free(index) }
    fail(index, length: 0, overflow: 0, code: FI_ECANCELED, providerCode: FI_ECANCELED, at: nil, to: queue)
  }

  /// Gives up the room that was set aside for completions which will not come.
  func releaseReservations() {
    let entries = receives.count + (multi?.count ?? 0)
    queue?._withUnsafeGuaranteedRef { $0.unreserve(entries) }
  }

  // MARK: Matched receives

  /// Notes the message that a receive was matched with.
  @inline(__always)
  func assign(_ index: UInt32, connection: ConnectionIndex, flags: OperationFlags, tag: UInt64, data: UInt64) {
    let entry = receives[index]
    entry.pointee.connection = connection
    entry.pointee.tag = tag
    entry.pointee.data = data
    if flags.contains(.remoteData) { entry.pointee.flags |= UInt32(FI_REMOTE_CQ_DATA) }
  }

  /// Ends a receive whose message from a peer of `port` is in place. `queue` has room set aside for its completion.
  @inline(__always)
  func complete(_ index: UInt32, length: UInt64, at port: Port, to queue: Unmanaged<CompletionQueue>) {
    let entry = receives[index]
    let capacity = UInt64(truncatingIfNeeded: entry.pointee.capacity)
    if length > capacity {
      let overflow = Int(truncatingIfNeeded: length &- capacity)
      return fail(
        index, length: entry.pointee.capacity, overflow: overflow, code: Int32(FI_ETRUNC),
        providerCode: Int32(FI_ETRUNC), at: port, to: queue)
    }
    if UInt64(entry.pointee.flags) & FI_COMPLETION != 0 {
      let source = port.source(of: entry.pointee.connection)
      if source == UInt64.max && port.reportsUnknownSources {
        return fail(
          index, length: Int(truncatingIfNeeded: length), overflow: 0, code: FI_EADDRNOTAVAIL,
          providerCode: FI_EADDRNOTAVAIL, at: port, to: queue)
      }
      queue._withUnsafeGuaranteedRef {
        $0.push(
          context: entry.pointee.context, flags: UInt64(entry.pointee.flags) & ~FI_COMPLETION,
          length: Int(truncatingIfNeeded: length), buffer: UInt(bitPattern: receives.slices(index).pointee.base),
          data: entry.pointee.data, tag: entry.pointee.tag, source: source)
      }
    } else {
      if entry.pointee.flags & UInt32(FI_TRIGGER) != 0 {
        return completeDeferred(index, length: length, at: port, to: queue)
      }
      queue._withUnsafeGuaranteedRef { $0.unreserve() }
    }
    receives.free(index)
    if isCounted { countEnd(length, isError: false, at: port) }
  }

  /// Out of the way of others, since it counts references.
  @inline(never)
  private func completeDeferred(_ index: UInt32, length: UInt64, at port: Port, to queue: Unmanaged<CompletionQueue>) {
    endDeferred(index, length, isError: false) { complete(index, length: length, at: port, to: queue) }
  }

  /// Ends a receive that was work queued to the domain as `end` does with any other: told to the completion queue only if
  /// that was asked for, or after an error, and counted by the counter of the work alone.
  @inline(never)
  private func endDeferred(_ index: UInt32, _ bytes: UInt64, isError: Bool, _ end: () -> Void) {
    let work = DeferredWork.of(receives[index].pointee.context)
    receives[index].pointee.context = work.context
    receives[index].pointee.flags &= ~UInt32(FI_TRIGGER)
    receives[index].pointee.flags |= UInt32(work.flags & FI_COMPLETION)
    let isCounted = isCounted
    self.isCounted = false
    end()
    self.isCounted = isCounted
    engine._withUnsafeGuaranteedRef { $0.deferredWork.ended(work, bytes, isError: isError) }
  }

  /// Ends a receive with an error entry. `port` is where its message comes from; nil of one that was not matched.
  @inline(never)
  func fail(
    _ index: UInt32, length: Int, overflow: Int, code: Int32, providerCode: Int32, at port: Port?,
    to queue: Unmanaged<CompletionQueue>
  ) {
    let entry = receives[index]
    if entry.pointee.flags & UInt32(FI_TRIGGER) != 0 {
      return endDeferred(index, 0, isError: true) {
        fail(
          index, length: length, overflow: overflow, code: code, providerCode: providerCode, at: port, to: queue)
      }
    }
    let source = port.map { $0.source(of: entry.pointee.connection) } ?? UInt64.max
    let errorData = port.map { $0.errorData(source, entry.pointee.connection) } ?? ErrorData()
    queue._withUnsafeGuaranteedRef {
      $0.pushError(
        context: entry.pointee.context, flags: UInt64(entry.pointee.flags) & ~FI_COMPLETION, length: length,
        buffer: UInt(bitPattern: receives.slices(index).pointee.base), data: port == nil ? 0 : entry.pointee.data,
        tag: entry.pointee.tag, olen: overflow, err: code, provErrno: providerCode, source: source,
        errorData: errorData)
    }
    receives.free(index)
    // From an unknown source, it is received all the same.
    if isCounted { countEnd(UInt64(length), isError: port == nil || code != FI_EADDRNOTAVAIL, at: port) }
  }

  /// Counts the end of a receive, or of one message in a buffer for many.
  @inline(never)
  func countEnd(_ bytes: UInt64, isError: Bool, at port: Port?) {
    Self.count(counter, bytes, isError)
    if counter == nil || isShared { Self.count(port?.binding.counters.receive, bytes, isError) }
  }

  private static func count(_ counter: Unmanaged<Counter>?, _ bytes: UInt64, _ isError: Bool) {
    counter?._withUnsafeGuaranteedRef { if isError { $0.countError() } else { $0.count(bytes) } }
  }
}
