import CFabric
import CPlatform
import Packet
import Provider
import Transport

// Atomic operations: fi_atomic(3). Every call is brought into the form of fi_atomicmsg and its kin.

/// Local elements: an array of fi_ioc.
private struct Vector {
  let first: UnsafePointer<fi_ioc>?
  let count: Int

  init(_ first: UnsafePointer<fi_ioc>? = nil, _ count: Int = 0) {
    self.first = first
    self.count = count
  }

  /// Stores the pieces of memory behind `slices`, and moves that on. They must be `elements` of `size` bytes in all.
  @inline(never)
  func store(
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

/// Starts an operation on elements of remote memory, with as many operands, comparands where the kind has those, and
/// places for results where it returns some.
@inline(never)
private func start(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>, _ compare: Vector,
  _ result: Vector, _ flags: UInt64
) -> Int {
  let msg = msg.pointee
  guard let request = AtomicRequest(kind, operation: msg.op.rawValue, datatype: msg.datatype.rawValue) else {
    return Int(-FI_EOPNOTSUPP)
  }
  return withSender(ep) { sender in
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
          || Vector(msg.msg_iov, msg.iov_count).store(total, size, limit: limit, &end)
        guard hasOperands, request.operandsPerElement < 2 || compare.store(total, size, limit: limit, &end) else {
          return Int(-FI_EINVAL)
        }
        let results = end
        guard !request.returnsContents || result.store(total, size, limit: limit, &end) else {
          return Int(-FI_EINVAL)
        }
        return sender.atomic(
          request, Pieces(slices, results - slices), results: Pieces(results, end - results),
          at: segments.baseAddress!, segmentCount: remoteCount, of: msg.addr, data: msg.data,
          context: bits(msg.context), flags: flags)
      }
    }
  }
}

/// The same on contiguous remote memory; the local vectors tell how much.
@inline(never)
private func start(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ operands: Vector, compare: Vector = Vector(),
  result: Vector = Vector(), _ peer: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ datatype: fi_datatype, _ op: fi_op,
  _ context: UnsafeMutableRawPointer?, isInjected: Bool = false
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
    var msg = fi_msg_atomic(
      msg_iov: operands.first, desc: nil, iov_count: operands.count, addr: peer, rma_iov: $0, rma_iov_count: 1,
      datatype: datatype, op: op, context: context, data: 0)
    return start(kind, ep, &msg, compare, result, isInjected ? FI_INJECT : withSender(ep) { $0.flags })
  }
}

/// Starts what a structure and flags describe.
@inline(never)
private func startMessage(
  _ kind: AtomicClass, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?,
  compare: Vector = Vector(), result: Vector = Vector(), _ flags: UInt64
) -> Int {
  // Atomic operations on tagged receive buffers are not built.
  guard let msg, flags & (unbuiltTransmitFlags | FI_TAGGED) == 0 else { return Int(msg == nil ? -FI_EINVAL : notBuilt) }
  return start(kind, ep, msg, compare, result, flags | withSender(ep) { $0.messageFlags })
}

/// Calls `body` with one piece of memory.
@inline(__always)
private func withElements(_ buffer: UnsafeRawPointer?, _ count: Int, _ body: (Vector) -> Int) -> Int {
  withUnsafePointer(to: fi_ioc(addr: UnsafeMutableRawPointer(mutating: buffer), count: count)) { body(Vector($0, 1)) }
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
  start(.base, ep, Vector(iov, count), dest_addr, addr, key, datatype, op, context)
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
    .fetch, ep, Vector(iov, count), result: Vector(resultv, result_count), dest_addr, addr, key, datatype, op, context)
}

private func atomic_readwritemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?, _ resultv: UnsafeMutablePointer<fi_ioc>?,
  _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ result_count: Int, _ flags: UInt64
) -> Int {
  startMessage(.fetch, ep, msg, result: Vector(resultv, result_count), flags)
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
    .compare, ep, Vector(iov, count), compare: Vector(comparev, compare_count), result: Vector(resultv, result_count),
    dest_addr, addr, key, datatype, op, context)
}

private func atomic_compwritemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_atomic>?, _ comparev: UnsafePointer<fi_ioc>?,
  _ compare_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ compare_count: Int,
  _ resultv: UnsafeMutablePointer<fi_ioc>?, _ result_desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
  _ result_count: Int, _ flags: UInt64
) -> Int {
  startMessage(
    .compare, ep, msg, compare: Vector(comparev, compare_count), result: Vector(resultv, result_count), flags)
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
