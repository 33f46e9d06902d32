import CFabric
import Datagram
import Transport

// What profiles see of a port: fi_profile(3); and fi_polyfill_status.
extension Port {
  /// Adds what this port has to the variables.
  func add(to values: inout ProfileValues) {
    forEachContext { _ in values.receiveContexts += 1 }
    forEachUnexpected { _ in values.unexpectedMessages += 1 }
    values.bufferBytes += UInt64(transport.bufferBytes)
    transport.summarize(in: &values.sessions)
    socket.count(in: &values.use)
    values.traffic += traffic
  }

  /// What the port has carried.
  var traffic: Traffic { Traffic(transport: transport.statistics, socket: socket.allStatistics) }

  private func forEachContext(_ body: (ReceiveContext) -> Void) {
    if let contexts { return contexts._withUnsafeGuaranteedRef { $0.forEachReceiver(body) } }
    context._withUnsafeGuaranteedRef(body)
  }

  /// Calls `body` with each message that came to this port and waits for its receive.
  func forEachUnexpected(_ body: (UnexpectedMessage) -> Void) {
    let own = Unmanaged.passUnretained(self).toOpaque()
    forEachContext { context in
      context.unexpected.forEach { queue, index in
        if queue[index].pointee.port?.toOpaque() == own { body(queue[index].pointee) }
      }
    }
  }

  /// A waiting message as a program sees it.
  func entry(_ message: UnexpectedMessage) -> fi_cq_err_entry {
    var entry = fi_cq_err_entry()
    entry.flags = FI_RECV | (message.flags.contains(.tagged) ? FI_TAGGED : FI_MSG)
    if message.flags.contains(.remoteData) { entry.flags |= FI_REMOTE_CQ_DATA }
    entry.len = Int(clamping: message.length)
    entry.data = message.data
    entry.tag = message.tag
    entry.src_addr = source(of: message.sender)
    return entry
  }

  /// A message has come before its receive (FI_EVENT_UNEXP_MSG_RECVD), or one that had waits no more
  /// (FI_EVENT_UNEXP_MSG_MATCHED).
  @inline(never)
  func noteUnexpected(isNew: Bool) {
    profile?._withUnsafeGuaranteedRef { $0.notify(isNew ? 0 : 1) }
    let ofDomain = binding.engine._withUnsafeGuaranteedRef { $0.profile }
    ofDomain?._withUnsafeGuaranteedRef { $0.notify(isNew ? 0 : 1) }
  }
}

extension DatagramPort {
  /// Adds what this port has to the variables: of its socket only.
  func add(to values: inout ProfileValues) {
    socket.count(in: &values.use)
    values.traffic += traffic
  }

  /// What the port has carried.
  var traffic: Traffic { Traffic(transport: TransportStatistics(), socket: socket.allStatistics) }
}
