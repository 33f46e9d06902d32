import Datagram
import Packet
import Transport

// The provider's own messages: they go to receive contexts that are no program's (docs/PROTOCOL.md), take none of the
// program's transmit queue and complete nowhere. What they mean is known to whoever has the context; here they only find
// their way.
//
// Such an owner answers an arriving message at once, as `messageArrived` does, and leaves everything else for `work`:
// events come in the middle of a datagram.
extension Port {
  /// Posts a message of the provider's own for the peer's context that `operation` names; `cookie` is an
  /// ``OperationContext/init(internal:for:)``. It leaves with the next flush. False when too many are under way: their
  /// ends are told as those of all others, and then is the time to try again.
  func postInternal(_ operation: Operation, on connection: ConnectionIndex) -> Bool {
    guard internalOutstanding < options.internalOperations, transport.post(operation, on: connection) == .queued else {
      return false
    }
    internalOutstanding += 1
    return true
  }

  /// There is something to do, now or at `deadline` at the latest.
  func scheduleInternalWork(at deadline: Instant = 0) {
    guard deadline < internalDeadline else { return }
    internalDeadline = deadline
    binding.engine._withUnsafeGuaranteedRef { $0.deadlineMoved(max(deadline, 1)) }
  }

  /// Does what events have made due, and what follows from that.
  @inline(never)
  func work(_ now: Instant) {
    internalDeadline = .max
    collectives?._withUnsafeGuaranteedRef { $0.work(now) }
    if Management.timedOut(at: self) { drain(now) }
  }

  /// The same within a call of the program, with what there is to send.
  func workAtOnce() {
    let now = Clock.now()
    work(now)
    if transport.wantsTransmit { flush(now) }
  }

  // MARK: Events

  /// A message for one of the contexts that are no program's. What nobody here knows is refused.
  @inline(never)
  func internalMessage(_ event: UnsafePointer<Event>) {
    if event.pointee.context == ReceiveContext.connections, takeConnectionMessage(event) { return }
    guard event.pointee.context == ReceiveContext.collectives, let collectives else {
      return transport.refuse(.aborted)
    }
    collectives._withUnsafeGuaranteedRef { $0.messageArrived(event) }
  }

  /// A message that was accepted has come, or will not.
  @inline(never)
  func internalMessageReceived(_ event: UnsafePointer<Event>) {
    let receive = TransferName.index(event.pointee.cookie)
    collectives?._withUnsafeGuaranteedRef { $0.received(receive, event.pointee.length, event.pointee.status) }
  }

  /// A message that was held is lost.
  @inline(never)
  func internalMessageLost(_ event: UnsafePointer<Event>) {
    collectives?._withUnsafeGuaranteedRef { $0.messageLost(TransferName.index(event.pointee.cookie)) }
  }

  /// A message that was posted is over.
  @inline(never)
  func internalOperationEnded(_ operation: OperationContext, _ status: TransportStatus) {
    internalOutstanding -= 1
    if operation.internalNumber == ReceiveContext.connections {
      return connectionMessageEnded(operation, status)
    }
    collectives?._withUnsafeGuaranteedRef { $0.sendEnded(SendName(bits: operation.context), status) }
  }

  /// A session has ended, and with it everything under way in it.
  @inline(never)
  func connectionFailed(_ connection: ConnectionIndex, _ status: TransportStatus) {
    collectives?._withUnsafeGuaranteedRef { $0.connectionFailed(connection, status) }
    Management.ended(connection, status, at: self)
  }
}
