import CFabric
import Containers
import Datagram
import Transport

// A receive context that several ports take their receives from (fi_srx_context).
//
// Receives know no completion queue until a message takes them: the port that it comes to keeps room for one completion,
// and hands no event out without. Connections are a port's own, so directed receives know senders by their number in the
// address vector.
extension Port {
  /// Lets a message meet a receive of the shared context, or wait for one.
  func matchShared(_ event: UnsafePointer<Event>) {
    context._withUnsafeGuaranteedRef { context in
      if let imported = context.imported {
        return imported._withUnsafeGuaranteedRef { matchImported(event, in: $0) }
      }
      let connection = event.pointee.connection
      let isDirected = context.directsMessages || context.directsTagged
      let sender = isDirected ? senderNumber(of: connection) : ReceiveContext.unknownSender
      let isTagged = event.pointee.flags.contains(.tagged)
      guard let index = context.receives.take(tagged: isTagged, tag: event.pointee.tag, from: sender) else {
        if sender == ReceiveContext.unknownSender { context.hasUnknownSenders = true }
        return holdMessage(event, in: context, from: sender)
      }
      if context.receives[index].pointee.isMulti {
        return context.pack(event, into: index, at: self, to: binding.receiveQueue)
      }
      context.assign(
        index, connection: connection, flags: event.pointee.flags, tag: event.pointee.tag, data: event.pointee.data)
      spendSpareCompletion(of: context)
      let slices = context.receives.slices(index)
      let count = Int(context.receives[index].pointee.sliceCount)
      guard let payload = placeablePayload(event) else {
        receiveBegins(index, in: context)
        return transport.accept(slices, count: count, cookie: TransferName.receive(index, of: context))
      }
      scatter(payload, Int(truncatingIfNeeded: event.pointee.length), slices, count)
      context.complete(index, length: event.pointee.length, at: self, to: binding.receiveQueue)
    }
  }

  /// The number of a connection's peer in the address vector, as receives of the shared context name it.
  func senderNumber(of connection: ConnectionIndex) -> ConnectionIndex {
    let peer = SocketAddress(words: transport.address(of: connection).words)
    guard let number = binding.addresses?._withUnsafeGuaranteedRef({ $0.find(peer) }) else {
      return ReceiveContext.unknownSender
    }
    return number < UInt64(ReceiveContext.unknownSender) ? ConnectionIndex(number) : ReceiveContext.unknownSender
  }

  /// Whether the address vector has an entry.
  func isInserted(_ address: UInt64) -> Bool {
    binding.addresses?._withUnsafeGuaranteedRef { $0.address(address) } != nil
  }

  /// A message of this port is arriving in a receive of the shared context, with room for its completion set aside.
  func receiveBegins(_ index: UInt32, in context: ReceiveContext) {
    sharedReceives.append(index, in: context.receives.elements)
  }

  @inline(never)
  func receiveEnds(_ index: UInt32) {
    context._withUnsafeGuaranteedRef { sharedReceives.remove(index, in: $0.receives.elements) }
  }

  /// The port goes away: its messages do, and receives that were arriving are cancelled. The others are left to the
  /// ports that share the context.
  func leaveShared() {
    context._withUnsafeGuaranteedRef { context in
      while !sharedReceives.isEmpty {
        let index = sharedReceives.first
        sharedReceives.remove(index, in: context.receives.elements)
        context.fail(
          index, length: 0, overflow: 0, code: FI_ECANCELED, providerCode: FI_ECANCELED, at: self,
          to: binding.receiveQueue)
      }
      context.endPacked(at: self)
      context.imported?._withUnsafeGuaranteedRef { $0.endAll(at: self) }
      context.detach(self)
    }
  }
}
