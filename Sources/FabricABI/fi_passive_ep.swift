import CFabric
import Datagram
import Provider

// Endpoints that listen: fi_endpoint(3), fi_passive_ep and fi_pep_bind; fi_cm(3).

/// fi_endpoint(3), fi_passive_ep
func fabric_passive_ep(
  _ fabric: UnsafeMutablePointer<fid_fabric>?, _ info: UnsafeMutablePointer<fi_info>?,
  _ pep: UnsafeMutablePointer<UnsafeMutablePointer<fid_pep>?>?, _ context: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard let info, let pep else {
      throw .invalidArgument.because(
        .endpointControl, "no info, or no place for the endpoint", in: "fi_passive_ep")
    }
    let endpoint = try PassiveEndpoint(
      object(fabric, lfp_fabric.self), info, requestOps: UnsafeMutablePointer(&requestOps))
    do throws(FabricError) {
      let handle = try makeHandle(endpoint, lfp_pep.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_PEP), context: context, ops: &passiveBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&passiveOps)
        $0.fid.cm = UnsafeMutablePointer(&listeningOps)
      }
      endpoint.fid = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: CFabric.fid.self)
      pep.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_pep.self)
    } catch {
      try endpoint.close()
      throw error
    }
  }
}

// MARK: fid

private func pep_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_pep.self).close()
    destroyHandle(fid, lfp_pep.self)
  }
}

/// fi_endpoint(3), fi_pep_bind: an event queue, once, without flags.
private func pep_bind(_ fid: UnsafeMutablePointer<fid>?, _ bfid: UnsafeMutablePointer<fid>?, _ flags: UInt64) -> Int32 {
  status { () throws(FabricError) in
    guard flags == 0 else { throw .badFlags.because(.endpointControl, "unknown flags", in: "fi_pep_bind") }
    guard let bfid, bfid.pointee.fclass == Int(FI_CLASS_EQ) else {
      throw .invalidArgument.because(.endpointControl, "no event queue", in: "fi_pep_bind")
    }
    try object(fid, lfp_pep.self).bind(object(bfid, lfp_eq.self))
  }
}

/// fi_control(3): FI_BACKLOG.
private func pep_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in
    guard Int(command) == Int(FI_BACKLOG) else {
      throw .notImplemented.because(.endpointControl, "unknown command", in: "fi_control")
    }
    guard let argument else { throw .invalidArgument.because(.endpointControl, "no backlog", in: "fi_control") }
    try object(fid, lfp_pep.self).setBacklog(argument.load(as: Int32.self))
  }
}

nonisolated(unsafe) private var passiveBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: pep_close, bind: pep_bind, control: pep_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

/// The handles of requests to connect are answered, not closed.
nonisolated(unsafe) private var requestOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: { _ in notBuilt }, bind: no_bind, control: no_control,
  ops_open: no_ops_open, tostr: no_tostr, ops_set: no_ops_set)

// MARK: fi_ops_ep

/// fi_endpoint(3), fi_getopt: FI_OPT_CM_DATA_SIZE.
private func pep_getopt(
  _ fid: UnsafeMutablePointer<fid>?, _ level: Int32, _ optname: Int32, _ optval: UnsafeMutableRawPointer?,
  _ optlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in
    guard Int(level) == Int(FI_OPT_ENDPOINT) else { throw .noSuchOption }
    guard let optval, let optlen else { throw .invalidArgument }
    try object(fid, lfp_pep.self).option(optname, optval, &optlen.pointee)
  }
}

nonisolated(unsafe) private var passiveOps = fi_ops_ep(
  size: MemoryLayout<fi_ops_ep>.size, cancel: { _, _ in Int(notBuilt) }, getopt: pep_getopt,
  setopt: { _, _, _, _, _ in -Int32(FI_ENOPROTOOPT) }, tx_ctx: no_ep_tx_ctx, rx_ctx: no_ep_rx_ctx,
  rx_size_left: { _ in Int(notBuilt) }, tx_size_left: { _ in Int(notBuilt) }, export_xpu: no_ep_export_xpu)

// MARK: fi_ops_cm

/// fi_cm(3), fi_setname: before fi_listen only.
private func pep_setname(_ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: Int) -> Int32 {
  status { () throws(FabricError) in
    guard let addr, let address = SocketAddress(sockaddr: addr, length: addrlen) else {
      throw .invalidArgument.because(.endpointControl, "no socket address", in: "fi_setname")
    }
    try object(fid, lfp_pep.self).setName(address)
  }
}

/// fi_cm(3), fi_getname
private func pep_getname(
  _ fid: UnsafeMutablePointer<fid>?, _ addr: UnsafeMutableRawPointer?, _ addrlen: UnsafeMutablePointer<Int>?
) -> Int32 {
  status { () throws(FabricError) in try store(object(fid, lfp_pep.self).name(), addr, addrlen) }
}

/// fi_cm(3), fi_listen
private func pep_listen(_ pep: UnsafeMutablePointer<fid_pep>?) -> Int32 {
  status { () throws(FabricError) in try object(pep, lfp_pep.self).listen() }
}

/// fi_cm(3), fi_reject. The handle is void afterwards.
private func pep_reject(
  _ pep: UnsafeMutablePointer<fid_pep>?, _ handle: UnsafeMutablePointer<fid>?, _ param: UnsafeRawPointer?,
  _ paramlen: Int
) -> Int32 {
  status { () throws(FabricError) in
    let data = try connectionData(param, paramlen, in: "fi_reject")
    guard let handle else { throw .invalidArgument.because(.endpointControl, "no request", in: "fi_reject") }
    try object(pep, lfp_pep.self).reject(handle, data)
  }
}

nonisolated(unsafe) private var listeningOps = fi_ops_cm(
  size: MemoryLayout<fi_ops_cm>.size, setname: pep_setname, getname: pep_getname, getpeer: no_cm_getpeer,
  connect: no_cm_connect, listen: pep_listen, accept: no_cm_accept, reject: pep_reject, shutdown: no_cm_shutdown,
  join: no_cm_join)
