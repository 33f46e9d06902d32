import CFabric
import CPlatform
import Datagram

// What is special about FI_EP_DGRAM.
extension Endpoint {
  /// The end of `enable`. The engine's lock is held.
  func enableDatagrams(_ binding: Port.Binding) throws(FabricError) {
    let made = DatagramPort(
      binding: binding, options: options, socket: socket.take()!, interface: if_nametoindex(domain.name),
      portable: Configuration.current.isPortable)
    datagramPort = made
    datagramPortReference = .passUnretained(made)
    do throws(FabricError) {
      try domain.engine.add(made)
    } catch {
      // The socket went with the port; the endpoint can only be closed.
      datagramPort = nil
      datagramPortReference = nil
      throw error
    }
  }

  /// A part of `close`: what was sent is gone, and nothing is to wait for. The engine's lock is held.
  func closeDatagrams() {
    guard let datagramPort else { return }
    domain.engine.remove(datagramPort)
    datagramPort.releaseReservations()
    self.datagramPort = nil
    datagramPortReference = nil
  }

  /// Whether groups are joined that were not left: such an endpoint cannot be closed.
  package var hasGroups: Bool {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    if let datagramPort { return datagramPort.groupCount > 0 }
    let collectives = portReference?._withUnsafeGuaranteedRef { $0.collectives }
    return collectives.map { $0._withUnsafeGuaranteedRef { $0.groupCount > 0 } } ?? false
  }

  /// Joins a multicast group, to send to it and to receive from it as far as `flags` (FI_SEND, FI_RECV; 0 for both) and
  /// the endpoint's capabilities say. Returns the number to send to it with. Without flags, where a program on this host
  /// has bound the group's port and does not share it, the endpoint can only send.
  ///
  /// Throws FI_ENOSYS for other types of endpoints, FI_EOPBADSTATE before `enable`, FI_ENOEQ without an event queue,
  /// FI_EINVAL for what is no group's address, or for a direction that the endpoint has not, FI_EBADFLAGS for other
  /// flags, FI_EADDRINUSE and others that bind(2) and setsockopt(2) know.
  package func join(_ address: SocketAddress, flags: UInt64) throws(FabricError) -> UInt64 {
    guard type == .dgram else { throw .notImplemented }
    guard flags & ~(FI_SEND | FI_RECV) == 0 else { throw refuse("unknown flags", .badFlags) }
    domain.engine.lock()
    defer { domain.engine.unlock() }
    guard eventQueue != nil else { throw refuse("the endpoint has no event queue", .noEventQueue) }
    guard let datagramPort else { throw refuse("the endpoint is not enabled", .badState) }
    guard flags & ~options.capabilities == 0 else { throw refuse("the endpoint lacks that direction") }
    guard address.isMulticast else { throw refuse("the address is no multicast group's") }
    let directions = flags == 0 ? options.capabilities : flags
    do throws(FabricError) {
      return try datagramPort.join(address, receiving: directions & FI_RECV != 0)
    } catch {
      guard error.code == FI_EADDRINUSE, flags == 0 else { throw error }
      // A program that only sends to the group joins like that, too.
      Log.warn(
        .endpointControl, "another program has the group's port to itself: nothing will be received",
        function: "fi_join")
      return try datagramPort.join(address, receiving: false)
    }
  }

  /// Tells the program that it is a member (FI_JOIN_COMPLETE), with the handle and context of the group.
  package func reportJoin(_ fid: UnsafeMutablePointer<fid>, _ context: UnsafeMutableRawPointer?) throws(FabricError) {
    try eventQueue?.report(event: UInt32(FI_JOIN_COMPLETE), fi_eq_entry(fid: fid, context: context, data: 0))
  }

  /// Leaves a group.
  package func leave(_ number: UInt64) {
    domain.engine.lock()
    defer { domain.engine.unlock() }
    datagramPort?.leave(number)
  }

  private func refuse(_ reason: StaticString, _ error: FabricError = .invalidArgument) -> FabricError {
    error.because(.endpointControl, reason, in: "fi_join")
  }
}

/// What a program holds of a group that an endpoint has joined.
///
/// Man pages: fi_cm(3), fi_join; fi_collective(3), fi_join_collective
package final class GroupMembership {
  private let endpoint: Endpoint
  /// What fi_mc_addr returns.
  package let number: UInt64
  /// Of a group for collective operations: what it was joined with.
  private let set: AddressSet?

  package init(_ endpoint: Endpoint, _ number: UInt64, of set: AddressSet? = nil) {
    self.endpoint = endpoint
    self.number = number
    self.set = set
  }

  /// Leaves the group.
  package func close() {
    if let set { endpoint.leave(number, of: set) } else { endpoint.leave(number) }
  }
}
