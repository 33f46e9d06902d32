import CFabric
import CPlatform
import Datagram
import Transport

/// A multicast group that a datagram endpoint has joined.
///
/// What is sent to a group arrives at sockets that are bound to no address or to the group's, while an endpoint is bound to
/// one of the host's; so a member that receives has a socket of its own, on the group's port. Several members on one host
/// share that port. An endpoint that is bound to no address, but to that port, receives by itself. Protected by the
/// engine's lock.
///
/// Man page: fi_cm(3), fi_join
package final class MulticastGroup {
  /// Where members send to.
  let address: SocketAddress
  /// The endpoint's own socket receives for the group.
  let usesEndpointSocket: Bool
  private var socket: UDPSocket?
  var input = DatagramInput()

  /// A member that receives by a socket of its own. Throws what socket(2), bind(2) and setsockopt(2) say.
  convenience init(_ address: SocketAddress, interface: UInt32) throws(FabricError) {
    let socket = try EndpointSocket.open(at: address, plain: true, shared: true)
    do throws(SystemError) { try socket.join(address, interface: interface) } catch {
      throw FabricError(code: error.code)
    }
    self.init(address, socket, usesEndpointSocket: false)
  }

  /// A member that only sends, or receives by the endpoint's socket.
  convenience init(_ address: SocketAddress, usesEndpointSocket: Bool) {
    self.init(address, nil, usesEndpointSocket: usesEndpointSocket)
  }

  // Not throwing: Embedded Swift does not free the memory of an object whose designated initializer throws.
  private init(_ address: SocketAddress, _ socket: consuming UDPSocket?, usesEndpointSocket: Bool) {
    self.address = address
    self.usesEndpointSocket = usesEndpointSocket
    self.socket = socket
  }

  /// -1 for a member that only sends.
  var descriptor: Int32 { socket?.descriptor ?? -1 }
  var nextDelivery: Instant { socket?.nextDelivery ?? .max }

  /// ``DatagramPort/takeInput(through:_:_:)`` for the group's socket.
  func takeInput(of port: DatagramPort, _ now: Instant) -> Bool {
    guard socket != nil else { return false }
    return port.takeInput(through: &socket!, &input, now)
  }
}

extension DatagramPort {
  /// Joins a group and returns the number to send to it with. Port 0 stands for the endpoint's own. Throws FI_EINVAL for
  /// an address that is no group's or of another family, and what ``MulticastGroup/init(_:interface:receiving:)`` throws.
  package func join(_ address: SocketAddress, receiving: Bool) throws(FabricError) -> UInt64 {
    guard address.isMulticast, address.family == localAddress.family else { throw .invalidArgument }
    let whole = address.port == 0 ? address.with(port: localAddress.port) : address
    let group: MulticastGroup
    let isOwnPort = localAddress.isAny && localAddress.port == whole.port
    if receiving && !isOwnPort {
      group = try MulticastGroup(whole, interface: interface)
    } else {
      group = MulticastGroup(whole, usesEndpointSocket: receiving)
    }
    do throws(SystemError) {
      try socket.setMulticastInterface(interface)
      if group.usesEndpointSocket { try socket.join(whole, interface: interface) }
    } catch {
      throw FabricError(code: error.code)
    }
    binding.engine._withUnsafeGuaranteedRef { $0.stopWatching(self) }
    for index in 0..<groups.count where groups[index] == nil {
      groups[index] = group
      return Self.groupMark | UInt64(index)
    }
    groups.append(group)
    return Self.groupMark | UInt64(groups.count - 1)
  }

  /// Leaves a group.
  package func leave(_ number: UInt64) {
    guard let index = groupIndex(number), let group = groups[index] else { return }
    if group.usesEndpointSocket {
      do throws(SystemError) { try socket.leave(group.address, interface: interface) } catch {}
    }
    binding.engine._withUnsafeGuaranteedRef { $0.stopWatching(self) }
    groups[index] = nil
  }

  /// Groups joined and not left.
  package var groupCount: Int {
    var count = 0
    for index in 0..<groups.count where groups[index] != nil { count += 1 }
    return count
  }

  /// Where a group's number leads; nil for one that is not in use.
  @inline(never)
  func groupAddress(_ number: UInt64) -> SocketAddress? { groupIndex(number).flatMap { groups[$0]?.address } }

  private func groupIndex(_ number: UInt64) -> Int? {
    let index = number & ~Self.groupMark
    return number & Self.groupMark != 0 && index < UInt64(groups.count) ? Int(index) : nil
  }

  /// Tells the numbers of groups from those of address vectors.
  private static var groupMark: UInt64 { 1 << 62 }
}
