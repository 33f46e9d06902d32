import CFabric
import Datagram
import Provider

// Names of endpoints: fi_cm(3). Connections belong to endpoints of other types.

/// fi_cm(3), fi_setname: before fi_enable only.
private func cm_setname(
  _ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: Int
) -> Int32 {
  status { () throws(FabricError) in
    guard let addr, let address = SocketAddress(sockaddr: addr, length: addrlen) else { throw .invalidArgument }
    try object(fid, lfp_ep.self).setName(address)
  }
}

/// fi_cm(3), fi_getname: -FI_ETOOSMALL, with as much as fits, when there is no room; `addrlen` tells how much it takes.
private func cm_getname(
  _ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in
    guard let addrlen else { throw .invalidArgument }
    let capacity = addr == nil ? 0 : max(addrlen.pointee, 0)
    var nothing: UInt8 = 0
    let name = object(fid, lfp_ep.self).name
    addrlen.pointee = addr.map { name.store(to: $0, capacity: capacity) } ?? name.store(to: &nothing, capacity: 0)
    if addrlen.pointee > capacity { throw .tooSmall }
  }
}

nonisolated(unsafe) var connectionOps = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: cm_setname, getname: cm_getname, getpeer: no_cm_getpeer,
  connect: no_cm_connect, listen: no_cm_listen, accept: no_cm_accept, reject: no_cm_reject,
  shutdown: no_cm_shutdown, join: no_cm_join)
