import CFabric
import Containers
import Datagram
import Transport

/// Drives all endpoints of a domain: one lock, one order of polling. The only place where sockets and transport meet is
/// the port; the engine decides when ports are pumped and what to sleep on.
///
/// With manual progress nothing happens but in the program's own calls. With automatic progress a helper thread steps in
/// whenever the program has not polled for a while.
///
/// Man page: fi_domain(3), "Progress models"
package final class ProgressEngine {
  private let mutex = Lock()
  private let isLocking: Bool
  package let isAutomatic: Bool
  private var ports: UnsafeMutablePointer<Unmanaged<Port>>
  private var portCapacity = 4
  private var portCount = 0
  private var datagramPorts = DatagramPortList()
  /// Rounds that the program itself drove.
  private(set) var pollCount: UInt64 = 0
  /// Rounds in a row in which no socket had anything.
  private var emptyRounds: UInt32 = 0

  // Receives that other providers own. `hasOwners`: there are any.
  private var importedReceives: [Unmanaged<ImportedReceives>] = []
  private var hasOwners = false
  /// The program polls: owners expect to be called.
  private(set) var mayCallOwners = false
  /// Of the domain, if there is one.
  var profile: Unmanaged<Profile>?
  /// What ports have carried that are gone.
  private var bygone = Traffic()

  /// Thresholds that the domain's counters have reached. Protected by the lock.
  package var reached = ReachedThresholds()
  /// Operations that wait for counters. Protected by the lock.
  let deferredWork = DeferredWorkQueue()
  /// Some of them are due and have found no room.
  private var isWorkBlocked = false

  // Sleeping. Descriptors are made when somebody first sleeps.
  private let waiterLock = Lock()
  private var waiter: Waiter?
  private var thread: ProgressThread?
  /// When the next sleeper in `wait` looks by itself; 0 while nobody sleeps there.
  private var sleepDeadline: Instant = 0
  /// What the timer of the wait descriptor is set to while the program sleeps on that; 0 once the program has polled.
  private var armedDeadline: Instant = 0

  /// `locking`: several threads may call at once. `automatic`: FI_PROGRESS_AUTO, which implies locking.
  package init(locking: Bool, automatic: Bool) {
    isLocking = locking || automatic
    isAutomatic = automatic
    ports = .allocate(capacity: portCapacity)
    Engines.add(self)
  }

  deinit {
    Engines.remove(Unmanaged.passUnretained(self).toOpaque(), bygone)
    ports.deallocate()
  }

  // MARK: Lock

  /// Takes the domain's lock, where its threading level calls for one. Not recursive.
  @inline(__always)
  package func lock() { if isLocking { mutex.lock() } }

  @inline(__always)
  package func unlock() { if isLocking { mutex.unlock() } }

  // MARK: Progress

  /// Pumps every port once, on behalf of the program. The caller holds the lock.
  @inline(__always)
  package func progress() {
    pollCount &+= 1
    armedDeadline = 0
    if hasOwners { return progressWithOwners() }
    pumpAll(Clock.now())
  }

  /// As ``progress()``, within a call that does not poll: owners of receives are left alone.
  package func progressAside() {
    pollCount &+= 1
    armedDeadline = 0
    pumpAll(Clock.now())
  }

  @inline(never)
  private func progressWithOwners() {
    mayCallOwners = true
    for receives in importedReceives { receives._withUnsafeGuaranteedRef { $0.serve() } }
    pumpAll(Clock.now())
    mayCallOwners = false
  }

  /// Pumps every port once for an event queue. With a helper thread that is no poll of the program's, who may never read
  /// the queue again. Takes the lock.
  package func progressForEvents() {
    lock()
    defer { unlock() }
    if isAutomatic { pumpAll(Clock.now()) } else { progress() }
  }

  @inline(__always)
  private func pumpAll(_ now: Instant) {
    var isEmpty = true
    for index in 0..<portCount {
      if ports[index]._withUnsafeGuaranteedRef({ $0.pump(now) }) { isEmpty = false }
    }
    if datagramPorts.count > 0 && datagramPorts.pump(now) { isEmpty = false }
    emptyRounds = isEmpty ? emptyRounds &+ 1 : 0
    startDeferredWork()
  }

  /// Starts the operations whose counters have reached their thresholds. The caller holds the lock, and calls this after
  /// anything that may have moved a counter.
  @inline(__always)
  func startDeferredWork() { if !reached.isEmpty || isWorkBlocked { runDeferredWork() } }

  @inline(never)
  private func runDeferredWork() {
    deferredWork.run(self)
    isWorkBlocked = deferredWork.isBlocked
  }

  /// An operation of a port that was queued work has ended.
  @inline(never)
  func deferredWorkEnded(_ operation: OperationContext, _ status: TransportStatus, at port: Port) {
    deferredWork.ended(operation, status, at: port)
  }

  /// Whether the program has polled in vain for a while and should give way. The caller holds the lock.
  ///
  /// A program that spins for an answer may keep the very process from running that is to send it: where processes
  /// outnumber processors, each round trip would otherwise take the scheduler's time slices. An empty round costs a system
  /// call anyway; one more in so many does not show.
  @inline(__always)
  var shouldGiveWay: Bool { emptyRounds != 0 && emptyRounds % Self.roundsPerYield == 0 }

  /// Includes a port from now on, and starts the helper thread when it is the first one of an automatic domain. The
  /// caller keeps the port alive until `remove`, and holds the lock.
  ///
  /// Throws FI_EMFILE and the like when there are no descriptors, FI_EAGAIN when there is no thread.
  package func add(_ port: Port) throws(FabricError) {
    if isAutomatic && thread == nil { thread = try ProgressThread(self, try makeWaiter()) }
    do throws(SystemError) { try waiter?.add(port.descriptor) } catch { throw FabricError(code: error.code) }
    if portCount == portCapacity { doubleCapacity(of: &ports, count: portCount, &portCapacity) }
    (ports + portCount).initialize(to: .passUnretained(port))
    portCount += 1
    if sleepDeadline != 0 { signal() }
  }

  /// A port has another second descriptor, -1 for none. The one before is closed, and with that not watched any more.
  /// Returns false when there is no room to watch the new one. The caller holds the lock.
  @inline(never)
  func watch(second descriptor: Int32) -> Bool {
    guard let waiter else { return true }
    if descriptor >= 0 { do throws(SystemError) { try waiter.add(descriptor) } catch { return false } }
    if sleepDeadline != 0 { signal() }
    return true
  }

  /// Leaves a port out. The caller holds the lock.
  package func remove(_ port: Port) {
    for index in 0..<portCount where ports[index].toOpaque() == Unmanaged.passUnretained(port).toOpaque() {
      portCount -= 1
      ports[index] = ports[portCount]
      bygone += port.traffic
      waiter?.remove(port.descriptor)
      if port.hotDescriptor >= 0 { waiter?.remove(port.hotDescriptor) }
      return
    }
  }

  /// Calls `body` with all ports but those of datagram endpoints. The caller holds the lock.
  func forEachPort(_ body: (Port) -> Void) {
    for index in 0..<portCount { ports[index]._withUnsafeGuaranteedRef(body) }
  }

  /// Adds what all ports have to the variables, and what those have carried that are gone. The caller holds the lock.
  func add(to values: inout ProfileValues) {
    forEachPort { $0.add(to: &values) }
    datagramPorts.forEach { $0.add(to: &values) }
    values.traffic += bygone
  }

  /// How the domain is doing. Takes the lock.
  package var status: ProfileValues {
    lock()
    defer { unlock() }
    var values = ProfileValues()
    add(to: &values)
    return values
  }

  /// Includes a datagram endpoint's port, as ``add(_:)`` does.
  package func add(_ port: DatagramPort) throws(FabricError) {
    if isAutomatic && thread == nil { thread = try ProgressThread(self, try makeWaiter()) }
    datagramPorts.append(port)
    if sleepDeadline != 0 { signal() }
  }

  /// Leaves a datagram endpoint's port out. The caller holds the lock.
  package func remove(_ port: DatagramPort) {
    datagramPorts.remove(port)
    bygone += port.traffic
    port.stopWatching(waiter)
  }

  /// Who sleeps is to watch a port which so far had nothing to wait for. The caller holds the lock.
  @inline(never)
  func watchForSleepers(_ port: DatagramPort) {
    guard let waiter, isSomebodyAsleep else { return }
    port.updateWatch(waiter)
    // There a sleeper has a list of its own.
    if waiter.descriptor < 0 { signal() }
  }

  /// Descriptors of a port are about to come or go. The caller holds the lock; sleepers look at the port anew.
  func stopWatching(_ port: DatagramPort) {
    port.stopWatching(waiter)
    if sleepDeadline != 0 { signal() }
  }

  // MARK: Receives that other providers own

  /// Serves another provider's receives from now on. The caller keeps them alive until `remove`, and holds the lock.
  func add(_ receives: ImportedReceives) {
    importedReceives.append(.passUnretained(receives))
    hasOwners = true
  }

  /// Leaves another provider's receives alone. The caller holds the lock.
  func remove(_ receives: ImportedReceives) {
    let gone = Unmanaged.passUnretained(receives).toOpaque()
    importedReceives.removeAll { $0.toOpaque() == gone }
    hasOwners = !importedReceives.isEmpty
  }

  /// Addresses were inserted: has owners ask `source` for the senders of messages that they could not name. The lock is
  /// not held.
  package func updateSources(_ source: @convention(c) (UnsafeMutablePointer<fi_peer_rx_entry>?) -> UInt64) {
    lock()
    let all = importedReceives
    unlock()
    for receives in all { receives._withUnsafeGuaranteedRef { $0.updateSources(source) } }
  }

  /// Ends the transfers of peers to and from a region that goes away. The caller holds the lock.
  package func abortTransfers(region: UInt64) {
    let now = Clock.now()
    for index in 0..<portCount { ports[index]._withUnsafeGuaranteedRef { $0.abortTransfers(region: region, now) } }
  }

  // MARK: Deferred work

  /// Has an operation wait for its counter, or starts it if that is there already.
  package func queue(_ work: DeferredWork) {
    lock()
    defer { unlock() }
    deferredWork.add(work)
    startDeferredWork()
  }

  /// Takes back work that was queued under a name and has not started; false when there is none.
  package func cancelDeferredWork(named name: UInt) -> Bool {
    lock()
    defer { unlock() }
    startDeferredWork()
    return deferredWork.cancel(named: name)
  }

  /// Takes back all queued work that has not started, or what waits for one counter.
  package func flushDeferredWork(waitingFor counter: Counter?) {
    lock()
    defer { unlock() }
    startDeferredWork()
    deferredWork.flush(waitingFor: counter)
  }

  /// Where some work starts goes away: what has not started does not start any more, and with `all` the rest is forgotten.
  /// The caller holds the lock.
  func dropDeferredWork(all: Bool, where isGone: (DeferredWork) -> Bool) {
    startDeferredWork()
    deferredWork.remove(all: all, where: isGone)
  }

  /// Ends the oldest triggered operation with a context that waits somewhere; false when there is none. The caller holds
  /// the lock.
  func cancelTriggered(context: UInt, where isThere: (DeferredWork) -> Bool) -> Bool {
    startDeferredWork()
    return deferredWork.cancelTriggered(context: context, where: isThere)
  }

  // MARK: Sleeping

  /// Readable when datagrams are there or a protocol timer set by `armWait` is due; -1 on the portable path. Belongs to
  /// the engine. Any thread, with or without the lock.
  package var waitDescriptor: Int32 { (try? makeWaiter())?.descriptor ?? -1 }

  /// Gets ready for a sleep on the wait descriptor; false if there is work to do first. The caller holds the lock, has
  /// just polled, and polls again when it wakes.
  package func armWait() -> Bool {
    guard let waiter = try? makeWaiter() else { return true }
    startDeferredWork()
    let now = Clock.now()
    var deadline = Instant.max
    for index in 0..<portCount {
      ports[index]._withUnsafeGuaranteedRef {
        if $0.hasWork { $0.flush(now) }
        deadline = min(deadline, $0.hasWork ? now &+ Self.retryInterval : $0.nextTimeout)
        if $0.mustContinue { deadline = now }
      }
    }
    if datagramPorts.count > 0 { deadline = min(deadline, datagramPorts.prepareToSleep(waiter)) }
    if deadline <= now { return false }
    armedDeadline = deadline
    waiter.setTimer(deadline)
    return true
  }

  /// Sleeps until there may be something to do (true) or the clock shows `deadline` (false). The caller holds the lock,
  /// which is released while it sleeps.
  package func wait(deadline: UInt64) -> Bool {
    guard let waiter = try? makeWaiter() else { return false }
    // A timer nobody waits for any more would end every sleep.
    if armedDeadline == 0 { waiter.setTimer(.max) }
    let now = Clock.now()
    var next = deadline
    for index in 0..<portCount {
      ports[index]._withUnsafeGuaranteedRef {
        if $0.hasWork { $0.flush(now) }
        next = min(next, $0.hasWork ? now &+ Self.retryInterval : $0.nextTimeout)
        if $0.mustContinue { next = now }
      }
    }
    if datagramPorts.count > 0 { next = min(next, datagramPorts.prepareToSleep(waiter)) }
    if next > now {
      sleepDeadline = next
      unlock()
      waiter.sleep(next == .max ? .max : next - now)
      lock()
      sleepDeadline = 0
      waiter.drain()
    }
    return Clock.now() < deadline
  }

  /// Ends the sleep of a caller of `wait`. Any thread.
  package func signal() { waiter?.signal() }

  /// Somebody sleeps and will not look after queued messages.
  @inline(__always)
  var isSomebodyAsleep: Bool { sleepDeadline | armedDeadline != 0 }

  /// A port's next timeout, which may be earlier than sleepers know.
  @inline(__always)
  func deadlineMoved(_ deadline: Instant) {
    if deadline < sleepDeadline || deadline < armedDeadline { tellSleepers(deadline) }
  }

  @inline(never)
  private func tellSleepers(_ deadline: Instant) {
    guard let waiter else { return }
    if deadline < armedDeadline {
      armedDeadline = max(deadline, 1)
      waiter.setTimer(armedDeadline)
    }
    if deadline < sleepDeadline {
      sleepDeadline = deadline
      waiter.signal()
    }
  }

  /// The descriptors to sleep on, with all sockets so far.
  private func makeWaiter() throws(FabricError) -> Waiter {
    waiterLock.lock()
    defer { waiterLock.unlock() }
    if let waiter { return waiter }
    do throws(SystemError) {
      let made = try Waiter()
      for index in 0..<portCount {
        try made.add(ports[index]._withUnsafeGuaranteedRef { $0.descriptor })
        let hot = ports[index]._withUnsafeGuaranteedRef { $0.hotDescriptor }
        if hot >= 0 { try made.add(hot) }
      }
      waiter = made
      return made
    } catch {
      throw FabricError(code: error.code)
    }
  }

  // MARK: Automatic progress

  /// One turn of the helper thread: pumps, then sleeps, unless the program polls by itself. Returns how long in
  /// nanoseconds the thread is to leave everything alone; 0 to come again at once.
  func threadTurn(_ seen: inout UInt64, _ nap: inout UInt64) -> UInt64 {
    lock()
    defer { unlock() }
    let isIdle = armedDeadline != 0 || portCount + datagramPorts.count == 0
    if pollCount != seen || isIdle {
      seen = pollCount
      nap = max(Self.shortNap, min(nap * 2, isIdle ? Self.longestNap : Self.longNap))
      return nap
    }
    nap = 0
    pumpAll(Clock.now())
    _ = wait(deadline: .max)
    return 0
  }

  /// Stops the helper thread and gives up the descriptors: the domain is closed. The caller does not hold the lock.
  package func shutdown() {
    thread?.stop()
    thread = nil
    waiter = nil
    Engines.remove(Unmanaged.passUnretained(self).toOpaque(), bygone)
  }

  private static var roundsPerYield: UInt32 { 64 }
  /// Time in nanoseconds after which a socket that takes nothing is tried again.
  private static var retryInterval: UInt64 { 1_000_000 }
  private static var shortNap: UInt64 { 1_000_000 }
  private static var longNap: UInt64 { 10_000_000 }
  /// While the program sleeps on the wait descriptor by itself.
  private static var longestNap: UInt64 { 100_000_000 }
}
