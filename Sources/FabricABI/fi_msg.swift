import CFabric
import CPlatform
import Provider
import Transport

// Messages: fi_msg(3). The tables are in use on enabled endpoints only, so the slots look at nothing but resources.

/// The handle of what has data calls: they all begin as an endpoint's does.
@inline(__always)
func endpointHandle(_ ep: UnsafeMutableRawPointer?) -> UnsafeMutablePointer<lfp_ep> {
  ep.unsafelyUnwrapped.assumingMemoryBound(to: lfp_ep.self)
}

/// Calls `body` with what posts operations behind a handle.
@inline(__always)
func withSender<Result>(_ ep: UnsafeMutablePointer<fid_ep>?, _ body: (Sender) -> Result) -> Result {
  let handle = endpointHandle(ep)
  return body(
    Sender(
      port: .fromOpaque(handle.pointee.port.unsafelyUnwrapped), number: handle.pointee.transmit_context,
      flags: handle.pointee.transmit_flags, messageFlags: handle.pointee.transmit_completion))
}

/// Flags of receives whose call takes none, and what is added to the flags of the others.
struct ReceiveFlags {
  var flags: UInt64
  var messageFlags: UInt64
}

/// Calls `body` with the receive context behind a handle, and with the flags of receives that are posted there.
@inline(__always)
func withReceiver<Result>(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ body: (ReceiveContext, ReceiveFlags) -> Result
) -> Result {
  let handle = endpointHandle(ep)
  let completion = handle.pointee.receive_completion
  let flags = ReceiveFlags(flags: handle.pointee.receive_flags | completion, messageFlags: completion)
  let receiver = Unmanaged<ReceiveContext>.fromOpaque(handle.pointee.receiver.unsafelyUnwrapped)
  return receiver._withUnsafeGuaranteedRef { body($0, flags) }
}

/// Calls `body` with one piece of memory.
@inline(__always)
func withPiece<Result>(_ buffer: UnsafeRawPointer?, _ length: Int, _ body: (Pieces) -> Result) -> Result {
  withUnsafePointer(to: Slice(base: UnsafeMutableRawPointer(mutating: buffer), count: length)) { body(Pieces($0, 1)) }
}

/// An iovec array as pieces: a `Slice` is laid out as an iovec.
@inline(__always)
func pieces(_ iov: UnsafePointer<iovec>?, _ count: Int) -> Pieces {
  Pieces(UnsafeRawPointer(iov.unsafelyUnwrapped).assumingMemoryBound(to: Slice.self), count)
}

/// Whether a vector has pieces, and no more than the endpoint takes.
@inline(__always)
func isVector(_ iov: UnsafePointer<iovec>?, _ count: Int, _ limit: Int) -> Bool {
  iov != nil && count > 0 && count <= limit
}

/// Calls `body` with the pieces of a vector; an empty one is an empty piece.
@inline(__always)
func withVector(_ iov: UnsafePointer<iovec>?, _ count: Int, limit: Int, _ body: (Pieces) -> Int) -> Int {
  withPiece(nil, 0) { empty in
    // Called in one place, since it is inlined into each slot.
    guard count == 0 || isVector(iov, count, limit) else { return Int(-FI_EINVAL) }
    return body(count == 0 ? empty : pieces(iov, count))
  }
}

@inline(__always)
func bits(_ context: UnsafeMutableRawPointer?) -> UInt { UInt(bitPattern: context) }

// MARK: Sending

private func msg_send(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ dest_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_MSG, tag: 0, data: 0, context: bits(context), flags: sender.flags)
    }
  }
}

private func msg_sendv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ dest_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withVector(iov, count, limit: sender.iovLimit) {
      sender.send(
        $0, to: dest_addr, kind: FI_MSG, tag: 0, data: 0, context: bits(context), flags: sender.flags)
    }
  }
}

private func msg_sendmsg(_ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg>?, _ flags: UInt64) -> Int {
  guard let msg, flags & FI_MULTICAST == 0 else { return Int(msg == nil ? -FI_EINVAL : notBuilt) }
  if flags & FI_TRIGGER != 0 { return trigger(.send, ep, msg.pointee, flags) }
  return withSender(ep) { sender in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, limit: sender.iovLimit) {
      sender.send(
        $0, to: msg.pointee.addr, kind: FI_MSG, tag: 0, data: msg.pointee.data, context: bits(msg.pointee.context),
        flags: flags | sender.messageFlags)
    }
  }
}

private func msg_inject(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ dest_addr: fi_addr_t
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send($0, to: dest_addr, kind: FI_MSG, tag: 0, data: 0, context: 0, flags: FI_INJECT)
    }
  }
}

private func msg_senddata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ data: UInt64, _ dest_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_MSG, tag: 0, data: data, context: bits(context),
        flags: sender.flags | FI_REMOTE_CQ_DATA)
    }
  }
}

private func msg_injectdata(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeRawPointer?, _ len: Int, _ data: UInt64, _ dest_addr: fi_addr_t
) -> Int {
  withSender(ep) { sender in
    withPiece(buf, len) {
      sender.send(
        $0, to: dest_addr, kind: FI_MSG, tag: 0, data: data, context: 0, flags: FI_INJECT | FI_REMOTE_CQ_DATA)
    }
  }
}

// MARK: Receiving

func msg_recv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ buf: UnsafeMutableRawPointer?, _ len: Int, _ desc: UnsafeMutableRawPointer?,
  _ src_addr: fi_addr_t, _ context: UnsafeMutableRawPointer?
) -> Int {
  withReceiver(ep) { receiver, defaults in
    withPiece(buf, len) {
      receiver.receive(
        $0, from: src_addr, kind: FI_MSG, tag: 0, ignore: 0, context: bits(context), flags: defaults.flags)
    }
  }
}

func msg_recvv(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?,
  _ desc: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ count: Int, _ src_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  withReceiver(ep) { receiver, defaults in
    withVector(iov, count, limit: receiver.iovLimit) {
      receiver.receive(
        $0, from: src_addr, kind: FI_MSG, tag: 0, ignore: 0, context: bits(context), flags: defaults.flags)
    }
  }
}

func msg_recvmsg(_ ep: UnsafeMutablePointer<fid_ep>?, _ msg: UnsafePointer<fi_msg>?, _ flags: UInt64) -> Int {
  guard let msg else { return Int(-FI_EINVAL) }
  if flags & FI_TRIGGER != 0 { return trigger(.receive, ep, msg.pointee, flags) }
  return withReceiver(ep) { receiver, defaults in
    withVector(msg.pointee.msg_iov, msg.pointee.iov_count, limit: receiver.iovLimit) {
      if flags & (FI_PEEK | FI_CLAIM | FI_DISCARD) != 0 {
        return receiver.receiveKept(
          $0, from: msg.pointee.addr, kind: FI_MSG, tag: 0, ignore: 0, context: bits(msg.pointee.context),
          flags: flags | defaults.messageFlags)
      }
      return receiver.receive(
        $0, from: msg.pointee.addr, kind: FI_MSG, tag: 0, ignore: 0, context: bits(msg.pointee.context),
        flags: flags | defaults.messageFlags)
    }
  }
}

// MARK: Table

nonisolated(unsafe) var messageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size, recv: msg_recv, recvv: msg_recvv, recvmsg: msg_recvmsg, send: msg_send,
  sendv: msg_sendv, sendmsg: msg_sendmsg, inject: msg_inject, senddata: msg_senddata, injectdata: msg_injectdata)
