import CFabric
import Provider
import Transport

// Collective operations: fi_collective(3). Of FI_INT8 to FI_UINT128 all types are offered that atomic operations have, and
// of operators FI_MIN to FI_BXOR, in messages of any size. `count` is that of the whole vector for fi_broadcast, fi_reduce
// and fi_allreduce; of the others it is what each member gives to, or gets from, each: there the larger buffer has as
// many blocks as the group has members, in their order in the set.

/// fi_collective(3), fi_query_collective. A flag of FI_SCATTER with FI_REDUCE asks about FI_REDUCE_SCATTER. -FI_EOPNOTSUPP
/// for what is not offered, -FI_EINVAL without attributes, for a mode, and for an operation that there is not.
func domain_query_collective(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ coll: fi_collective_op,
  _ attr: UnsafeMutablePointer<fi_collective_attr>?, _ flags: UInt64
) -> Int32 {
  status { () throws(FabricError) in
    guard let attr, attr.pointee.mode == 0 else {
      throw .invalidArgument.because(.domain, "no attributes, or an unknown mode", in: "fi_query_collective")
    }
    guard flags == 0 || flags == UInt64(FI_SCATTER.rawValue) && (coll == FI_REDUCE || coll == FI_REDUCE_SCATTER) else {
      throw .badFlags.because(.domain, "unknown flags", in: "fi_query_collective")
    }
    guard let raw = UInt8(exactly: coll.rawValue), let asked = CollectiveKind(rawValue: raw) else {
      throw .invalidArgument.because(.domain, "an unknown operation", in: "fi_query_collective")
    }
    let kind = flags == 0 ? asked : .reduceScatter
    let datatype = attr.pointee.datatype.rawValue
    guard CollectiveCall.isOffered(kind, datatype, attr.pointee.op.rawValue) else {
      throw FabricError(code: FI_EOPNOTSUPP)
    }
    let size = kind == .barrier ? 0 : CollectiveCall.datatype(datatype)?.size ?? 0
    attr.pointee.datatype_attr.size = size
    attr.pointee.datatype_attr.count = size == 0 ? 0 : Int.max / size
    attr.pointee.max_members = Int(Int32.max)
  }
}

/// Flags of a call: which completion it wants, and FI_INJECT.
private var callFlags: UInt64 {
  FI_COMPLETION | FI_INJECT | FI_MORE | FI_INJECT_COMPLETE | FI_TRANSMIT_COMPLETE | FI_DELIVERY_COMPLETE
    | FI_MATCH_COMPLETE
}

/// Begins an operation that `fill` completes. -FI_EBADFLAGS for unknown flags.
private func begin(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ kind: CollectiveKind, _ group: fi_addr_t, _ flags: UInt64,
  _ context: UnsafeMutableRawPointer?, _ fill: (inout CollectiveCall) -> Void = { _ in }
) -> Int {
  guard flags & ~callFlags == 0 else { return -Int(FI_EBADFLAGS) }
  return withSender(ep) { sender in
    var call = CollectiveCall(kind, group: group, flags: flags | sender.messageFlags, context: bits(context))
    fill(&call)
    return sender.collective(call)
  }
}

private func collective_barrier(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ coll_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    // As with flags of its own, no collective operation waits for a counter.
    if sender.flags & FI_TRIGGER != 0 { return -Int(FI_EBADFLAGS) }
    return sender.collective(CollectiveCall(.barrier, group: coll_addr, flags: sender.flags, context: bits(context)))
  }
}

private func collective_barrier2(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ coll_addr: fi_addr_t, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .barrier, coll_addr, flags, context)
}

private func collective_broadcast(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeMutableRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ coll_addr: fi_addr_t, _ root_addr: fi_addr_t, _ datatype: fi_datatype, _ flags: UInt64,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .broadcast, coll_addr, flags, context) {
    $0.result = buf
    $0.count = count
    $0.root = root_addr
    $0.datatype = datatype.rawValue
  }
}

/// What the calls with two buffers have in common.
private func begin(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ kind: CollectiveKind, _ buf: UnsafeRawPointer?, _ count: Int,
  _ result: UnsafeMutableRawPointer?, _ group: fi_addr_t, root: fi_addr_t = 0, _ datatype: fi_datatype,
  op: UInt32 = 0, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, kind, group, flags, context) {
    $0.input = buf
    $0.result = result
    $0.count = count
    $0.root = root
    $0.datatype = datatype.rawValue
    $0.reduction = op
  }
}

private func collective_alltoall(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ datatype: fi_datatype, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .alltoall, buf, count, result, coll_addr, datatype, flags, context)
}

private func collective_allreduce(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ datatype: fi_datatype, _ op: fi_op, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .allreduce, buf, count, result, coll_addr, datatype, op: op.rawValue, flags, context)
}

private func collective_allgather(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ datatype: fi_datatype, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .allgather, buf, count, result, coll_addr, datatype, flags, context)
}

private func collective_reduce_scatter(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ datatype: fi_datatype, _ op: fi_op, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .reduceScatter, buf, count, result, coll_addr, datatype, op: op.rawValue, flags, context)
}

private func collective_reduce(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ root_addr: fi_addr_t, _ datatype: fi_datatype, _ op: fi_op, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .reduce, buf, count, result, coll_addr, root: root_addr, datatype, op: op.rawValue, flags, context)
}

private func collective_scatter(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ root_addr: fi_addr_t, _ datatype: fi_datatype, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .scatter, buf, count, result, coll_addr, root: root_addr, datatype, flags, context)
}

private func collective_gather(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ coll_addr: fi_addr_t,
  _ root_addr: fi_addr_t, _ datatype: fi_datatype, _ flags: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  begin(ep, .gather, buf, count, result, coll_addr, root: root_addr, datatype, flags, context)
}

// MARK: The call with a message

/// The table's `msg`, which no inline call has: any operation, with memory in pieces. What one buffer of the other calls
/// is made of is their sum; a broadcast's memory is that of the message. The count is that of the result for scatter and
/// reduce-scatter, of the message for others; all to all divides it among the members.
private func collective_msg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_collective>?,
  _ resultv: UnsafeMutablePointer<fi_ioc>?,
  _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ result_count: Int, _ flags: UInt64
) -> Int {
  guard let message = msg?.pointee, let raw = UInt8(exactly: message.coll.rawValue),
    let kind = CollectiveKind(rawValue: raw)
  else { return Int(-FI_EINVAL) }
  let limit = withSender(ep) { $0.iovLimit }
  guard message.iov_count >= 0, message.iov_count <= limit, result_count >= 0, result_count <= limit,
    message.iov_count == 0 || message.msg_iov != nil, result_count == 0 || resultv != nil
  else { return Int(-FI_EINVAL) }
  guard kind == .barrier || CollectiveCall.datatype(message.datatype.rawValue) != nil else {
    return -Int(FI_EOPNOTSUPP)
  }
  let size = CollectiveCall.datatype(message.datatype.rawValue)?.size ?? 0
  return withUnsafeTemporaryAllocation(of: Slice.self, capacity: 2 * limit) { memory in
    let slices = memory.baseAddress!
    guard let given = convert(message.msg_iov, message.iov_count, size, slices),
      let wanted = convert(resultv.map { UnsafePointer($0) }, result_count, size, slices + limit)
    else { return -Int(FI_EMSGSIZE) }
    return begin(ep, kind, message.coll_addr, flags, message.context) { call in
      if message.iov_count > 0 { call.inputPieces = Pieces(slices, message.iov_count) }
      if result_count > 0 { call.resultPieces = Pieces(slices + limit, result_count) }
      if kind == .broadcast { call.resultPieces = call.inputPieces }
      call.count = kind == .scatter || kind == .reduceScatter ? wanted : given
      call.root = message.root_addr
      call.datatype = message.datatype.rawValue
      call.reduction = message.op.rawValue
      call.dividesCount = kind == .alltoall
    }
  }
}

/// Pieces of elements as pieces of bytes. Returns the elements, nil for more than memory can hold.
private func convert(
  _ pieces: UnsafePointer<fi_ioc>?, _ count: Int, _ size: Int, _ slices: UnsafeMutablePointer<Slice>
) -> Int? {
  var total = 0
  for index in 0..<count {
    let piece = pieces.unsafelyUnwrapped[index]
    let (length, overflow) = piece.count.multipliedReportingOverflow(by: size)
    let (sum, isTooLong) = total.addingReportingOverflow(piece.count)
    guard piece.count >= 0, !overflow, !isTooLong else { return nil }
    total = sum
    slices[index] = Slice(base: piece.addr, count: length)
  }
  return total
}

nonisolated(unsafe) var collectiveOps = fi_ops_collective(
  size: MemoryLayout<fi_ops_collective>.size, barrier: collective_barrier, broadcast: collective_broadcast,
  alltoall: collective_alltoall, allreduce: collective_allreduce, allgather: collective_allgather,
  reduce_scatter: collective_reduce_scatter, reduce: collective_reduce, scatter: collective_scatter,
  gather: collective_gather, msg: collective_msg, barrier2: collective_barrier2)
