import CFabric
import Containers
import Datagram
import Packet
import Transport

// Members that die, and how the others get to know.
extension Collectives {
  /// A session has ended: operations that wait for a message from there wait in vain. Others go on, since a member that
  /// has all it needs may close.
  func connectionFailed(_ connection: ConnectionIndex, _ status: TransportStatus) {
    owed.removeAll { $0.connection == connection }
    forEachWaitingReceive { operation, index in
      guard receives[index].pointee.connection == connection else { return }
      receives[index].pointee.isLost = true
      noteFailure(of: operation.group, TransferError.code(status))
    }
    if status != .closed { discardJoins(from: connection) }
  }

  private func forEachWaitingReceive(_ body: (CollectiveOperation, UInt32) -> Void) {
    for index in 0..<operations.capacity where operations.contains(index) && operations[index].pointee.isLive {
      var receive = operations[index].pointee.receives.first
      while receive != .max {
        if !receives[receive].pointee.isAccepted { body(operations[index].pointee, receive) }
        receive = receives[receive].pointee.next
      }
    }
  }

  /// Asks those whom operations wait for whether they are alive, and members of the group still; false when there are no
  /// operations.
  ///
  /// A question that the transport cannot deliver, or that is refused, ends in an error of its own. As long as one of a
  /// group is under way there is no other.
  func probeSenders() -> Bool {
    var asked: [CollectiveHandle] = []
    forEachWaitingReceive { operation, index in
      guard let group = group(operation.group) else { return }
      let receive = receives[index].pointee
      if group.pointee.probes > 0 && !asked.contains(operation.group) { return }
      let name = SendName(operation.group, .probe)
      let handle = CollectiveHandle(bits: group.pointee.handles[receive.peer])
      guard post(.probe(handle), nil, 0, .deliveryComplete, name, on: receive.connection) else { return }
      group.pointee.probes += 1
      asked.append(operation.group)
    }
    return operations.count > 0
  }

  /// A member tells that its group has failed.
  func peerFailed(_ event: UnsafePointer<Event>, _ handle: CollectiveHandle, _ code: UInt16) {
    // Whatever its payload may be.
    withPort { $0.transport.refuse(.aborted) }
    guard let group = group(handle) else { return }
    let sender = withPort { UInt64($0.senderNumber(of: event.pointee.connection)) }
    guard group.pointee.rank(of: sender) != nil else { return }
    noteFailure(of: handle, code == 0 ? FI_EREMOTEIO : Int32(code))
  }

  /// Makes a group unusable: its operations end with `code` as soon as nothing of theirs is under way, and other members
  /// are told.
  func fail(_ handle: CollectiveHandle, _ code: Int32) {
    guard let group = group(handle), group.pointee.failure == 0 else { return }
    group.pointee.failure = code
    discardUnexpected(of: handle)
    if group.pointee.state == .joining {
      disown(joinOf: handle)
      tellJoining(handle)
    }
    tellMembers(handle, code)
    var index = group.pointee.operations.first
    while index != .max {
      fail(operation: index, code)
      index = operations[index].pointee.next
    }
  }

  private func fail(operation index: UInt32, _ code: Int32) {
    let operation = operations[index]
    operation.pointee.failure = code
    var receive = operation.pointee.receives.first
    while receive != .max {
      let next = receives[receive].pointee.next
      if receives[receive].pointee.isAccepted {
        let cookie = TransferName.receive(receive, ofInternal: ReceiveContext.collectives)
        withPort {
          $0.transport.abortTransfers(now: Clock.now()) { $0.first == cookie.first && $0.second == cookie.second }
        }
      } else {
        operation.pointee.receives.remove(receive, in: receives)
        receives.free(receive)
      }
      receive = next
    }
    markReady(index)
  }

  /// Members of a joined group hear of its failure from several others, at the distances 1, 2, 4, … in both directions, and
  /// tell others in turn; so all hear of it although many are dead.
  private func tellMembers(_ handle: CollectiveHandle, _ code: Int32) {
    let group = groups[handle.slot]
    guard let rank = group.pointee.rank else { return }
    let count = group.pointee.count
    var distance = 1
    while distance < count {
      tell(handle, (rank + distance) % count, code)
      if distance != count - distance { tell(handle, (rank + count - distance) % count, code) }
      distance *= 2
    }
  }

  private func tell(_ handle: CollectiveHandle, _ rank: Int, _ code: Int32) {
    let group = groups[handle.slot]
    let theirs = CollectiveHandle(bits: group.pointee.handles[rank])
    // Not of those that have not joined yet.
    if theirs == .none { return }
    let tag = CollectiveTag.failure(theirs, UInt16(truncatingIfNeeded: code))
    send(tag, to: group.pointee.addresses[rank], of: handle)
  }

  /// Those that still wait for a message of this side's join get one without handles, by which theirs fail, too.
  private func tellJoining(_ handle: CollectiveHandle) {
    let group = groups[handle.slot]
    let index = group.pointee.operations.first
    guard index != .max else { return }
    var position = operations[index].pointee.step
    while let step = operations[index].pointee.schedule.step(position) {
      if let peer = step.send?.peer { send(.join(group.pointee.key), to: group.pointee.addresses[peer], of: handle) }
      position += 1
    }
  }

  /// Sends a message without payload, if there is room for one: news that others bring as well.
  private func send(_ tag: CollectiveTag, to address: UInt64, of handle: CollectiveHandle) {
    guard let connection = withPort({ $0.connection(to: address) }) else { return }
    _ = post(tag, nil, 0, [], SendName(handle, .copied), on: connection)
  }
}
