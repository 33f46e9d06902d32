import Packet
import Transport

/// A program that posts its share of a scenario and serves its peers.
package final class WorkloadProgram: HostProgram {
  private unowned let checker: Checker
  private let start: Instant
  private var script: [OperationRecord] = []
  private var cursor = 0
  /// Not before then after the queue was full.
  private var retryAt: Instant = 0
  private var retryDelay: UInt64 = microseconds(20)
  private var held: [(due: Instant, record: OperationRecord)] = []
  private var aborts: [(due: Instant, record: OperationRecord)] = []

  package init(host: Int, checker: Checker, start: Instant) {
    self.checker = checker
    self.start = start
    script = checker.records.filter { $0.plan.source == host }
  }

  /// Second word of every cookie: what it was given for, and by which incarnation.
  package static func cookie(_ kind: EventKind, _ host: SimulatedHost) -> UInt64 {
    let purpose: UInt64
    switch kind {
    case .operationCompleted: purpose = 1
    case .heldMessageLost: purpose = 2
    default: purpose = 3
    }
    return purpose << 32 | UInt64(host.index) << 16 | UInt64(host.incarnation)
  }

  private func cookie(_ record: OperationRecord, _ kind: EventKind, _ host: SimulatedHost) -> Cookies {
    Cookies(UInt64(record.id), Self.cookie(kind, host))
  }

  // MARK: Posting

  package func nextStep(_ host: SimulatedHost) -> Instant {
    var next = cursor < script.count ? max(start + script[cursor].plan.time, retryAt) : never
    for entry in held { next = min(next, entry.due) }
    for entry in aborts { next = min(next, entry.due) }
    return next
  }

  package func step(_ host: SimulatedHost, _ network: SimulatedNetwork) {
    settleHeld(host, network)
    settleAborts(host, network)
    while cursor < script.count && start + script[cursor].plan.time <= network.now && retryAt <= network.now {
      guard post(script[cursor], host, network) else {
        retryAt = network.now + retryDelay
        retryDelay = min(retryDelay * 2, milliseconds(10))
        return
      }
      cursor += 1
      retryDelay = microseconds(20)
    }
  }

  private func post(_ record: OperationRecord, _ host: SimulatedHost, _ network: SimulatedNetwork) -> Bool {
    let connection = host.endpoint.connection(to: SimulatedNetwork.address(record.plan.target))
    let result = record.local.withSlices { slices, count in
      var operation = Operation(
        kind: record.plan.kind, flags: record.plan.flags, slices: slices, sliceCount: count,
        cookie: cookie(record, .operationCompleted, host))
      operation.tag = record.tag
      operation.data = record.data
      operation.context = record.plan.context
      return record.segments.withUnsafeBufferPointer { segments in
        if !segments.isEmpty {
          operation.segments = segments.baseAddress
          operation.segmentCount = segments.count
        }
        guard record.plan.kind == .atomic else { return host.endpoint.post(operation, on: connection) }
        operation.atomic = record.code
        return record.result.withSlices { results, count in
          if record.plan.flags.contains(.fetch) {
            operation.results = results
            operation.resultCount = count
          }
          return host.endpoint.post(operation, on: connection)
        }
      }
    }
    network.note("\(host.index) posts \(record.id): \(result)")
    guard result == .queued else { return false }
    checker.isPosted(record, by: host)
    return true
  }

  private func settleHeld(_ host: SimulatedHost, _ network: SimulatedNetwork) {
    for entry in held where entry.due <= network.now {
      guard let handle = entry.record.held else { continue }
      entry.record.held = nil
      if entry.record.plan.isDiscarded {
        network.note("\(host.index) discards \(entry.record.id)")
        entry.record.isLost = true
        entry.record.leaveRemote()
        host.endpoint.discardHeld(handle, now: network.now)
      } else {
        network.note("\(host.index) accepts held \(entry.record.id)")
        open(entry.record, network.now)
        entry.record.remote.withSlices { slices, count in
          host.endpoint.acceptHeld(
            handle, slices, count: count, cookie: cookie(entry.record, .messageReceived, host), now: network.now)
        }
      }
    }
    held.removeAll { $0.due <= network.now || $0.record.held == nil }
  }

  private func settleAborts(_ host: SimulatedHost, _ network: SimulatedNetwork) {
    for entry in aborts where entry.due <= network.now && entry.record.isOpen {
      network.note("\(host.index) aborts \(entry.record.id)")
      host.endpoint.abortTransfers(now: network.now) { $0.first == UInt64(entry.record.id) }
    }
    aborts.removeAll { $0.due <= network.now || !$0.record.isOpen }
  }

  private func open(_ record: OperationRecord, _ now: Instant) {
    record.isOpen = true
    if let delay = record.plan.abortAfter { aborts.append((now + delay, record)) }
  }

  /// A new process starts: nothing is held or under way any more.
  package func restart() {
    held.removeAll()
    aborts.removeAll()
  }

  // MARK: Events

  package func handle(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    if network.trace != nil { network.note("\(host.index) event \(describe(event))") }
    switch event.kind {
    case .operationCompleted: checker.completed(event, at: host)
    case .silentlyCompleted: preconditionFailure("every operation here wants to be reported")
    case .messageReceived, .writeReceived, .readAnswered: checker.ended(event, at: host)
    case .heldMessageLost: checker.lost(event, at: host)
    case .connectionFailed: checker.connectionFailed(event, at: host)
    case .message, .write, .read, .atomic:
      guard let record = checker.identify(event, at: host) else { return }
      answer(event, record, host, network)
    }
  }

  private func answer(
    _ event: Event, _ record: OperationRecord, _ host: SimulatedHost, _ network: SimulatedNetwork
  ) {
    if let delay = record.plan.holdFor {
      let handle = host.endpoint.hold(cookie: cookie(record, .heldMessageLost, host))
      checker.started(record, at: host)
      record.held = handle
      held.append((network.now + delay, record))
      return
    }
    checker.started(record, at: host)
    if let refusal = record.plan.refusal {
      host.endpoint.refuse(refusal)
      record.isLost = true
      record.leaveRemote()
    } else if event.kind == .atomic {
      if record.plan.flags.contains(.fetch) { record.remote.copy(to: host.endpoint.respond(Int(event.length))) }
      checker.delivered(record, event.payload!)
    } else if let payload = event.payload, !host.endpoint.isAnsweringReads {
      checker.delivered(record, payload)
    } else {
      open(record, network.now)
      record.remote.withSlices { slices, count in
        host.endpoint.accept(slices, count: count, cookie: cookie(record, .messageReceived, host))
      }
    }
  }

  private func describe(_ event: Event) -> String {
    var text = "\(event.kind) \(event.status) cookie \(event.cookie.first) length \(event.length)"
    text += " connection \(event.connection)"
    if event.payload != nil { text += " with payload" }
    return text
  }
}
