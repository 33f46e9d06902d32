import CFabric
import Native
import Provider
import Synchronization

/// Data as text in one buffer of the library, which the next call overwrites: for one thread at a time. NULL without
/// data, or without memory for the buffer.
///
/// Man page: fi_tostr(3)
@c @implementation public func fi_tostr(
  _ data: UnsafeRawPointer!, _ datatype: fi_type
) -> UnsafeMutablePointer<CChar>! {
  if let native = Delegation.everything { return native.pointee.fi_tostr(data, datatype) }
  return fi_tostr_r(sharedBuffer, sharedBufferSize, data, datatype)
}

/// Data as text in `buf`, cut to `len` bytes with the terminator. Returns `buf`; NULL without data, buffer or length.
/// Any thread.
///
/// Man page: fi_tostr(3)
@c @implementation public func fi_tostr_r(
  _ buf: UnsafeMutablePointer<CChar>!, _ len: Int, _ data: UnsafeRawPointer!, _ datatype: fi_type
) -> UnsafeMutablePointer<CChar>! {
  if let call = Delegation.everything?.pointee.fi_tostr_r { return call(buf, len, data, datatype) }
  guard let buf, len != 0, let data else { return nil }
  // Longer than any text; also keeps a length of SIZE_MAX from looking negative.
  let capacity = len < 0 ? Int(Int32.max) : len
  var text = TextWriter(buffer: buf, capacity: capacity)
  if !text.append(value: data, datatype) && !text.append(flags: data, datatype) {
    var structure = StructureText(text)
    if !structure.append(structure: data, datatype) {
      text.append("Unknown type")
    }
  }
  return buf
}

private let sharedBufferSize = 8192

/// Made by the first call and never given back.
private nonisolated(unsafe) let sharedBuffer = UnsafeMutablePointer<CChar>.allocate(capacity: sharedBufferSize)

extension TextWriter {
  /// Writes a value of an enumerated type; false if the type is another one.
  fileprivate mutating func append(value data: UnsafeRawPointer, _ type: fi_type) -> Bool {
    // Only a type that is known says how much there is to read; for FI_TYPE_VERSION it is nothing.
    if type == FI_TYPE_VERSION {
      append("2.6.0")
      return true
    }
    let names: (Int) -> StaticString?
    switch type {
    case FI_TYPE_EP_TYPE: names = ConstantName.endpointType
    case FI_TYPE_ADDR_FORMAT: names = ConstantName.addressFormat
    case FI_TYPE_THREADING: names = ConstantName.threading
    case FI_TYPE_PROGRESS: names = ConstantName.progress
    case FI_TYPE_PROTOCOL: names = ConstantName.endpointProtocol
    case FI_TYPE_AV_TYPE: names = ConstantName.addressVectorType
    case FI_TYPE_ATOMIC_TYPE: names = ConstantName.datatype
    case FI_TYPE_ATOMIC_OP: names = ConstantName.atomicOperation
    case FI_TYPE_EQ_EVENT: names = ConstantName.event
    case FI_TYPE_OP_TYPE: names = ConstantName.deferredOperation
    case FI_TYPE_COLLECTIVE_OP: names = ConstantName.collective
    case FI_TYPE_HMEM_IFACE: names = ConstantName.memoryInterface
    case FI_TYPE_CQ_FORMAT: names = ConstantName.completionFormat
    case FI_TYPE_LOG_LEVEL: names = { Log.name(level: UInt32($0)) }
    case FI_TYPE_LOG_SUBSYS: names = { Log.name(subsystem: UInt32($0)) }
    case FI_TYPE_CQ_WAIT_COND: names = ConstantName.waitCondition
    case FI_TYPE_WAIT_OBJ: names = ConstantName.waitObject
    default: return false
    }
    append(names(Int(data.loadUnaligned(as: UInt32.self))) ?? "Unknown")
    return true
  }

  /// Writes a set of flags; false if the type is another one.
  fileprivate mutating func append(flags data: UnsafeRawPointer, _ type: fi_type) -> Bool {
    if type == FI_TYPE_MR_MODE {
      append(flags: UInt64(data.loadUnaligned(as: UInt32.self)), FlagName.memoryMode)
      return true
    }
    let names: (Int) -> NamedFlag?
    switch type {
    case FI_TYPE_CAPS: names = FlagName.capability
    case FI_TYPE_OP_FLAGS: names = FlagName.operationFlag
    case FI_TYPE_MSG_ORDER: names = FlagName.messageOrder
    case FI_TYPE_MODE: names = FlagName.mode
    case FI_TYPE_CQ_EVENT_FLAGS: names = FlagName.completionFlag
    default: return false
    }
    append(flags: data.loadUnaligned(as: UInt64.self), names)
    return true
  }
}

extension StructureText {
  /// Writes a structure or an object; false if the type is another one.
  fileprivate mutating func append(structure data: UnsafeRawPointer, _ type: fi_type) -> Bool {
    switch type {
    case FI_TYPE_INFO:
      let given = data.assumingMemoryBound(to: fi_info.self)
      if let library = Delegation.library(laidOut: given) {
        library.sizes.widen(given) { info($0!) }
      } else {
        info(given)
      }
    case FI_TYPE_TX_ATTR: transmit(data.assumingMemoryBound(to: fi_tx_attr.self))
    case FI_TYPE_RX_ATTR: receive(data.assumingMemoryBound(to: fi_rx_attr.self))
    case FI_TYPE_EP_ATTR: endpoint(data.assumingMemoryBound(to: fi_ep_attr.self))
    case FI_TYPE_DOMAIN_ATTR: domain(data.assumingMemoryBound(to: fi_domain_attr.self))
    case FI_TYPE_FABRIC_ATTR: fabric(data.assumingMemoryBound(to: fi_fabric_attr.self))
    case FI_TYPE_AV_ATTR: addressVector(data.assumingMemoryBound(to: fi_av_attr.self))
    case FI_TYPE_CQ_ATTR: completionQueue(data.assumingMemoryBound(to: fi_cq_attr.self))
    case FI_TYPE_MR_ATTR: memoryRegion(data.assumingMemoryBound(to: fi_mr_attr.self))
    case FI_TYPE_CNTR_ATTR: counter(data.assumingMemoryBound(to: fi_cntr_attr.self))
    case FI_TYPE_CQ_ERR_ENTRY: completionError(data.assumingMemoryBound(to: fi_cq_err_entry.self))
    case FI_TYPE_FID: object("fid: ", UnsafeMutablePointer(mutating: data.assumingMemoryBound(to: fid.self)))
    default: return false
    }
    return true
  }
}
