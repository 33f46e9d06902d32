import CFabric
import CPlatform
import Packet
import Provider
import Transport

// Access to remote memory: fi_rma(3). An iovec of the remote side, fi_rma_iov, is laid out as a `RemoteSegment`.

/// One operation on contiguous remote memory, as long as the local pieces.
@inline(__always)
private func access(
  _ direction: OperationKind, _ sender: Sender, _ pieces: Pieces, _ peer: fi_addr_t, _ addr: UInt64, _ key: UInt64,
  data: UInt64, _ context: UnsafeMutableRawPointer?, _ flags: UInt64
) -> Int {
  let length = pieces.length
  guard length >= 0 else { return Int(-FI_EINVAL) }
  let segment = RemoteSegment(address: addr, length: UInt64(length), key: key)
  return withUnsafePointer(to: segment) {
    sender.access(
      direction, pieces, at: $0, segmentCount: 1, of: peer, data: data, context: bits(context), flags: flags)
  }
}

/// fi_writemsg and fi_readmsg: both sides' lengths must be the same.
private func accessMessage(
  _ direction: OperationKind, _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_rma>?, _ flags: UInt64
) -> Int {
  guard let msg, flags & FI_MULTICAST == 0 else { return Int(msg == nil ? -FI_EINVAL : notBuilt) }
  if flags & FI_TRIGGER != 0 { return trigger(direction == .read ? .read : .write, ep, msg.pointee, flags) }
  return withSender(ep) { sender in
    let count = msg.pointee.rma_iov_count
    guard let remote = msg.pointee.rma_iov, count > 0 && count <= sender.remoteIovLimit else {
      return Int(-FI_EINVAL)
    }
    return withVector(msg.pointee.msg_iov, msg.pointee.iov_count, limit: sender.iovLimit) { pieces in
      var total: UInt64 = 0
      for index in 0..<count { total &+= UInt64(UInt(bitPattern: remote[index].len)) }
      guard total == UInt64(UInt(bitPattern: pieces.length)) else { return Int(-FI_EINVAL) }
      return sender.access(
        direction, pieces, at: UnsafeRawPointer(remote).assumingMemoryBound(to: RemoteSegment.self),
        segmentCount: count, of: msg.pointee.addr, data: msg.pointee.data, context: bits(msg.pointee.context),
        flags: flags | sender.messageFlags)
    }
  }
}

// MARK: Reading

private func rma_read(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeMutableRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ src_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) { access(.read, sender, $0, src_addr, addr, key, data: 0, context, sender.flags) }
  }
}

private func rma_readv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ src_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withVector(iov, count, limit: sender.iovLimit) {
      access(.read, sender, $0, src_addr, addr, key, data: 0, context, sender.flags)
    }
  }
}

private func rma_readmsg(_ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_rma>?, _ flags: UInt64) -> Int
{
  accessMessage(.read, ep, msg, flags)
}

// MARK: Writing

private func rma_write(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ dest_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) { access(.write, sender, $0, dest_addr, addr, key, data: 0, context, sender.flags) }
  }
}

private func rma_writev(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ dest_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withVector(iov, count, limit: sender.iovLimit) {
      access(.write, sender, $0, dest_addr, addr, key, data: 0, context, sender.flags)
    }
  }
}

private func rma_writemsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_rma>?, _ flags: UInt64
) -> Int {
  accessMessage(.write, ep, msg, flags)
}

private func rma_inject(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ dest_addr: fi_addr_t, _ addr: UInt64,
  _ key: UInt64
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) { access(.write, sender, $0, dest_addr, addr, key, data: 0, nil, FI_INJECT) }
  }
}

private func rma_writedata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ data: UInt64, _ dest_addr: fi_addr_t, _ addr: UInt64, _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      access(
        .write, sender, $0, dest_addr, addr, key, data: data, context, sender.flags | FI_REMOTE_CQ_DATA)
    }
  }
}

private func rma_injectdata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ data: UInt64, _ dest_addr: fi_addr_t,
  _ addr: UInt64, _ key: UInt64
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      access(.write, sender, $0, dest_addr, addr, key, data: data, nil, FI_INJECT | FI_REMOTE_CQ_DATA)
    }
  }
}

// MARK: Table

nonisolated(unsafe) var remoteMemoryOps = fi_ops_rma(
  size: MemoryLayout<fi_ops_rma>.size, read: rma_read, readv: rma_readv, readmsg: rma_readmsg, write: rma_write,
  writev: rma_writev, writemsg: rma_writemsg, inject: rma_inject, writedata: rma_writedata,
  injectdata: rma_injectdata)
