import CFabric
import Datagram
import Provider

// Names of endpoints, connections and groups: fi_cm(3). Which of them an endpoint has goes by its type.

/// fi_cm(3), fi_setname: before fi_enable only.
private func cm_setname(
  _ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: Int
) -> Int32 {
  status { () throws(FabricError) in
    guard let addr, let address = SocketAddress(sockaddr: addr, length: addrlen) else { throw .invalidArgument }
    try object(fid, lfp_ep.self).setName(address)
  }
}

/// fi_cm(3), fi_getname
private func cm_getname(
  _ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in try store(object(fid, lfp_ep.self).name, addr, addrlen) }
}

/// Hands an address out: -FI_ETOOSMALL, with as much as fits, when there is no room; `addrlen` tells how much it takes.
func store(
  _ name: SocketAddress, _ addr: UnsafeMutableRawPointer?, _ addrlen: UnsafeMutablePointer<Int>?
) throws(FabricError) {
  guard let addrlen else { throw .invalidArgument }
  let capacity = addr == nil ? 0 : max(addrlen.pointee, 0)
  var nothing: UInt8 = 0
  addrlen.pointee = addr.map { name.store(to: $0, capacity: capacity) } ?? name.store(to: &nothing, capacity: 0)
  if addrlen.pointee > capacity { throw .tooSmall }
}

nonisolated(unsafe) var nameOps = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: cm_setname, getname: cm_getname, getpeer: no_cm_getpeer,
  connect: no_cm_connect, listen: no_cm_listen, accept: no_cm_accept, reject: no_cm_reject,
  shutdown: no_cm_shutdown, join: cm_join)

// MARK: Connections

/// fi_cm(3), fi_getpeer: -FI_ENOTCONN before the endpoint is connected.
private func cm_getpeer(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in try store(object(ep, lfp_ep.self).peerName(), addr, addrlen) }
}

/// fi_cm(3), fi_connect: once in an endpoint's life.
private func cm_connect(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ addr: UnsafeRawPointer?, _ param: UnsafeRawPointer?, _ paramlen: Int
) -> Int32 {
  begin(ep, in: "fi_connect", param, paramlen) { (endpoint, data) throws(FabricError) in
    guard let addr, let address = SocketAddress(sockaddr: addr) else {
      throw .invalidArgument.because(.endpointControl, "no socket address", in: "fi_connect")
    }
    try endpoint.connect(to: address, data)
  }
}

/// fi_cm(3), fi_accept
private func cm_accept(_ ep: UnsafeMutablePointer<fid_ep>?, _ param: UnsafeRawPointer?, _ paramlen: Int) -> Int32 {
  begin(ep, in: "fi_accept", param, paramlen) { (endpoint, data) throws(FabricError) in try endpoint.accept(data) }
}

/// Calls `body`, which enables the endpoint if it is not, with the program's data.
private func begin(
  _ ep: UnsafeMutablePointer<fid_ep>?, in call: StaticString, _ param: UnsafeRawPointer?, _ paramlen: Int,
  _ body: (Endpoint, UnsafeRawBufferPointer) throws(FabricError) -> Void
) -> Int32 {
  let endpoint = object(ep, lfp_ep.self)
  let wasEnabled = endpoint.isEnabled
  let result = status { () throws(FabricError) in try body(endpoint, connectionData(param, paramlen, in: call)) }
  if !wasEnabled && endpoint.isEnabled { openDataPath(of: endpoint, ownHandle(ep)) }
  return result
}

/// What a program wants to tell the other side. Throws FI_EINVAL for bytes that are nowhere.
func connectionData(
  _ param: UnsafeRawPointer?, _ paramlen: Int, in call: StaticString
) throws(FabricError) -> UnsafeRawBufferPointer {
  guard paramlen == 0 || param != nil && paramlen > 0 else {
    throw .invalidArgument.because(.endpointControl, "private data without its bytes", in: call)
  }
  return UnsafeRawBufferPointer(start: paramlen == 0 ? nil : param, count: paramlen)
}

/// fi_cm(3), fi_shutdown
private func cm_shutdown(_ ep: UnsafeMutablePointer<fid_ep>?, _ flags: UInt64) -> Int32 {
  status { () throws(FabricError) in try object(ep, lfp_ep.self).shutdown(flags: flags) }
}

nonisolated(unsafe) var connectionOps = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: cm_setname, getname: cm_getname, getpeer: cm_getpeer,
  connect: cm_connect, listen: no_cm_listen, accept: cm_accept, reject: no_cm_reject, shutdown: cm_shutdown,
  join: no_cm_join)

// MARK: Groups

/// fi_cm(3), fi_join: multicast groups, of datagram endpoints, and with FI_COLLECTIVE groups for collective operations. A
/// multicast group's address has no length beside it; its family says.
private func cm_join(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ addr: UnsafeRawPointer?, _ flags: UInt64,
  _ mc: UnsafeMutablePointer<UnsafeMutablePointer<fid_mc>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    if flags & FI_COLLECTIVE != 0 { return try joinCollective(ep, addr, flags, mc, context) }
    guard let addr, let mc, let address = SocketAddress(sockaddr: addr) else { throw .invalidArgument }
    let endpoint = object(ep, lfp_ep.self)
    let number = try endpoint.join(address, flags: flags)
    do throws(FabricError) {
      let handle = try makeMembership(GroupMembership(endpoint, number), context)
      let group = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid.self)
      do throws(FabricError) {
        try endpoint.reportJoin(group, context)
      } catch {
        destroyHandle(group, lfp_mc.self)
        throw error
      }
      mc.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_mc.self)
    } catch {
      endpoint.leave(number)
      throw error
    }
  }
}

/// What fi_join gives the program.
func makeMembership(
  _ membership: GroupMembership, _ context: UnsafeMutableRawPointer?
) throws(FabricError) -> UnsafeMutablePointer<lfp_mc> {
  try makeHandle(membership, lfp_mc.self) {
    $0.fid.fid = fid(fclass: Int(FI_CLASS_MC), context: context, ops: &groupBaseOps)
    $0.fid.fi_addr = membership.number
  }
}

/// fi_cm(3), fi_close: leaves the group.
private func mc_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  object(fid, lfp_mc.self).close()
  destroyHandle(fid, lfp_mc.self)
  return 0
}

nonisolated(unsafe) private var groupBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: mc_close, bind: no_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) var groupOps = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: cm_setname, getname: cm_getname, getpeer: no_cm_getpeer,
  connect: no_cm_connect, listen: no_cm_listen, accept: no_cm_accept, reject: no_cm_reject,
  shutdown: no_cm_shutdown, join: cm_join)
