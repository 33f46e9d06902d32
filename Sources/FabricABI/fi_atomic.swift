import CFabric
import CPlatform
import Packet
import Provider
import Transport

// Atomic operations: fi_atomic(3). Every call is brought into the form of fi_atomicmsg and its kin.

/// Local elements: an array of fi_ioc.
struct Elements {
  let first: UnsafePointer<fi_ioc>?
  let count: Int

  init(_ first: UnsafePointer<fi_ioc>? = nil, _ count: Int = 0) {
    self.first = first
    self.count = count
  }

  /// Stores the pieces of memory behind `slices`, and moves that on. They must be `elements` of `size` bytes in all.
  @inline(never)
  fileprivate func store(
    _ elements: Int, _ size: Int, limit: Int, _ slices: inout UnsafeMutablePointer<Slice>
  ) -> Bool {
    guard let first, count > 0 && count <= limit else { return false }
    var total = 0
    for index in 0..<count {
      let part = first[index].count
      guard part >= 0 && part <= elements && (part == 0 || first[index].addr != nil) else { return false }
      total += part
      slices.initialize(to: Slice(base: first[index].addr, count: part * size))
      slices += 1
    }
    return total == elements
  }
}

/// An operation on elements of remote memory, with the local memory that goes with it.
struct AtomicCall {
  let request: AtomicRequest
  /// As many operands as there are elements, then as many comparands, as far as the kind has those.
  let operands: Pieces
  /// Places for results where the kind returns some, right behind the operands.
  let results: Pieces
  let segments: UnsafePointer<RemoteSegment>
  let segmentCount: Int
}

/// Calls `body` with what the program's structures describe. Returns -FI_EOPNOTSUPP for an operation that there is not,
/// -FI_EINVAL where the vectors do not go together, -FI_EMSGSIZE for too many elements, else what `body` does.
@inline(never)
func gatherAtomic(
  _ kind: AtomicClass, _ sender: Sender, _ msg: fi_msg_atomic, _ compare: Elements, _ result: Elements,
  _ body: (AtomicCall) -> Int
) -> Int {
  guard let request = AtomicRequest(kind, operation: msg.op.rawValue, datatype: msg.datatype.rawValue) else {
    return Int(-FI_EOPNOTSUPP)
  }
  let size = request.datatype.size
  let remoteCount = msg.rma_iov_count
  guard let remote = msg.rma_iov, remoteCount > 0 && remoteCount <= sender.remoteIovLimit else {
    return Int(-FI_EINVAL)
  }
  return withUnsafeTemporaryAllocation(of: RemoteSegment.self, capacity: remoteCount) { segments in
    var total = 0
    for index in 0..<remoteCount {
      let part = remote[index].count
      guard UInt(bitPattern: part) <= UInt(request.maximumCount) else { return -Int(FI_EMSGSIZE) }
      total += part
      segments.initializeElement(
        at: index,
        to: RemoteSegment(address: remote[index].addr, length: UInt64(part * size), key: remote[index].key))
    }
    guard total > 0 else { return Int(-FI_EINVAL) }
    guard total <= request.maximumCount else { return -Int(FI_EMSGSIZE) }
    return withUnsafeTemporaryAllocation(of: Slice.self, capacity: 3 * Capabilities.iovLimit) { memory in
      let slices = memory.baseAddress!
      var end = slices
      let limit = sender.iovLimit
      let hasOperands =
        request.operandsPerElement < 1
        || Elements(msg.msg_iov, msg.iov_count).store(total, size, limit: limit, &end)
      guard hasOperands, request.operandsPerElement < 2 || compare.store(total, size, limit: limit, &end) else {
        return Int(-FI_EINVAL)
      }
      let results = end
      guard !request.returnsContents || result.store(total, size, limit: limit, &end) else {
        return Int(-FI_EINVAL)
      }
      return body(
        AtomicCall(
          request: request, operands: Pieces(slices, results - slices), results: Pieces(results, end - results),
          segments: segments.baseAddress!, segmentCount: remoteCount))
    }
  }
}

/// Starts an operation, or has it wait (FI_TRIGGER).
private func start(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: fi_msg_atomic, _ compare: Elements,
  _ result: Elements, _ flags: UInt64
) -> Int {
  if flags & FI_TRIGGER != 0 { return trigger(kind, ep, msg, compare, result, flags) }
  return withSender(ep) { sender in
    gatherAtomic(kind, sender, msg, compare, result) { call in
      sender.atomic(
        call.request, call.operands, results: call.results, at: call.segments, segmentCount: call.segmentCount,
        of: msg.addr, data: msg.data, context: bits(msg.context), flags: flags)
    }
  }
}

/// The same on contiguous remote memory; the local vectors tell how much.
@inline(never)
private func start(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ operands: Elements, compare: Elements = Elements(),
  result: Elements = Elements(), _ peer: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ datatype: fi_datatype,
  _ op: fi_op, _ context: UnsafeMutableRawPointer?, isInjected: Bool = false
) -> Int {
  var total: UInt = 0
  let counted = kind == .fetch && op == FI_ATOMIC_READ ? result : operands
  guard let first = counted.first, counted.count > 0 && counted.count <= Capabilities.iovLimit else {
    return Int(-FI_EINVAL)
  }
  for index in 0..<counted.count {
    let (sum, overflow) = total.addingReportingOverflow(UInt(bitPattern: first[index].count))
    if overflow { return -Int(FI_EMSGSIZE) }
    total = sum
  }
  var remote = fi_rma_ioc(addr: addr, count: Int(bitPattern: total), key: key)
  return withUnsafePointer(to: &remote) {
    let msg = fi_msg_atomic(
      msg_iov: operands.first, desc: nil, iov_count: operands.count, addr: peer, rma_iov: $0, rma_iov_count: 1,
      datatype: datatype, op: op, context: context, data: 0)
    let flags = withSender(ep) { $0.flags }
    return start(kind, ep, msg, compare, result, isInjected ? FI_INJECT | flags & FI_TRIGGER : flags)
  }
}

/// Flags of single operations that are not built: on tagged receive buffers, persistent memory, or many peers.
var unbuiltAtomicFlags: UInt64 { FI_TAGGED | FI_COMMIT_COMPLETE | FI_MULTICAST }

/// Starts what a structure and flags describe.
@inline(never)
private func startMessage(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?,
  compare: Elements = Elements(), result: Elements = Elements(), _ flags: UInt64
) -> Int {
  guard let msg, flags & unbuiltAtomicFlags == 0 else { return Int(msg == nil ? -FI_EINVAL : notBuilt) }
  return start(kind, ep, msg.pointee, compare, result, flags | withSender(ep) { $0.messageFlags })
}

/// Calls `body` with one piece of memory.
@inline(__always)
private func withElements(_ buffer: UnsafeRawPointer?, _ count: Int, _ body: (Elements) -> Int) -> Int {
  withUnsafePointer(to: fi_ioc(addr: UnsafeMutableRawPointer(mutating: buffer), count: count)) { body(Elements($0, 1)) }
}

// MARK: Base operations

private func atomic_write(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ dest_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withElements(buf, count) { start(.base, ep, $0, dest_addr, addr, key, datatype, op, context) }
}

private func atomic_writev(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<fi_ioc>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ dest_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op, _ context: UnsafeMutableRawPointer?
) -> Int {
  start(.base, ep, Elements(iov, count), dest_addr, addr, key, datatype, op, context)
}

private func atomic_writemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?, _ flags: UInt64
) -> Int {
  startMessage(.base, ep, msg, flags)
}

private func atomic_inject(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ dest_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op
) -> Int {
  withElements(buf, count) { start(.base, ep, $0, dest_addr, addr, key, datatype, op, nil, isInjected: true) }
}

// MARK: Fetching operations

private func atomic_readwrite(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ result: UnsafeMutableRawPointer?, _ result_desc: UnsafeMutableRawPointer?, _ dest_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op, _ context: UnsafeMutableRawPointer?
) -> Int {
  withElements(buf, count) { operands in
    withElements(result, count) {
      start(.fetch, ep, operands, result: $0, dest_addr, addr, key, datatype, op, context)
    }
  }
}

private func atomic_readwritev(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<fi_ioc>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ resultv: UnsafeMutablePointer<fi_ioc>?,
  _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ result_count: Int, _ dest_addr: fi_addr_t,
  _ addr: UInt64, _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op, _ context: UnsafeMutableRawPointer?
) -> Int {
  start(
    .fetch, ep, Elements(iov, count), result: Elements(resultv, result_count), dest_addr, addr, key, datatype, op,
    context)
}

private func atomic_readwritemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?, _ resultv: UnsafeMutablePointer<fi_ioc>?,
  _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ result_count: Int, _ flags: UInt64
) -> Int {
  startMessage(.fetch, ep, msg, result: Elements(resultv, result_count), flags)
}

// MARK: Comparing operations

private func atomic_compwrite(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ count: Int, _ desc: UnsafeMutableRawPointer?,
  _ compare: UnsafeRawPointer?, _ compare_desc: UnsafeMutableRawPointer?, _ result: UnsafeMutableRawPointer?,
  _ result_desc: UnsafeMutableRawPointer?, _ dest_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64,
  _ datatype: fi_datatype, _ op: fi_op, _ context: UnsafeMutableRawPointer?
) -> Int {
  withElements(buf, count) { operands in
    withElements(compare, count) { comparands in
      withElements(result, count) {
        start(.compare, ep, operands, compare: comparands, result: $0, dest_addr, addr, key, datatype, op, context)
      }
    }
  }
}

private func atomic_compwritev(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<fi_ioc>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ comparev: UnsafePointer<fi_ioc>?,
  _ compare_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ compare_count: Int,
  _ resultv: UnsafeMutablePointer<fi_ioc>?, _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  _ result_count: Int, _ dest_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  start(
    .compare, ep, Elements(iov, count), compare: Elements(comparev, compare_count),
    result: Elements(resultv, result_count), dest_addr, addr, key, datatype, op, context)
}

private func atomic_compwritemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?, _ comparev: UnsafePointer<fi_ioc>?,
  _ compare_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ compare_count: Int,
  _ resultv: UnsafeMutablePointer<fi_ioc>?, _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  _ result_count: Int, _ flags: UInt64
) -> Int {
  startMessage(
    .compare, ep, msg, compare: Elements(comparev, compare_count), result: Elements(resultv, result_count), flags)
}

// MARK: What there is

/// Whether an operation exists, and how many elements it takes.
private func valid(_ kind: AtomicClass, _ datatype: fi_datatype, _ op: fi_op, _ count: UnsafeMutablePointer<Int>?)
  -> Int32
{
  guard let request = AtomicRequest(kind, operation: op.rawValue, datatype: datatype.rawValue) else {
    return -FI_EOPNOTSUPP
  }
  count?.pointee = request.maximumCount
  return 0
}

/// fi_atomic(3), fi_query_atomic. FI_EBADFLAGS for flags that contradict each other or are unknown.
func domain_query_atomic(
  _ domain: UnsafeMutablePointer<fid_domain>?, _ datatype: fi_datatype, _ op: fi_op,
  _ attr: UnsafeMutablePointer<fi_atomic_attr>?, _ flags: UInt64
) -> Int32 {
  let kind: AtomicClass
  switch flags & ~FI_TAGGED {
  case 0: kind = .base
  case FI_FETCH_ATOMIC: kind = .fetch
  case FI_COMPARE_ATOMIC: kind = .compare
  default: return -Int32(FI_EBADFLAGS)
  }
  if flags & FI_TAGGED != 0 { return notBuilt }
  guard let request = AtomicRequest(kind, operation: op.rawValue, datatype: datatype.rawValue) else {
    return -FI_EOPNOTSUPP
  }
  attr?.pointee = fi_atomic_attr(count: request.maximumCount, size: request.datatype.size)
  return 0
}

// MARK: Table

nonisolated(unsafe) var atomicOps = fi_ops_atomic(
  size: MemoryLayout<fi_ops_atomic>.size, write: atomic_write, writev: atomic_writev, writemsg: atomic_writemsg,
  inject: atomic_inject, readwrite: atomic_readwrite, readwritev: atomic_readwritev,
  readwritemsg: atomic_readwritemsg, compwrite: atomic_compwrite, compwritev: atomic_compwritev,
  compwritemsg: atomic_compwritemsg,
  writevalid: { _, datatype, op, count in valid(.base, datatype, op, count) },
  readwritevalid: { _, datatype, op, count in valid(.fetch, datatype, op, count) },
  compwritevalid: { _, datatype, op, count in valid(.compare, datatype, op, count) })
