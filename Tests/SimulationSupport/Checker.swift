import Transport

/// Knows every operation of a run and compares what endpoints report with what must be true.
package final class Checker {
  package let scenario: Scenario
  package let records: [OperationRecord]
  private unowned let network: SimulatedNetwork
  /// Operations of a pair in the order in which they were posted, and the first that may start next.
  private var posted: [[OperationRecord]]
  private var nextStart: [Int]
  /// What the operations of a pair access if they share memory.
  private let shared: [SharedMemory?]
  /// Pairs whose connection failed or whose host died at least once.
  private var failedPairs: Set<Int> = []
  private var isClosing = false
  package private(set) var completions = 0

  package init(scenario: Scenario, network: SimulatedNetwork) {
    self.scenario = scenario
    self.network = network
    let salt = mix(scenario.seed)
    let hosts = scenario.configurations.count
    let pairs = hosts * hosts
    let shared = (0..<pairs).map { pair in
      scenario.sharedMemory.map { SharedMemory(count: $0, content: Content(Int.max - pair, salt: salt)) }
    }
    self.shared = shared
    records = scenario.operations.enumerated().map { id, plan in
      OperationRecord(id: id, plan: plan, salt: salt, shared: shared[plan.source * hosts + plan.target])
    }
    posted = [[OperationRecord]](repeating: [], count: pairs)
    nextStart = [Int](repeating: 0, count: pairs)
  }

  private func pair(_ source: Int, _ target: Int) -> Int { source * scenario.configurations.count + target }

  private func fail(_ record: OperationRecord, _ text: @autoclosure () -> String) {
    network.fail("\(record.description): \(text())")
  }

  /// Whether this operation's connection may have failed.
  private func hadFailure(_ record: OperationRecord) -> Bool {
    isClosing || failedPairs.contains(pair(record.plan.source, record.plan.target))
      || failedPairs.contains(pair(record.plan.target, record.plan.source))
  }

  // MARK: At the source

  package func isPosted(_ record: OperationRecord, by host: SimulatedHost) {
    record.isPosted = true
    record.incarnation = host.incarnation
    posted[pair(record.plan.source, record.plan.target)].append(record)
    if record.plan.flags.contains(.inject) || record.plan.kind == .atomic { record.local.fill(OperationRecord.reused) }
  }

  package func completed(_ event: Event, at host: SimulatedHost) {
    guard let record = record(event, at: host, "completion") else { return }
    guard record.plan.source == host.index, record.isPosted, !record.isAbandoned, record.incarnation == host.incarnation
    else { return fail(record, "completed at host \(host.index), incarnation \(host.incarnation)") }
    guard record.completion == nil else { return fail(record, "completed again, \(event.status)") }
    record.completion = event.status
    completions += 1
    guard event.operationKind == record.plan.kind, event.length == UInt64(record.plan.completedSize) else {
      return fail(record, "completed as \(event.operationKind) of \(event.length) bytes")
    }
    checkStatus(record, event.status)
    if record.plan.kind == .read {
      check(record, record.local)
    } else {
      record.local.fill(OperationRecord.reused)
      check(record, record.result)
    }
  }

  private func checkStatus(_ record: OperationRecord, _ status: TransportStatus) {
    switch status {
    case .ok:
      if record.plan.refusal != nil && tellsRefusal(record) { fail(record, "was refused and yet ended well") }
      let mustStart = record.plan.kind == .read || record.plan.kind == .atomic || record.plan.flags.waitsForTarget
      if mustStart && record.starts == 0 { fail(record, "ended well before it started") }
      // A message that the target holds is delivered; it is matched only when the program there asks for it.
      let mustBePlaced =
        record.plan.kind == .atomic || record.plan.flags.contains(.matchComplete)
        || record.plan.flags.contains(.persistent)
        || record.plan.flags.contains(.deliveryComplete) && record.plan.holdFor == nil
      if mustBePlaced && !record.isFinished && !record.isLost {
        fail(record, "ended well before its bytes were placed")
      }
    case .accessDenied, .outOfBounds:
      if record.plan.refusal.map({ $0.rawValue }) != status.rawValue { fail(record, "ended with \(status)") }
    case .unsupported: fail(record, "ended with \(status)")
    case .aborted:
      let isPlanned = record.plan.abortAfter != nil || record.plan.isDiscarded || record.plan.refusal == .aborted
      if !isPlanned && !hadFailure(record) {
        fail(record, "ended with \(status)")
      }
    case .notPersistent: fail(record, "ended with \(status)")
    case .refused, .timedOut, .reset, .closed:
      if scenario.isStable(record.plan.source, record.plan.target) { fail(record, "ended with \(status)") }
      failedPairs.insert(pair(record.plan.source, record.plan.target))
    }
  }

  /// Whether the source hears of a refusal: an eager message is over for it when the target's host has it.
  private func tellsRefusal(_ record: OperationRecord) -> Bool {
    record.plan.kind != .message || record.plan.flags.waitsForTarget
      || record.plan.size > scenario.configurations[record.plan.source].eagerLimit
  }

  /// What a read or an atomic operation brought.
  private func check(_ record: OperationRecord, _ returned: GuardedMemory) {
    let returns = record.plan.kind == .read || record.plan.flags.contains(.fetch)
    if record.completion == .ok && returns {
      let difference =
        record.shared == nil
        ? returned.difference(record.former, length: record.plan.completedSize) : returned.difference(record.expected)
      if let difference { fail(record, difference) }
    }
    returned.fill(OperationRecord.done)
  }

  // MARK: At the target

  /// Which operation starts with this event; nil after a failure was reported.
  package func identify(_ event: Event, at host: SimulatedHost) -> OperationRecord? {
    let source = SimulatedNetwork.host(host.endpoint.address(of: event.connection))
    guard scenario.configurations.indices.contains(source) else {
      network.fail("host \(host.index): \(event.kind) from nobody")
      return nil
    }
    let pair = pair(source, host.index)
    let candidates = posted[pair]
    var position = nextStart[pair]
    while position < candidates.count {
      let record = candidates[position]
      guard let difference = record.difference(from: event) else {
        if record.starts > 0 && (record.targetIncarnation == host.incarnation || record.completion != nil) {
          fail(record, "starts again")
        }
        return record
      }
      // Only where a connection failed may operations be missing.
      if !hadFailure(record) {
        fail(record, "should start at host \(host.index), what starts \(difference)")
        return nil
      }
      position += 1
    }
    network.fail(
      "host \(host.index): a \(event.kind) of \(event.length) bytes from \(source) was never posted, started before, "
        + "or is late: tag \(event.tag) data \(event.data)")
    return nil
  }

  package func started(_ record: OperationRecord, at host: SimulatedHost) {
    // Who never learned of the first process sends to its successor what it sent to the first.
    if record.starts > 0 && record.targetIncarnation != host.incarnation { record.reopen() }
    record.targetIncarnation = host.incarnation
    record.starts += 1
    if record.starts > 1 { fail(record, "started again") }
    let pair = pair(record.plan.source, record.plan.target)
    while posted[pair][nextStart[pair]] !== record { nextStart[pair] += 1 }
    if record.plan.flags.contains(.fence) { checkFence(record, before: nextStart[pair]) }
    nextStart[pair] += 1
    if let memory = shared[pair] { checkOrder(record, memory) }
  }

  /// What starts finds the memory as everything posted before it leaves it. A write may still wait for others.
  private func checkOrder(_ record: OperationRecord, _ memory: SharedMemory) {
    if record.plan.kind == .write { return memory.write(record.content, record.remote.parts) }
    if let wrong = memory.difference { fail(record, "starts while byte \(wrong) of the shared memory is wrong") }
    if record.plan.kind == .read || record.plan.kind == .atomic { record.expected = memory.read(record.remote.parts) }
    if record.plan.kind == .atomic && record.plan.size > 0 { memory.write(record.content, record.remote.parts) }
  }

  /// All that was posted before a fenced operation is over.
  private func checkFence(_ record: OperationRecord, before position: Int) {
    let pair = pair(record.plan.source, record.plan.target)
    for earlier in posted[pair][..<position] where earlier.completion == nil && !earlier.isAbandoned {
      return fail(record, "passes its fence before operation \(earlier.id) has completed")
    }
  }

  /// The event brought all the bytes along.
  package func delivered(_ record: OperationRecord, _ payload: UnsafeRawPointer) {
    if record.plan.kind == .atomic, record.shared == nil,
      let change = record.remote.difference(record.former, length: record.remote.count)
    {
      fail(record, "finds its memory changed: \(change)")
    }
    record.remote.copy(from: payload, count: record.plan.size)
    finished(record)
  }

  /// The target's part is over, its bytes placed (or, of a read, taken).
  package func finished(_ record: OperationRecord) {
    if record.isFinished || record.isLost { fail(record, "is over at the target again") }
    record.isFinished = true
    let placed = min(record.plan.size, record.remote.count)
    if record.plan.kind != .read && record.shared == nil {
      if let difference = record.remote.difference(record.content, length: placed) { fail(record, difference) }
      if record.plan.kind == .atomic && placed == 0 { return record.remote.fill(OperationRecord.done) }
      if let damage = record.remote.damage(OperationRecord.untouched, from: placed) { fail(record, damage) }
    }
    record.leaveRemote()
  }

  /// An accepted transfer is over.
  package func ended(_ event: Event, at host: SimulatedHost) {
    guard let record = record(event, at: host, "end") else { return }
    guard record.plan.target == host.index, record.isOpen else { return fail(record, "ended without being open") }
    record.isOpen = false
    if event.status == .ok {
      if event.kind != .readAnswered && event.length != UInt64(record.plan.size) {
        fail(record, "ended with \(event.length) bytes")
      }
      return finished(record)
    }
    let isPlanned = record.plan.abortAfter != nil && event.status == .aborted
    if !isPlanned && scenario.isStable(record.plan.source, record.plan.target) && !isClosing {
      fail(record, "ended at the target with \(event.status)")
    }
    record.isLost = true
    record.leaveRemote()
  }

  package func lost(_ event: Event, at host: SimulatedHost) {
    guard let record = record(event, at: host, "loss") else { return }
    guard record.held != nil else { return fail(record, "is lost without being held") }
    record.held = nil
    record.isLost = true
    record.leaveRemote()
    if scenario.isStable(record.plan.source, record.plan.target) && !isClosing { fail(record, "is lost while held") }
  }

  private func record(_ event: Event, at host: SimulatedHost, _ what: String) -> OperationRecord? {
    let id = Int(truncatingIfNeeded: event.cookie.first)
    guard records.indices.contains(id), event.cookie.second == WorkloadProgram.cookie(event.kind, host) else {
      network.fail("host \(host.index): \(what) with unknown cookie \(event.cookie)")
      return nil
    }
    return records[id]
  }

  // MARK: Hosts

  package func connectionFailed(_ event: Event, at host: SimulatedHost) {
    let peer = SimulatedNetwork.host(host.endpoint.address(of: event.connection))
    failedPairs.insert(pair(host.index, peer))
    if scenario.isStable(host.index, peer) && !isClosing {
      network.fail("host \(host.index): the connection to \(peer) failed: \(event.status)")
    }
  }

  /// Forgets what died with a host's process.
  package func stopped(_ host: SimulatedHost) {
    for peer in scenario.configurations.indices {
      failedPairs.insert(pair(host.index, peer))
      let arriving = pair(peer, host.index)
      nextStart[arriving] = posted[arriving].firstIndex { $0.completion == nil } ?? posted[arriving].count
    }
    for record in records where record.isPosted {
      if record.plan.source == host.index && record.completion == nil { record.isAbandoned = true }
      guard record.plan.target == host.index, record.isOpen || record.held != nil else { continue }
      record.isOpen = false
      record.held = nil
      record.isLost = true
      record.leaveRemote()
    }
  }

  package func closing() { isClosing = true }

  // MARK: At the end

  /// Nothing is scheduled any more: everything must be over, and nothing may have been written since.
  package func checkEnd() {
    for record in records {
      if !record.isPosted { fail(record, "was never posted: deadlock?") }
      if record.completion == nil && !record.isAbandoned { fail(record, "never completed: deadlock?") }
      if record.isOpen { fail(record, "never ended at its target") }
      if record.held != nil { fail(record, "is still held") }
      let isOver = record.isFinished || record.isLost || record.plan.refusal != nil || record.plan.isDiscarded
      if record.completion == .ok && !isOver && !hadFailure(record) { fail(record, "ended well and never arrived") }
      checkMemory(record)
      if network.failure != nil { return }
    }
    if shared.contains(where: { $0?.difference != nil }) { network.fail("shared memory is wrong at the end") }
    for host in network.hosts where !host.isDown {
      let endpoint = "host \(host.index) at the end: \(host.endpoint.usage), drained \(host.endpoint.isDrained)"
      if !host.endpoint.isQuiet { network.fail("\(endpoint), not quiet") }
      if !host.endpoint.isDrained { network.fail("\(endpoint), not drained") }
      if host.endpoint.nextTimeout() != never { network.fail("host \(host.index) has a timer at the end") }
    }
  }

  private func checkMemory(_ record: OperationRecord) {
    if record.shared != nil { return }
    let isTouched = record.isFinished || record.isLost
    let returned = record.plan.kind == .read ? record.local : record.result
    if record.completion != nil, let damage = returned.damage(OperationRecord.done) {
      fail(record, "local memory after the end: \(damage)")
    }
    if record.plan.kind == .read || record.plan.kind == .atomic {
      if !isTouched, record.remote.difference(record.former, length: record.remote.count) != nil {
        fail(record, "remote memory of what never happened was changed")
      }
    } else if !isTouched, let damage = record.remote.damage(OperationRecord.untouched) {
      fail(record, "remote memory of what never happened: \(damage)")
    }
    if isTouched, let damage = record.remote.damage(OperationRecord.done) {
      fail(record, "remote memory after the end: \(damage)")
    }
  }
}
