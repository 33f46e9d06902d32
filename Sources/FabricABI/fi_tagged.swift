import CFabric
import CPlatform
import Provider
import Transport

// Tagged messages: fi_tagged(3).

// MARK: Sending

private func tagged_send(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ dest_addr: fi_addr_t, _ tag: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_TAGGED, tag: tag, data: 0, context: bits(context), flags: sender.flags)
    }
  }
}

private func tagged_sendv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ dest_addr: fi_addr_t, _ tag: UInt64,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withVector(iov, count, limit: sender.iovLimit) {
      sender.send(
        $0, to: dest_addr, kind: FI_TAGGED, tag: tag, data: 0, context: bits(context), flags: sender.flags)
    }
  }
}

private func tagged_sendmsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_tagged>?, _ flags: UInt64
) -> Int {
  guard let msg, flags & FI_MULTICAST == 0 else { return Int(msg == nil ? -FI_EINVAL : notBuilt) }
  if flags & FI_TRIGGER != 0 { return trigger(.send, ep, msg.pointee, flags) }
  return withSender(ep) { sender in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, limit: sender.iovLimit) {
      sender.send(
        $0, to: msg.pointee.addr, kind: FI_TAGGED, tag: msg.pointee.tag, data: msg.pointee.data,
        context: bits(msg.pointee.context), flags: flags | sender.messageFlags)
    }
  }
}

private func tagged_inject(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ dest_addr: fi_addr_t, _ tag: UInt64
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send($0, to: dest_addr, kind: FI_TAGGED, tag: tag, data: 0, context: 0, flags: FI_INJECT)
    }
  }
}

private func tagged_senddata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ data: UInt64, _ dest_addr: fi_addr_t, _ tag: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_TAGGED, tag: tag, data: data, context: bits(context),
        flags: sender.flags | FI_REMOTE_CQ_DATA)
    }
  }
}

private func tagged_injectdata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ data: UInt64, _ dest_addr: fi_addr_t,
  _ tag: UInt64
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_TAGGED, tag: tag, data: data, context: 0, flags: FI_INJECT | FI_REMOTE_CQ_DATA)
    }
  }
}

// MARK: Receiving

func tagged_recv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeMutableRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ src_addr: fi_addr_t, _ tag: UInt64, _ ignore: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withReceiver(ep) { receiver, defaults in
    withPiece(buf, len) {
      receiver.receive(
        $0, from: src_addr, kind: FI_TAGGED, tag: tag, ignore: ignore, context: bits(context),
        flags: receiver.taggedFlags(defaults.flags))
    }
  }
}

func tagged_recvv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ src_addr: fi_addr_t, _ tag: UInt64,
  _ ignore: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  withReceiver(ep) { receiver, defaults in
    withVector(iov, count, limit: receiver.iovLimit) {
      receiver.receive(
        $0, from: src_addr, kind: FI_TAGGED, tag: tag, ignore: ignore, context: bits(context),
        flags: receiver.taggedFlags(defaults.flags))
    }
  }
}

func tagged_recvmsg(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg_tagged>?, _ flags: UInt64
) -> Int {
  guard let msg else { return Int(-FI_EINVAL) }
  if flags & FI_TRIGGER != 0 { return trigger(.receive, ep, msg.pointee, flags) }
  return withReceiver(ep) { receiver, defaults in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, limit: receiver.iovLimit) {
      if flags & (FI_PEEK | FI_CLAIM | FI_DISCARD) != 0 {
        return receiver.receiveKept(
          $0, from: msg.pointee.addr, kind: FI_TAGGED, tag: msg.pointee.tag, ignore: msg.pointee.ignore,
          context: bits(msg.pointee.context), flags: flags | defaults.messageFlags)
      }
      return receiver.receive(
        $0, from: msg.pointee.addr, kind: FI_TAGGED, tag: msg.pointee.tag, ignore: msg.pointee.ignore,
        context: bits(msg.pointee.context), flags: flags | defaults.messageFlags)
    }
  }
}

// MARK: Table

nonisolated(unsafe) var taggedOps = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size, recv: tagged_recv, recvv: tagged_recvv, recvmsg: tagged_recvmsg,
  send: tagged_send, sendv: tagged_sendv, sendmsg: tagged_sendmsg, inject: tagged_inject,
  senddata: tagged_senddata, injectdata: tagged_injectdata)
