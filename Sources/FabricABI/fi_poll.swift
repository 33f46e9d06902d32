import CFabric
import Provider

// MARK: Poll sets

/// fi_poll(3), fi_poll_open
func domain_poll_open(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ attr: UnsafeMutablePointer<fi_poll_attr>?,
  _ pollset: UnsafeMutablePointer<UnsafeMutablePointer<fid_poll>?>?
) -> Int32 {
  status { () throws(FabricError) in
    guard let pollset else { throw .invalidArgument.because(.domain, "no place for the set", in: "fi_poll_open") }
    let set = try PollSet(object(domain, lfp_domain.self), flags: attr?.pointee.flags ?? 0)
    do throws(FabricError) {
      let handle = try makeHandle(set, lfp_poll.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_POLL), context: nil, ops: &pollBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&pollOps)
      }
      pollset.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_poll.self)
    } catch {
      try set.close()
      throw error
    }
  }
}

private func poll_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_poll.self).close()
    destroyHandle(fid, lfp_poll.self)
  }
}

private func poll_poll(
  _ pollset: UnsafeMutablePointer<fid_poll>?, _ context: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  _ count: Int32
) -> Int32 {
  Int32(object(pollset, lfp_poll.self).poll(context, limit: Int(count)))
}

private func poll_add(
  _ pollset: UnsafeMutablePointer<fid_poll>?, _ event_fid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    let set = object(pollset, lfp_poll.self)
    switch event_fid?.pointee.fclass {
    case Int(FI_CLASS_CQ):
      let queue = object(event_fid, lfp_cq.self)
      try set.add(queue, event_fid.unsafelyUnwrapped, of: queue.domain, flags: flags)
    case Int(FI_CLASS_CNTR):
      let counter = object(event_fid, lfp_cntr.self)
      try set.add(counter, event_fid.unsafelyUnwrapped, of: counter.domain, flags: flags)
    default: throw .invalidArgument.because(.domain, "neither a completion queue nor a counter", in: "fi_poll_add")
    }
  }
}

private func poll_del(
  _ pollset: UnsafeMutablePointer<fid_poll>?, _ event_fid: UnsafeMutablePointer<fid>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    let set = object(pollset, lfp_poll.self)
    switch event_fid?.pointee.fclass {
    case Int(FI_CLASS_CQ): try set.remove(object(event_fid, lfp_cq.self), flags: flags)
    case Int(FI_CLASS_CNTR): try set.remove(object(event_fid, lfp_cntr.self), flags: flags)
    default: throw .invalidArgument.because(.domain, "neither a completion queue nor a counter", in: "fi_poll_del")
    }
  }
}

nonisolated(unsafe) private var pollBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: poll_close, bind: no_bind, control: no_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var pollOps = fi_ops_poll(
  size: MemoryLayout<fi_ops_poll>.size, poll: poll_poll, poll_add: poll_add, poll_del: poll_del)

// MARK: Wait sets

/// fi_poll(3), fi_wait_open
func fabric_wait_open(
  _ fabric: UnsafeMutablePointer<fid_fabric>?, _ attr: UnsafeMutablePointer<fi_wait_attr>?,
  _ waitset: UnsafeMutablePointer<UnsafeMutablePointer<fid_wait>?>?
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, let waitset else {
      throw .invalidArgument.because(.fabric, "no attributes, or no place for the set", in: "fi_wait_open")
    }
    let set = try WaitSet(object(fabric, lfp_fabric.self), attr)
    do throws(FabricError) {
      let handle = try makeHandle(set, lfp_wait.self) {
        $0.fid.fid = fid(fclass: Int(FI_CLASS_WAIT), context: nil, ops: &waitBaseOps)
        $0.fid.ops = UnsafeMutablePointer(&waitOps)
      }
      waitset.pointee = UnsafeMutableRawPointer(handle).assumingMemoryBound(to: fid_wait.self)
    } catch {
      try set.close()
      throw error
    }
  }
}

private func wait_close(_ fid: UnsafeMutablePointer<fid>?) -> Int32 {
  status { () throws(FabricError) in
    try object(fid, lfp_wait.self).close()
    destroyHandle(fid, lfp_wait.self)
  }
}

private func wait_control(
  _ fid: UnsafeMutablePointer<fid>?, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  status { () throws(FabricError) in try object(fid, lfp_wait.self).control(command, argument) }
}

private func wait_wait(_ waitset: UnsafeMutablePointer<fid_wait>?, _ timeout: Int32) -> Int32 {
  status { () throws(FabricError) in try object(waitset, lfp_wait.self).wait(timeout: timeout) }
}

nonisolated(unsafe) private var waitBaseOps = fi_ops(
  size: MemoryLayout<fi_ops>.size, close: wait_close, bind: no_bind, control: wait_control, ops_open: no_ops_open,
  tostr: no_tostr, ops_set: no_ops_set)

nonisolated(unsafe) private var waitOps = fi_ops_wait(size: MemoryLayout<fi_ops_wait>.size, wait: wait_wait)

// MARK: Waiting by oneself

/// fi_poll(3), fi_trywait
func fabric_trywait(
  _ fabric: UnsafeMutablePointer<fid_fabric>?,
  _ fids: UnsafeMutablePointer<UnsafeMutablePointer<fid>?>?, _ count: Int32
) -> Int32 {
  status { () throws(FabricError) in
    guard count > 0 else { return }
    guard let fids else { throw .invalidArgument.because(.fabric, "no list of objects", in: "fi_trywait") }
    for index in 0..<Int(count) {
      guard let fid = fids[index] else {
        throw .invalidArgument.because(.fabric, "a list with an empty place", in: "fi_trywait")
      }
      switch fid.pointee.fclass {
      case Int(FI_CLASS_CQ): try object(fid, lfp_cq.self).prepareToWait()
      case Int(FI_CLASS_EQ): try object(fid, lfp_eq.self).prepareToWait()
      case Int(FI_CLASS_CNTR): try object(fid, lfp_cntr.self).prepareToWait()
      case Int(FI_CLASS_WAIT): try object(fid, lfp_wait.self).prepareToWait()
      default: throw .invalidArgument.because(.fabric, "neither a queue, a counter nor a wait set", in: "fi_trywait")
      }
    }
  }
}
