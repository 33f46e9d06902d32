import CFabric
import CPlatform
import Provider

// Calls without flags on handles whose default flags hold FI_TRIGGER, such as aliases: fi_trigger(3), fi_ep_alias. Each
// becomes the call with flags in the handle's own tables, with its defaults: what is to wait waits, and the direction that
// defers nothing goes on as it would.

private func tables(_ ep: UnsafeMutablePointer<fid_ep>?) -> lfp_tables { endpointHandle(ep).pointee.tables }

/// Calls `body` with one piece of memory.
private func withBuffer(
  _ buffer: UnsafeRawPointer?, _ length: Int, _ body: (UnsafePointer<iovec>) -> Int
) -> Int {
  withUnsafePointer(to: iovec(iov_base: UnsafeMutableRawPointer(mutating: buffer), iov_len: length), body)
}

/// Whether what is injected would have to wait, for which it has no context. The other direction defers nothing of it.
private func refusesInjection(_ ep: UnsafeMutablePointer<fid_ep>?) -> Bool {
  guard endpointHandle(ep).pointee.transmit_flags & FI_TRIGGER != 0 else { return false }
  _ = FabricError.invalidArgument.because(.endpointData, "what is injected waits for nothing", in: "fi_inject")
  return true
}

private var refused: Int { Int(-FI_EINVAL) }

// MARK: Messages

private func send(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ dest_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?, data: UInt64 = 0, flags: UInt64 = 0
) -> Int {
  var msg = fi_msg(msg_iov: iov, desc: nil, iov_count: count, addr: dest_addr, context: context, data: data)
  return tables(ep).msg.pointee.sendmsg(ep, &msg, endpointHandle(ep).pointee.transmit_flags | flags)
}

private func receive(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ src_addr: fi_addr_t,
  _ context: UnsafeMutableRawPointer?
) -> Int {
  var msg = fi_msg(msg_iov: iov, desc: nil, iov_count: count, addr: src_addr, context: context, data: 0)
  return tables(ep).msg.pointee.recvmsg(ep, &msg, endpointHandle(ep).pointee.receive_flags)
}

nonisolated(unsafe) var deferringMessageOps = fi_ops_msg(
  size: MemoryLayout<fi_ops_msg>.size,
  recv: { ep, buf, len, _, source, context in withBuffer(buf, len) { receive(ep, $0, 1, source, context) } },
  recvv: { ep, iov, _, count, source, context in receive(ep, iov, count, source, context) },
  recvmsg: { ep, msg, flags in tables(ep).msg.pointee.recvmsg(ep, msg, flags) },
  send: { ep, buf, len, _, peer, context in withBuffer(buf, len) { send(ep, $0, 1, peer, context) } },
  sendv: { ep, iov, _, count, peer, context in send(ep, iov, count, peer, context) },
  sendmsg: { ep, msg, flags in tables(ep).msg.pointee.sendmsg(ep, msg, flags) },
  inject: { ep, buf, len, peer in
    refusesInjection(ep) ? refused : tables(ep).msg.pointee.inject(ep, buf, len, peer)
  },
  senddata: { ep, buf, len, _, data, peer, context in
    withBuffer(buf, len) { send(ep, $0, 1, peer, context, data: data, flags: FI_REMOTE_CQ_DATA) }
  },
  injectdata: { ep, buf, len, data, peer in
    refusesInjection(ep) ? refused : tables(ep).msg.pointee.injectdata(ep, buf, len, data, peer)
  })

// MARK: Tagged messages

private func sendTagged(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ dest_addr: fi_addr_t,
  _ tag: UInt64, _ context: UnsafeMutableRawPointer?, data: UInt64 = 0, flags: UInt64 = 0
) -> Int {
  var msg = fi_msg_tagged(
    msg_iov: iov, desc: nil, iov_count: count, addr: dest_addr, tag: tag, ignore: 0, context: context, data: data)
  return tables(ep).tagged.pointee.sendmsg(ep, &msg, endpointHandle(ep).pointee.transmit_flags | flags)
}

private func receiveTagged(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ src_addr: fi_addr_t,
  _ tag: UInt64, _ ignore: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  var msg = fi_msg_tagged(
    msg_iov: iov, desc: nil, iov_count: count, addr: src_addr, tag: tag, ignore: ignore, context: context, data: 0)
  let hasReceiver = endpointHandle(ep).pointee.receiver != nil
  let flags = hasReceiver ? withReceiver(ep) { $0.taggedFlags($1.flags) } : 0
  return tables(ep).tagged.pointee.recvmsg(ep, &msg, flags)
}

nonisolated(unsafe) var deferringTaggedOps = fi_ops_tagged(
  size: MemoryLayout<fi_ops_tagged>.size,
  recv: { ep, buf, len, _, source, tag, ignore, context in
    withBuffer(buf, len) { receiveTagged(ep, $0, 1, source, tag, ignore, context) }
  },
  recvv: { ep, iov, _, count, source, tag, ignore, context in
    receiveTagged(ep, iov, count, source, tag, ignore, context)
  },
  recvmsg: { ep, msg, flags in tables(ep).tagged.pointee.recvmsg(ep, msg, flags) },
  send: { ep, buf, len, _, peer, tag, context in
    withBuffer(buf, len) { sendTagged(ep, $0, 1, peer, tag, context) }
  },
  sendv: { ep, iov, _, count, peer, tag, context in sendTagged(ep, iov, count, peer, tag, context) },
  sendmsg: { ep, msg, flags in tables(ep).tagged.pointee.sendmsg(ep, msg, flags) },
  inject: { ep, buf, len, peer, tag in
    refusesInjection(ep) ? refused : tables(ep).tagged.pointee.inject(ep, buf, len, peer, tag)
  },
  senddata: { ep, buf, len, _, data, peer, tag, context in
    withBuffer(buf, len) { sendTagged(ep, $0, 1, peer, tag, context, data: data, flags: FI_REMOTE_CQ_DATA) }
  },
  injectdata: { ep, buf, len, data, peer, tag in
    refusesInjection(ep) ? refused : tables(ep).tagged.pointee.injectdata(ep, buf, len, data, peer, tag)
  })

// MARK: Remote memory

/// Accesses contiguous remote memory, as long as the local pieces, by the table's slot `call`.
private func access(
  _ call: (UnsafeMutablePointer<fid_ep>?, UnsafePointer<fi_msg_rma>?, UInt64) -> Int,
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ peer: fi_addr_t, _ addr: UInt64,
  _ key: UInt64, _ context: UnsafeMutableRawPointer?, data: UInt64 = 0, flags: UInt64 = 0
) -> Int {
  guard count == 0 || isVector(iov, count, Capabilities.iovLimit) else { return refused }
  let length = count == 0 ? 0 : pieces(iov, count).length
  return withUnsafePointer(to: fi_rma_iov(addr: addr, len: length, key: key)) { remote in
    var msg = fi_msg_rma(
      msg_iov: iov, desc: nil, iov_count: count, addr: peer, rma_iov: remote, rma_iov_count: 1, context: context,
      data: data)
    return call(ep, &msg, endpointHandle(ep).pointee.transmit_flags | flags)
  }
}

private func read(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ src_addr: fi_addr_t,
  _ addr: UInt64, _ key: UInt64, _ context: UnsafeMutableRawPointer?
) -> Int {
  access(tables(ep).rma.pointee.readmsg, ep, iov, count, src_addr, addr, key, context)
}

private func write(
  _ ep: UnsafeMutablePointer<fid_ep>?, _ iov: UnsafePointer<iovec>?, _ count: Int, _ dest_addr: fi_addr_t,
  _ addr: UInt64, _ key: UInt64, _ context: UnsafeMutableRawPointer?, data: UInt64 = 0, flags: UInt64 = 0
) -> Int {
  access(
    tables(ep).rma.pointee.writemsg, ep, iov, count, dest_addr, addr, key, context, data: data, flags: flags)
}

nonisolated(unsafe) var deferringRemoteMemoryOps = fi_ops_rma(
  size: MemoryLayout<fi_ops_rma>.size,
  read: { ep, buf, len, _, peer, addr, key, context in
    withBuffer(buf, len) { read(ep, $0, 1, peer, addr, key, context) }
  },
  readv: { ep, iov, _, count, peer, addr, key, context in read(ep, iov, count, peer, addr, key, context) },
  readmsg: { ep, msg, flags in tables(ep).rma.pointee.readmsg(ep, msg, flags) },
  write: { ep, buf, len, _, peer, addr, key, context in
    withBuffer(buf, len) { write(ep, $0, 1, peer, addr, key, context) }
  },
  writev: { ep, iov, _, count, peer, addr, key, context in write(ep, iov, count, peer, addr, key, context) },
  writemsg: { ep, msg, flags in tables(ep).rma.pointee.writemsg(ep, msg, flags) },
  inject: { ep, buf, len, peer, addr, key in
    refusesInjection(ep) ? refused : tables(ep).rma.pointee.inject(ep, buf, len, peer, addr, key)
  },
  writedata: { ep, buf, len, _, data, peer, addr, key, context in
    withBuffer(buf, len) {
      write(ep, $0, 1, peer, addr, key, context, data: data, flags: FI_REMOTE_CQ_DATA)
    }
  },
  injectdata: { ep, buf, len, data, peer, addr, key in
    refusesInjection(ep) ? refused : tables(ep).rma.pointee.injectdata(ep, buf, len, data, peer, addr, key)
  })
