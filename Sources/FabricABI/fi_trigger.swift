import CFabric
import CPlatform
import Packet
import Provider
import Transport

// Operations that wait for counters: fi_trigger(3). What the program hands over is copied at once, all but the memory that
// is sent or received.

/// When an operation starts, and how the program calls it.
private struct Condition {
  var name: UInt
  var isQueued: Bool
  var counter: Counter
  var threshold: UInt64
  var completion: Counter?

  /// What the context of an operation with FI_TRIGGER says. Throws FI_ENOSYS for an accelerator's trigger.
  init(triggered context: UnsafeMutableRawPointer?) throws(FabricError) {
    guard let context else { throw refuse("FI_TRIGGER without a triggered context") }
    let trigger = context.assumingMemoryBound(to: fi_triggered_context.self).pointee
    guard trigger.event_type == FI_TRIGGER_THRESHOLD else {
      if trigger.event_type == FI_TRIGGER_XPU { throw refuse("accelerators trigger nothing", .notImplemented) }
      throw refuse("unknown event_type")
    }
    counter = try Self.ownCounter(trigger.trigger.threshold.cntr)
    threshold = UInt64(UInt(bitPattern: trigger.trigger.threshold.threshold))
    name = bits(context)
    isQueued = false
  }

  init(queued work: UnsafeMutablePointer<fi_deferred_work>) throws(FabricError) {
    counter = try Self.ownCounter(work.pointee.triggering_cntr)
    threshold = work.pointee.threshold
    completion = work.pointee.completion_cntr == nil ? nil : try Self.counter(work.pointee.completion_cntr)
    name = bits(work)
    isQueued = true
    if let completion, completion.domain !== counter.domain { throw refuse("counters of two domains", .wrongDomain) }
  }

  static func counter(_ cntr: UnsafeMutablePointer<fid_cntr>?) throws(FabricError) -> Counter {
    guard let cntr, cntr.pointee.fid.fclass == Int(FI_CLASS_CNTR) else { throw refuse("no counter") }
    // Such as that of the owner itself, where this library serves under another provider.
    if !isCounter(cntr) { throw refuse("another library's counter", .notImplemented) }
    return object(cntr, lfp_cntr.self)
  }

  /// A counter whose count is here. Throws FI_ENOSYS for one that another provider owns (FI_PEER): what that counts in all
  /// is not known here, and nothing would ever start.
  static func ownCounter(_ cntr: UnsafeMutablePointer<fid_cntr>?) throws(FabricError) -> Counter {
    let counter = try counter(cntr)
    if counter.isImported { throw refuse("another provider owns the counter's count", .notImplemented) }
    return counter
  }

  func work(
    _ action: DeferredWork.Action, _ pieces: Pieces? = nil, at segments: UnsafePointer<RemoteSegment>? = nil,
    segmentCount: Int = 0
  ) -> DeferredWork {
    DeferredWork(
      action, name: name, isQueued: isQueued, when: counter, reaches: threshold, completion: completion, pieces,
      at: segments, segmentCount: segmentCount)
  }

  func queue(_ work: DeferredWork) { counter.domain.engine.queue(work) }
}

private func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
  error.because(.endpointData, reason, in: "fi_trigger")
}

// MARK: Operations

/// What transmits for an enabled endpoint, a transmit context or an alias, in the domain of the condition's counter.
private func sender(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ condition: Condition, _ flags: UInt64
) throws(FabricError) -> Sender {
  guard let ep else { throw refuse("no endpoint") }
  let endpoint: Endpoint
  switch UInt32(truncatingIfNeeded: ep.pointee.fid.fclass) {
  case UInt32(FI_CLASS_EP): endpoint = object(ep, lfp_ep.self)
  case UInt32(FI_CLASS_TX_CTX): endpoint = object(ep, lfp_tx_ctx.self).endpoint
  default: throw refuse("neither an endpoint nor a transmit context")
  }
  guard endpointHandle(ep).pointee.port != nil else { throw refuse("the endpoint is not enabled", .badState) }
  if endpoint.portReference == nil { throw refuse("datagrams wait for no counter", .notImplemented) }
  if endpoint.domain !== condition.counter.domain { throw refuse("a counter of another domain", .wrongDomain) }
  if flags & FI_INJECT != 0 { throw refuse("FI_INJECT of memory that is not read before it is due") }
  if !condition.isQueued && endpoint.capabilities & FI_TRIGGER == 0 {
    throw refuse("the endpoint has not FI_TRIGGER", .notSupported)
  }
  return withSender(ep) { $0 }
}

/// A vector of an operation's memory, as long as an endpoint permits.
private func vector(_ iov: UnsafePointer<iovec>?, _ count: Int, limit: Int) throws(FabricError) -> Pieces? {
  if count == 0 { return nil }
  guard isVector(iov, count, limit) else { throw refuse("no memory, or more pieces than iov_limit") }
  let pieces = pieces(iov, count)
  if pieces.length < 0 { throw refuse("more memory than there can be") }
  return pieces
}

private func message(
  _ condition: Condition, _ ep: UnsafeMutablePointer<fid_ep>?, kind: UInt64, _ iov: UnsafePointer<iovec>?, _ count: Int,
  _ fill: (DeferredWork) -> Void, _ flags: UInt64
) throws(FabricError) {
  let sender = try sender(ep, condition, flags)
  let work = condition.work(.send, try vector(iov, count, limit: sender.iovLimit))
  work.sender = sender
  work.kind = kind
  work.flags = flags | (condition.isQueued ? 0 : sender.messageFlags)
  fill(work)
  condition.queue(work)
}

private func receive(
  _ condition: Condition, _ ep: UnsafeMutablePointer<fid_ep>?, kind: UInt64, _ iov: UnsafePointer<iovec>?, _ count: Int,
  _ fill: (DeferredWork) -> Void, _ flags: UInt64
) throws(FabricError) {
  guard let ep else { throw refuse("no endpoint") }
  switch UInt32(truncatingIfNeeded: ep.pointee.fid.fclass) {
  case UInt32(FI_CLASS_EP), UInt32(FI_CLASS_RX_CTX), UInt32(FI_CLASS_SRX_CTX): break
  default: throw refuse("neither an endpoint nor a receive context")
  }
  let handle = endpointHandle(ep)
  guard let context = handle.pointee.receiver else { throw refuse("the endpoint is not enabled", .badState) }
  let receiver = Unmanaged<ReceiveContext>.fromOpaque(context)
  if flags & (FI_MULTI_RECV | FI_PEEK | FI_CLAIM | FI_DISCARD) != 0 {
    throw refuse("only single receives wait for counters", .notImplemented)
  }
  let receives = receiver.takeUnretainedValue()
  if !receives.isDriven(by: condition.counter.domain.engine) {
    throw refuse("a counter of another domain", .wrongDomain)
  }
  if !condition.isQueued && !receives.hasTriggers { throw refuse("the endpoint has not FI_TRIGGER", .notSupported) }
  let work = condition.work(.receive, try vector(iov, count, limit: receives.iovLimit))
  work.receiver = receiver
  work.kind = kind
  work.flags = flags | (condition.isQueued ? 0 : handle.pointee.receive_completion)
  fill(work)
  condition.queue(work)
}

private func access(
  _ condition: Condition, _ action: DeferredWork.Action, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_rma,
  _ flags: UInt64
) throws(FabricError) {
  let sender = try sender(ep, condition, flags)
  let count = msg.rma_iov_count
  guard let remote = msg.rma_iov, count > 0 && count <= sender.remoteIovLimit else {
    throw refuse("no remote memory, or more pieces than rma_iov_limit")
  }
  let pieces = try vector(msg.msg_iov, msg.iov_count, limit: sender.iovLimit)
  var total: UInt64 = 0
  for index in 0..<count { total &+= UInt64(UInt(bitPattern: remote[index].len)) }
  if total != UInt64(pieces?.length ?? 0) { throw refuse("local and remote memory differ in length") }
  let work = condition.work(
    action, pieces, at: UnsafeRawPointer(remote).assumingMemoryBound(to: RemoteSegment.self), segmentCount: count)
  work.sender = sender
  work.address = msg.addr
  work.data = msg.data
  work.context = bits(msg.context)
  work.flags = flags | (condition.isQueued ? 0 : sender.messageFlags)
  condition.queue(work)
}

private func atomic(
  _ condition: Condition, _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_atomic,
  compare: Elements = Elements(), result: Elements = Elements(), flags: UInt64
) throws(FabricError) {
  let sender = try sender(ep, condition, flags)
  // Those of default flags change nothing.
  if condition.isQueued && flags & unbuiltAtomicFlags != 0 {
    throw refuse("flags that atomic operations have not", .notImplemented)
  }
  let outcome = gatherAtomic(kind, sender, msg, compare, result) { call in
    let pieces = Pieces(call.operands.first, call.operands.count + call.results.count)
    let work = condition.work(.atomic, pieces, at: call.segments, segmentCount: call.segmentCount)
    work.sender = sender
    work.request = call.request
    work.operandCount = call.operands.count
    work.address = msg.addr
    work.data = msg.data
    work.context = bits(msg.context)
    work.flags = flags | (condition.isQueued ? 0 : sender.messageFlags)
    condition.queue(work)
    return 0
  }
  if outcome != 0 {
    throw refuse("no such atomic operation, or vectors that do not go together", FabricError(code: Int32(-outcome)))
  }
}

private func changeCounter(
  _ condition: Condition, _ action: DeferredWork.Action, _ operation: fi_op_cntr
) throws(FabricError) {
  if condition.completion != nil { throw refuse("a counter operation has no completion counter") }
  let target = try Condition.ownCounter(operation.cntr)
  if target.domain !== condition.counter.domain { throw refuse("counters of two domains", .wrongDomain) }
  let work = condition.work(action)
  work.target = target
  work.value = operation.value
  condition.queue(work)
}

private func fill(_ work: DeferredWork, _ msg: fi_msg) {
  work.address = msg.addr
  work.data = msg.data
  work.context = bits(msg.context)
}

private func fill(_ work: DeferredWork, _ msg: fi_msg_tagged) {
  work.address = msg.addr
  work.data = msg.data
  work.context = bits(msg.context)
  work.tag = msg.tag
  work.ignore = msg.ignore
}

// MARK: Operations with FI_TRIGGER

/// fi_sendmsg and fi_recvmsg.
@inline(never)
func trigger(
  _ action: DeferredWork.Action, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg, _ flags: UInt64
) -> Int {
  Int(
    status { () throws(FabricError) in
      let condition = try Condition(triggered: msg.context)
      let body = action == .send ? message : receive
      try body(condition, ep, FI_MSG, msg.msg_iov, msg.iov_count, { fill($0, msg) }, flags & ~FI_TRIGGER)
    })
}

/// fi_tsendmsg and fi_trecvmsg.
@inline(never)
func trigger(
  _ action: DeferredWork.Action, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_tagged, _ flags: UInt64
) -> Int {
  Int(
    status { () throws(FabricError) in
      let condition = try Condition(triggered: msg.context)
      let body = action == .send ? message : receive
      try body(condition, ep, FI_TAGGED, msg.msg_iov, msg.iov_count, { fill($0, msg) }, flags & ~FI_TRIGGER)
    })
}

/// fi_readmsg and fi_writemsg.
@inline(never)
func trigger(
  _ action: DeferredWork.Action, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_rma, _ flags: UInt64
) -> Int {
  Int(
    status { () throws(FabricError) in
      try access(try Condition(triggered: msg.context), action, ep, msg, flags & ~FI_TRIGGER)
    })
}

/// fi_atomicmsg and its kin.
@inline(never)
func trigger(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_atomic, _ compare: Elements,
  _ result: Elements, _ flags: UInt64
) -> Int {
  Int(
    status { () throws(FabricError) in
      try atomic(
        try Condition(triggered: msg.context), kind, ep, msg, compare: compare, result: result,
        flags: flags & ~FI_TRIGGER)
    })
}

// MARK: The deferred work queue

/// fi_control of a domain with FI_QUEUE_WORK.
func queueWork(_ argument: UnsafeMutableRawPointer?) -> Int32 {
  status { () throws(FabricError) in
    guard let work = argument?.assumingMemoryBound(to: fi_deferred_work.self) else { throw refuse("no work") }
    // All members of the union are pointers.
    guard let operation = UnsafeRawPointer(bitPattern: bits(work.pointee.op.msg)) else { throw refuse("no operation") }
    let condition = try Condition(queued: work)
    switch work.pointee.op_type {
    case FI_OP_SEND, FI_OP_RECV:
      let op = operation.assumingMemoryBound(to: fi_op_msg.self).pointee
      let body = work.pointee.op_type == FI_OP_SEND ? message : receive
      try body(condition, op.ep, FI_MSG, op.msg.msg_iov, op.msg.iov_count, { fill($0, op.msg) }, op.flags)
    case FI_OP_TSEND, FI_OP_TRECV:
      let op = operation.assumingMemoryBound(to: fi_op_tagged.self).pointee
      let body = work.pointee.op_type == FI_OP_TSEND ? message : receive
      try body(condition, op.ep, FI_TAGGED, op.msg.msg_iov, op.msg.iov_count, { fill($0, op.msg) }, op.flags)
    case FI_OP_READ, FI_OP_WRITE:
      let op = operation.assumingMemoryBound(to: fi_op_rma.self).pointee
      try access(condition, work.pointee.op_type == FI_OP_READ ? .read : .write, op.ep, op.msg, op.flags)
    case FI_OP_ATOMIC, FI_OP_FETCH_ATOMIC, FI_OP_COMPARE_ATOMIC:
      try queueAtomic(condition, work.pointee.op_type, operation)
    case FI_OP_CNTR_SET, FI_OP_CNTR_ADD:
      let op = operation.assumingMemoryBound(to: fi_op_cntr.self).pointee
      try changeCounter(condition, work.pointee.op_type == FI_OP_CNTR_SET ? .setCounter : .addToCounter, op)
    default: throw refuse("such work is not offered", .notImplemented)
    }
  }
}

private func queueAtomic(
  _ condition: Condition, _ type: fi_op_type, _ operation: UnsafeRawPointer
) throws(FabricError) {
  switch type {
  case FI_OP_ATOMIC:
    let op = operation.assumingMemoryBound(to: fi_op_atomic.self).pointee
    try atomic(condition, .base, op.ep, op.msg, flags: op.flags)
  case FI_OP_FETCH_ATOMIC:
    let op = operation.assumingMemoryBound(to: fi_op_fetch_atomic.self).pointee
    try atomic(
      condition, .fetch, op.ep, op.msg, result: Elements(op.fetch.msg_iov, op.fetch.iov_count), flags: op.flags)
  default:
    let op = operation.assumingMemoryBound(to: fi_op_compare_atomic.self).pointee
    try atomic(
      condition, .compare, op.ep, op.msg, compare: Elements(op.compare.msg_iov, op.compare.iov_count),
      result: Elements(op.fetch.msg_iov, op.fetch.iov_count), flags: op.flags)
  }
}

/// FI_CANCEL_WORK: FI_ENOENT for what is not queued, has started or is over.
func cancelWork(_ domain: Domain, _ argument: UnsafeMutableRawPointer?) -> Int32 {
  guard let argument else { return refuse("no work").result }
  return domain.engine.cancelDeferredWork(named: bits(argument)) ? 0 : FabricError.noEntry.result
}

/// FI_FLUSH_WORK, of all work or of what waits for a counter.
func flushWork(_ domain: Domain, _ argument: UnsafeMutableRawPointer?) -> Int32 {
  status { () throws(FabricError) in
    let counter = argument == nil ? nil : try Condition.counter(argument?.assumingMemoryBound(to: fid_cntr.self))
    domain.engine.flushDeferredWork(waitingFor: counter)
  }
}
