import CFabric
import Provider

/// Writes structures as fi_tostr prints them: a line for the structure, an indented line for each field.
struct StructureText {
  var text: TextWriter
  /// Spaces before a structure's name; its fields stand four further in.
  private var indentation = 0

  init(_ text: TextWriter) { self.text = text }

  // MARK: Structures

  mutating func info(_ info: UnsafePointer<fi_info>) {
    text.append("fi_info:\n")
    flags("caps", info.pointee.caps, FlagName.capability)
    flags("mode", info.pointee.mode, FlagName.mode)
    constant("addr_format", Int(info.pointee.addr_format), ConstantName.addressFormat)
    number("src_addrlen", info.pointee.src_addrlen)
    number("dest_addrlen", info.pointee.dest_addrlen)
    address("src_addr", info.pointee.src_addr, info.pointee.addr_format)
    address("dest_addr", info.pointee.dest_addr, info.pointee.addr_format)
    object("    handle: ", info.pointee.handle)
    indentation = 4
    transmit(info.pointee.tx_attr)
    receive(info.pointee.rx_attr)
    endpoint(info.pointee.ep_attr)
    domain(info.pointee.domain_attr)
    fabric(info.pointee.fabric_attr)
    indentation = 0
    object("    nic: ", UnsafeMutableRawPointer(info.pointee.nic)?.assumingMemoryBound(to: fid.self))
  }

  mutating func transmit(_ attributes: UnsafePointer<fi_tx_attr>?) {
    guard let attributes = open("fi_tx_attr", attributes) else { return }
    flags("caps", attributes.pointee.caps, FlagName.capability)
    flags("mode", attributes.pointee.mode, FlagName.mode)
    flags("op_flags", attributes.pointee.op_flags, FlagName.operationFlag)
    flags("msg_order", attributes.pointee.msg_order, FlagName.messageOrder)
    number("inject_size", attributes.pointee.inject_size)
    number("size", attributes.pointee.size)
    number("iov_limit", attributes.pointee.iov_limit)
    number("rma_iov_limit", attributes.pointee.rma_iov_limit)
    hexadecimal("tclass", UInt64(attributes.pointee.tclass))
  }

  mutating func receive(_ attributes: UnsafePointer<fi_rx_attr>?) {
    guard let attributes = open("fi_rx_attr", attributes) else { return }
    flags("caps", attributes.pointee.caps, FlagName.capability)
    flags("mode", attributes.pointee.mode, FlagName.mode)
    flags("op_flags", attributes.pointee.op_flags, FlagName.operationFlag)
    flags("msg_order", attributes.pointee.msg_order, FlagName.messageOrder)
    number("size", attributes.pointee.size)
    number("iov_limit", attributes.pointee.iov_limit)
  }

  mutating func endpoint(_ attributes: UnsafePointer<fi_ep_attr>?) {
    guard let attributes = open("fi_ep_attr", attributes) else { return }
    constant("type", Int(attributes.pointee.type.rawValue), ConstantName.endpointType)
    constant("protocol", Int(attributes.pointee.protocol), ConstantName.endpointProtocol)
    number("protocol_version", Int(attributes.pointee.protocol_version))
    number("max_msg_size", attributes.pointee.max_msg_size)
    number("msg_prefix_size", attributes.pointee.msg_prefix_size)
    number("max_order_raw_size", attributes.pointee.max_order_raw_size)
    number("max_order_war_size", attributes.pointee.max_order_war_size)
    number("max_order_waw_size", attributes.pointee.max_order_waw_size)
    hexadecimal("mem_tag_format", attributes.pointee.mem_tag_format, digits: 16)
    contexts("tx_ctx_cnt", attributes.pointee.tx_ctx_cnt)
    contexts("rx_ctx_cnt", attributes.pointee.rx_ctx_cnt)
    number("auth_key_size", attributes.pointee.auth_key_size)
  }

  mutating func domain(_ attributes: UnsafePointer<fi_domain_attr>?) {
    guard let attributes = open("fi_domain_attr", attributes) else { return }
    pointer("domain", attributes.pointee.domain)
    string("name", attributes.pointee.name)
    constant("threading", Int(attributes.pointee.threading.rawValue), ConstantName.threading)
    constant("progress", Int(attributes.pointee.progress.rawValue), ConstantName.progress)
    constant("resource_mgmt", Int(attributes.pointee.resource_mgmt.rawValue), ConstantName.resourceManagement)
    constant("av_type", Int(attributes.pointee.av_type.rawValue), ConstantName.addressVectorType)
    flags("mr_mode", UInt64(UInt32(bitPattern: attributes.pointee.mr_mode)), FlagName.memoryMode)
    number("mr_key_size", attributes.pointee.mr_key_size)
    number("cq_data_size", attributes.pointee.cq_data_size)
    number("cq_cnt", attributes.pointee.cq_cnt)
    number("ep_cnt", attributes.pointee.ep_cnt)
    number("tx_ctx_cnt", attributes.pointee.tx_ctx_cnt)
    number("rx_ctx_cnt", attributes.pointee.rx_ctx_cnt)
    number("max_ep_tx_ctx", attributes.pointee.max_ep_tx_ctx)
    number("max_ep_rx_ctx", attributes.pointee.max_ep_rx_ctx)
    number("max_ep_stx_ctx", attributes.pointee.max_ep_stx_ctx)
    number("max_ep_srx_ctx", attributes.pointee.max_ep_srx_ctx)
    number("cntr_cnt", attributes.pointee.cntr_cnt)
    number("mr_iov_limit", attributes.pointee.mr_iov_limit)
    flags("caps", attributes.pointee.caps, FlagName.capability)
    flags("mode", attributes.pointee.mode, FlagName.mode)
    number("auth_key_size", attributes.pointee.auth_key_size)
    number("max_err_data", attributes.pointee.max_err_data)
    number("mr_cnt", attributes.pointee.mr_cnt)
    hexadecimal("tclass", UInt64(attributes.pointee.tclass))
    number("max_ep_auth_key", attributes.pointee.max_ep_auth_key)
    number("max_group_id", Int(attributes.pointee.max_group_id))
    number("max_cntr_value", Int(bitPattern: UInt(attributes.pointee.max_cntr_value)))
    number("max_err_cntr_value", Int(bitPattern: UInt(attributes.pointee.max_err_cntr_value)))
  }

  mutating func fabric(_ attributes: UnsafePointer<fi_fabric_attr>?) {
    guard let attributes = open("fi_fabric_attr", attributes) else { return }
    string("name", attributes.pointee.name)
    string("prov_name", attributes.pointee.prov_name)
    version("prov_version", attributes.pointee.prov_version)
    version("api_version", attributes.pointee.api_version)
  }

  mutating func addressVector(_ attributes: UnsafePointer<fi_av_attr>) {
    guard let attributes = open("fi_av_attr", attributes) else { return }
    constant("type", Int(attributes.pointee.type.rawValue), ConstantName.addressVectorType)
    number("count", attributes.pointee.count)
    number("ep_per_node", attributes.pointee.ep_per_node)
    string("name", attributes.pointee.name)
    flags("flags", attributes.pointee.flags, FlagName.addressVectorFlag)
  }

  mutating func completionQueue(_ attributes: UnsafePointer<fi_cq_attr>) {
    guard let attributes = open("fi_cq_attr", attributes) else { return }
    number("size", attributes.pointee.size)
    flags("flags", attributes.pointee.flags, FlagName.queueFlag)
    constant("format", Int(attributes.pointee.format.rawValue), ConstantName.completionFormat)
    constant("wait_obj", Int(attributes.pointee.wait_obj.rawValue), ConstantName.waitObject)
    signed("signaling_vector", attributes.pointee.signaling_vector)
    constant("wait_cond", Int(attributes.pointee.wait_cond.rawValue), ConstantName.waitCondition)
  }

  mutating func memoryRegion(_ attributes: UnsafePointer<fi_mr_attr>) {
    guard let attributes = open("fi_mr_attr", attributes) else { return }
    pointer("mr_iov", attributes.pointee.mr_iov)
    number("iov_count", attributes.pointee.iov_count)
    flags("access", attributes.pointee.access, FlagName.access)
    hexadecimal("offset", attributes.pointee.offset)
    hexadecimal("requested_key", attributes.pointee.requested_key)
    pointer("context", attributes.pointee.context)
    number("auth_key_size", attributes.pointee.auth_key_size)
    constant("iface", Int(attributes.pointee.iface.rawValue), ConstantName.memoryInterface)
  }

  mutating func counter(_ attributes: UnsafePointer<fi_cntr_attr>) {
    guard let attributes = open("fi_cntr_attr", attributes) else { return }
    constant("events", Int(attributes.pointee.events.rawValue), ConstantName.counterEvents)
    constant("wait_obj", Int(attributes.pointee.wait_obj.rawValue), ConstantName.waitObject)
    hexadecimal("flags", attributes.pointee.flags)
  }

  mutating func completionError(_ entry: UnsafePointer<fi_cq_err_entry>) {
    // Programs of before version 1.5 have a shorter entry; what they lack is the last line.
    guard let entry = open("fi_cq_err_entry", entry) else { return }
    pointer("op_context", entry.pointee.op_context)
    hexadecimal("flags", entry.pointee.flags)
    number("len", entry.pointee.len)
    pointer("buf", entry.pointee.buf)
    number("data", Int(bitPattern: UInt(entry.pointee.data)))
    hexadecimal("tag", entry.pointee.tag)
    number("olen", entry.pointee.olen)
    signed("err", entry.pointee.err)
    signed("prov_errno", entry.pointee.prov_errno)
    pointer("err_data", entry.pointee.err_data)
    number("err_data_size", entry.pointee.err_data_size)
  }

  // MARK: Fields

  /// An object: what its provider says about it, or its address.
  mutating func object(_ label: StaticString, _ object: UnsafeMutablePointer<fid>?) {
    let offsetOfToStr = 5 * MemoryLayout<UnsafeRawPointer>.stride
    if let object, let ops = object.pointee.ops, ops.pointee.size > offsetOfToStr, let describe = ops.pointee.tostr {
      let described = text.append { buffer, capacity in describe(object, buffer, capacity) == 0 }
      if described { return }
    }
    text.append(label)
    text.append(pointer: object)
    text.append("\n")
  }

  /// Writes a structure's first line. Nil, after saying so, if there is none.
  ///
  /// Fields are read one by one, as programs of older versions have shorter structures.
  private mutating func open<Value>(_ name: StaticString, _ value: UnsafePointer<Value>?) -> UnsafePointer<Value>? {
    for _ in 0..<indentation { text.append(byte: UInt8(ascii: " ")) }
    text.append(name)
    text.append(value == nil ? ": (null)\n" : ":\n")
    return value
  }

  private mutating func begin(_ name: StaticString) {
    for _ in 0..<indentation + 4 { text.append(byte: UInt8(ascii: " ")) }
    text.append(name)
    text.append(": ")
  }

  /// A size_t, which Swift imports as a signed number.
  private mutating func number(_ name: StaticString, _ value: Int) {
    begin(name)
    text.append(decimal: UInt64(UInt(bitPattern: value)))
    text.append("\n")
  }

  private mutating func signed(_ name: StaticString, _ value: Int32) {
    begin(name)
    text.append(decimal: Int64(value))
    text.append("\n")
  }

  private mutating func hexadecimal(_ name: StaticString, _ value: UInt64, digits: Int = 1) {
    begin(name)
    text.append("0x")
    text.append(hexadecimal: value, digits: digits)
    text.append("\n")
  }

  private mutating func pointer<Value>(_ name: StaticString, _ value: UnsafeMutablePointer<Value>?) {
    pointer(name, UnsafeRawPointer(value))
  }

  private mutating func pointer<Value>(_ name: StaticString, _ value: UnsafePointer<Value>?) {
    pointer(name, UnsafeRawPointer(value))
  }

  private mutating func pointer(_ name: StaticString, _ value: OpaquePointer?) {
    pointer(name, UnsafeRawPointer(value))
  }

  private mutating func pointer(_ name: StaticString, _ value: UnsafeMutableRawPointer?) {
    pointer(name, UnsafeRawPointer(value))
  }

  private mutating func pointer(_ name: StaticString, _ value: UnsafeRawPointer?) {
    begin(name)
    text.append(pointer: value)
    text.append("\n")
  }

  private mutating func string(_ name: StaticString, _ value: CString?) {
    begin(name)
    text.append(value)
    text.append("\n")
  }

  private mutating func constant(_ name: StaticString, _ value: Int, _ names: (Int) -> StaticString?) {
    begin(name)
    text.append(names(value) ?? "Unknown")
    text.append("\n")
  }

  private mutating func flags(_ name: StaticString, _ bits: UInt64, _ names: (Int) -> NamedFlag?) {
    begin(name)
    text.append("[ ")
    text.append(flags: bits, names)
    text.append(" ]\n")
  }

  private mutating func version(_ name: StaticString, _ value: UInt32) {
    begin(name)
    text.append(decimal: UInt64(APIVersion(rawValue: value).major))
    text.append(".")
    text.append(decimal: UInt64(APIVersion(rawValue: value).minor))
    text.append("\n")
  }

  /// A number of contexts, of which SIZE_MAX is a name.
  private mutating func contexts(_ name: StaticString, _ value: Int) {
    guard value == Capabilities.unlimited else { return number(name, value) }
    begin(name)
    text.append("FI_SHARED_CONTEXT\n")
  }

  private mutating func address(_ name: StaticString, _ address: UnsafeMutableRawPointer?, _ format: UInt32) {
    begin(name)
    if let address { text.append(address: address, format: format) } else { text.append("(null)") }
    text.append("\n")
  }
}

extension TextWriter {
  /// The names of all known flags in `bits`, with commas between them.
  mutating func append(flags bits: UInt64, _ names: (Int) -> NamedFlag?) {
    var position = 0
    var separator: StaticString = ""
    while let flag = names(position) {
      position += 1
      guard bits & flag.bits != 0 else { continue }
      append(separator)
      append(flag.name)
      separator = ", "
    }
  }
}
