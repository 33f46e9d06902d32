import CFabric
import Datagram

/// A count of operations, or of their bytes, and one of errors.
///
/// What endpoints and the engine call, they call with the engine's lock held; the calls of programs take it. Reading
/// drives progress, as reading a completion queue does.
///
/// A counter that another provider owns (FI_PEER) is always alarmed: what it counts, it tells the owner at once.
///
/// Thresholds are for work that is triggered: ``addThreshold(_:token:)`` puts a token beside a value, and when the
/// counter, its errors included, is there the token moves to the engine's ``ProgressEngine/reached`` list, which its owner
/// drains. A counter without thresholds and sleepers pays one comparison for that.
///
/// Man pages: fi_cntr(3); fi_peer(3), "Peer counter"
package final class Counter: Waitable {
  package let domain: Domain
  private let engine: ProgressEngine
  /// FI_CNTR_EVENTS_BYTES: counts the bytes of operations. Errors are counted one by one all the same.
  package let countsBytes: Bool
  private let waiting: WaitChoice
  private let waitObject: WaitObject?
  /// Whose the count is; nil where it is the program's.
  private let owner: UnsafeMutablePointer<fid_peer_cntr>?

  private var value: UInt64 = 0
  private var errors: UInt64 = 0
  /// From which value on ``valueReached()`` has something to do: 0 while somebody sleeps or where there is an owner, the
  /// lowest threshold, or never.
  private var alarm: UInt64 = .max
  /// Somebody sleeps, or is about to, and wants to be woken by the next change.
  private var isArmed = false
  private var thresholds = ThresholdList()
  private var bindings = 0
  package private(set) var isClosed = false

  // What fi_trywait and fi_poll have seen.
  private var seenByWaiter: (value: UInt64, errors: UInt64) = (0, 0)
  private var seenByPoll: (value: UInt64, errors: UInt64) = (0, 0)

  /// Without attributes it counts operations and has no wait object. With FI_PEER, the counter that `context`, a
  /// `struct fi_peer_cntr_context`, names is what counts. Throws FI_EINVAL for unknown events or flags, for an incomplete
  /// peer context, and for an owner's count of bytes, since owners count one by one; FI_ENOSYS for an accelerator's
  /// counter; and what ``WaitChoice`` throws.
  package convenience init(
    _ domain: Domain, _ attributes: UnsafePointer<fi_cntr_attr>?, context: UnsafeMutableRawPointer? = nil
  ) throws(FabricError) {
    let flags = attributes?.pointee.flags ?? 0
    guard flags == 0 || flags == FI_PEER else {
      if flags == FI_XPU { throw Self.refuse("counters of accelerators are not offered", .notImplemented) }
      throw Self.refuse("unknown flags")
    }
    let owner = flags == 0 ? nil : try Self.owner(context)
    let events = attributes?.pointee.events ?? FI_CNTR_EVENTS_COMP
    guard events == FI_CNTR_EVENTS_COMP || events == FI_CNTR_EVENTS_BYTES && owner == nil else {
      throw Self.refuse("unknown events, or ones that an owner cannot count")
    }
    let wait = attributes?.pointee.wait_obj ?? FI_WAIT_NONE
    // The engine makes descriptors when it is first asked for them.
    let watched = wait == FI_WAIT_NONE ? nil : domain.engine.waitDescriptor
    let waiting = try WaitChoice(
      wait, attributes?.pointee.wait_set, in: domain.fabric, watching: watched, for: .counter)
    self.init(domain, countsBytes: events == FI_CNTR_EVENTS_BYTES, waiting, owner)
    do throws(FabricError) { try waiting.set?.add(self, watching: watched) } catch {
      try close()
      throw error
    }
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(
    _ domain: Domain, countsBytes: Bool, _ waiting: WaitChoice, _ owner: UnsafeMutablePointer<fid_peer_cntr>?
  ) {
    self.owner = owner
    if owner != nil { alarm = 0 }
    self.domain = domain
    self.countsBytes = countsBytes
    self.waiting = waiting
    waitObject = waiting.object
    engine = domain.engine
    engine.lock()
    domain.addChild()
    engine.unlock()
  }

  /// Throws FI_EBUSY while endpoints or memory regions are bound to it.
  package func close() throws(FabricError) {
    engine.lock()
    let isBusy = bindings != 0 || !thresholds.isEmpty
    isClosed = !isBusy
    engine.unlock()
    if isBusy { throw Self.refuse("something is still bound to the counter", in: "fi_close", .busy) }
    waiting.close(self)
    engine.lock()
    domain.removeChild()
    engine.unlock()
  }

  // MARK: For endpoints and the engine, which hold the lock

  /// Something counts here from now on.
  package func addBinding() { bindings += 1 }

  /// It no longer does.
  package func removeBinding() { bindings -= 1 }

  /// An operation with so many bytes has succeeded.
  @inline(__always)
  package func count(_ bytes: UInt64) { advance(by: countsBytes ? bytes : 1) }

  /// An operation has failed.
  package func countError() { advanceErrors(by: 1) }

  /// A token for the engine's list of reached thresholds: at once if values and errors together are there already, else
  /// when they get there. Tokens of one value keep their order. While there are any the counter cannot be closed.
  package func addThreshold(_ value: UInt64, token: UInt64) {
    thresholds.insert(CounterThreshold(value: value, token: token))
    valueReached()
  }

  /// Takes a threshold back; false when it was reached, or never there.
  package func removeThreshold(token: UInt64) -> Bool {
    let wasThere = thresholds.remove(token)
    resetAlarm()
    return wasThere
  }

  @inline(__always)
  private func advance(by amount: UInt64) {
    value &+= amount
    if value >= alarm { valueReached() }
  }

  private func advanceErrors(by amount: UInt64) {
    if let owner { return owner.pointee.owner_ops.pointee.incerr(owner) }
    errors &+= amount
    valueReached()
  }

  /// Wakes sleepers and hands over the thresholds that were reached; or has the owner count.
  @inline(never)
  private func valueReached() {
    if let owner {
      value = 0
      return owner.pointee.owner_ops.pointee.inc(owner)
    }
    wake()
    while let first = thresholds.first, first.value <= value &+ errors {
      engine.reached.append(first)
      _ = thresholds.removeFirst()
    }
    resetAlarm()
  }

  private func wake() {
    guard isArmed else { return }
    isArmed = false
    resetAlarm()
    waitObject?.signal()
  }

  private func resetAlarm() {
    let threshold = thresholds.first.map { $0.value > errors ? $0.value - errors : 0 }
    alarm = isArmed || isImported ? 0 : threshold ?? .max
  }

  // MARK: The program's calls

  /// fi_cntr_read
  package func read() -> UInt64 {
    engine.lock()
    engine.progress()
    let result = value
    let givesWay = engine.shouldGiveWay
    seenByWaiter.value = result
    noteRead()
    engine.unlock()
    if givesWay { Thread.yield() }
    return result
  }

  /// fi_cntr_readerr
  package func readErrors() -> UInt64 {
    engine.lock()
    defer { engine.unlock() }
    engine.progress()
    seenByWaiter.errors = errors
    noteRead()
    return errors
  }

  /// fi_cntr_add
  package func add(_ amount: UInt64) { change { $0.apply(add: amount) } }

  /// fi_cntr_set
  package func set(_ newValue: UInt64) { change { $0.apply(set: newValue) } }

  /// fi_cntr_adderr
  package func addErrors(_ amount: UInt64) { change { $0.advanceErrors(by: amount) } }

  /// fi_cntr_seterr
  package func setErrors(_ newValue: UInt64) {
    change {
      $0.errors = newValue
      $0.valueReached()
    }
  }

  /// Changes the counter with the lock held, and starts what waited for that.
  private func change(_ body: (Counter) -> Void) {
    engine.lock()
    defer { engine.unlock() }
    body(self)
    engine.startDeferredWork()
  }

  /// What ``add(_:)`` does, with the lock held.
  func apply(add amount: UInt64) {
    advance(by: amount)
    seenByPoll.value = value
  }

  /// What ``set(_:)`` does, with the lock held.
  func apply(set newValue: UInt64) {
    value = newValue
    seenByPoll.value = value
    valueReached()
  }

  /// Drives progress and tells whether the counter was changed since the last call, by anything but
  /// ``add(_:)`` and ``set(_:)``. Part of fi_poll.
  package func poll() -> Bool {
    engine.lock()
    defer { engine.unlock() }
    engine.progress()
    defer { seenByPoll = (value, errors) }
    return seenByPoll != (value, errors)
  }

  // MARK: Waiting

  /// Waits up to `timeout` milliseconds, for ever if negative, until the counter is at `threshold` or beyond. Throws
  /// FI_EAVAIL when errors are counted meanwhile, FI_ETIMEDOUT when time is up.
  ///
  /// The man page allows it only with a wait object. Programs written for upstream's sockets provider do without, and
  /// can: what they wait for does not depend on one.
  package func wait(for threshold: UInt64, timeout: Int32) throws(FabricError) {
    let deadline = Clock.deadline(milliseconds: timeout)
    engine.lock()
    defer { engine.unlock() }
    let errorsBefore = errors
    while true {
      engine.progress()
      if value >= threshold { return }
      if errors != errorsBefore { throw .errorAvailable }
      if deadline != .max && Clock.now() >= deadline { throw .timedOut }
      if let waitObject { arm(waitObject) }
      engine.sleep(on: waitObject, until: deadline)
    }
  }

  /// Whether the program may sleep on the counter's object: throws FI_EAGAIN when it has changed since the program last
  /// asked or read, FI_EINVAL without a wait object. Part of fi_trywait.
  package func prepareToWait() throws(FabricError) {
    guard let waitObject else { throw Self.refuse("the counter has no wait object", in: "fi_trywait") }
    engine.lock()
    defer { engine.unlock() }
    engine.progress()
    if seenByWaiter != (value, errors) {
      seenByWaiter = (value, errors)
      throw .tryAgain
    }
    arm(waitObject)
    if waitObject.kind != FI_WAIT_YIELD && !engine.armWait() { throw .tryAgain }
    if !waitObject.isShared { waitObject.expectSleep() }
  }

  /// FI_GETWAIT and FI_GETWAITOBJ; FI_GETOPSFLAG and FI_SETOPSFLAG, though a counter knows no flags. Throws FI_ENODATA
  /// without a wait object, FI_EBADFLAGS for flags.
  package func control(_ command: Int32, _ argument: UnsafeMutableRawPointer?) throws(FabricError) {
    switch Int(command) {
    case Int(FI_GETWAIT), Int(FI_GETWAITOBJ):
      guard let waitObject else { throw Self.refuse("the counter has no wait object", in: "fi_control", .noData) }
      try waitObject.control(command, argument)
    case Int(FI_GETOPSFLAG), Int(FI_SETOPSFLAG):
      guard let flags = argument?.assumingMemoryBound(to: UInt64.self) else {
        throw Self.refuse("no flags, or no place for them", in: "fi_control")
      }
      if Int(command) == Int(FI_GETOPSFLAG) { flags.pointee = 0 }
      if flags.pointee != 0 { throw Self.refuse("counters know no flags", in: "fi_control", .badFlags) }
    default: throw Self.refuse("unknown command", in: "fi_control", .notImplemented)
    }
  }

  /// From now on the next change wakes. Signals of a set are the set's.
  private func arm(_ waitObject: WaitObject) {
    if waitObject.kind == FI_WAIT_YIELD { return }
    if !waitObject.isShared { waitObject.rearm() }
    isArmed = true
    resetAlarm()
  }

  /// The program may wait for the counter's condition next, without asking first.
  @inline(__always)
  private func noteRead() {
    if let waitObject, waitObject.sleepsUnannounced { expectSleep(waitObject) }
  }

  @inline(never)
  private func expectSleep(_ waitObject: WaitObject) {
    arm(waitObject)
    let mayWait = engine.armWait()
    waitObject.expectSleep()
    if !mayWait { waitObject.signal() }
  }

  /// Whether another provider owns the count: then reading drives progress, and returns 0.
  package var isImported: Bool { owner != nil }

  /// The counter that a `struct fi_peer_cntr_context` names; only that outlives the call.
  private static func owner(
    _ context: UnsafeMutableRawPointer?
  ) throws(FabricError) -> UnsafeMutablePointer<fid_peer_cntr> {
    guard let context = context?.assumingMemoryBound(to: fi_peer_cntr_context.self),
      context.pointee.size >= MemoryLayout<fi_peer_cntr_context>.size, let owner = context.pointee.cntr,
      let operations = owner.pointee.owner_ops, operations.pointee.size >= MemoryLayout<fi_ops_cntr_owner>.size,
      operations.pointee.inc != nil, operations.pointee.incerr != nil
    else { throw refuse("FI_PEER without a counter to count with") }
    return owner
  }

  private static func refuse(
    _ reason: StaticString, in call: StaticString = "fi_cntr_open", _ error: FabricError = .invalidArgument
  ) -> FabricError {
    error.because(.counter, reason, in: call)
  }
}
