import CFabric
import CPlatform
import Datagram

/// Memory of `fi_info` structures. It is C memory throughout, because programs replace strings and addresses in them by
/// their own malloc(3)ed ones and give whole lists back to fi_freeinfo.
///
/// Any thread; a structure belongs to its owner.
///
/// Man page: fi_getinfo(3)
package enum InfoMemory {
  /// A zeroed structure with all five attribute structures. Throws ``FabricError/noMemory``.
  package static func allocate() throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    let info = try zeroed(fi_info.self)
    do {
      info.pointee.tx_attr = try zeroed(fi_tx_attr.self)
      info.pointee.rx_attr = try zeroed(fi_rx_attr.self)
      info.pointee.ep_attr = try zeroed(fi_ep_attr.self)
      info.pointee.domain_attr = try zeroed(fi_domain_attr.self)
      info.pointee.fabric_attr = try zeroed(fi_fabric_attr.self)
      return info
    } catch {
      free(info)
      throw error
    }
  }

  /// A deep copy of one structure, not of those linked to it. `handle` and open objects are copied as values.
  /// Throws ``FabricError/noMemory``, or what the network interface's description answers to FI_DUP.
  package static func duplicate(_ info: UnsafePointer<fi_info>) throws(FabricError) -> UnsafeMutablePointer<fi_info> {
    let source = info.pointee
    let copy = try zeroed(fi_info.self)
    copy.pointee.caps = source.caps
    copy.pointee.mode = source.mode
    copy.pointee.addr_format = source.addr_format
    copy.pointee.handle = source.handle
    do {
      copy.pointee.src_addr = try bytes(source.src_addr, source.src_addrlen)
      copy.pointee.src_addrlen = source.src_addrlen
      copy.pointee.dest_addr = try bytes(source.dest_addr, source.dest_addrlen)
      copy.pointee.dest_addrlen = source.dest_addrlen
      copy.pointee.tx_attr = try structure(source.tx_attr)
      copy.pointee.rx_attr = try structure(source.rx_attr)
      copy.pointee.ep_attr = try endpointAttributes(source.ep_attr)
      copy.pointee.domain_attr = try domainAttributes(source.domain_attr)
      copy.pointee.fabric_attr = try fabricAttributes(source.fabric_attr)
      copy.pointee.nic = try interface(source.nic)
      return copy
    } catch {
      free(copy)
      throw error
    }
  }

  /// Gives back a list of structures; nil is allowed.
  package static func free(_ list: UnsafeMutablePointer<fi_info>?) {
    var next = list
    while let info = next {
      next = info.pointee.next
      release(info.pointee.src_addr)
      release(info.pointee.dest_addr)
      release(info.pointee.tx_attr)
      release(info.pointee.rx_attr)
      if let attributes = info.pointee.ep_attr {
        release(attributes.pointee.auth_key)
        release(attributes)
      }
      if let attributes = info.pointee.domain_attr {
        release(attributes.pointee.auth_key)
        release(attributes.pointee.name)
        release(attributes)
      }
      if let attributes = info.pointee.fabric_attr {
        release(attributes.pointee.name)
        release(attributes.pointee.prov_name)
        release(attributes)
      }
      if let nic = info.pointee.nic, let ops = nic.pointee.fid.ops, let close = ops.pointee.close {
        _ = nic.withMemoryRebound(to: fid.self, capacity: 1) { close($0) }
      }
      release(info)
    }
  }

  /// Takes the providers' names from a list.
  package static func removeProviderNames(_ list: UnsafeMutablePointer<fi_info>) {
    var next: UnsafeMutablePointer<fi_info>? = list
    while let info = next {
      next = info.pointee.next
      release(info.pointee.fabric_attr.pointee.prov_name)
      info.pointee.fabric_attr.pointee.prov_name = nil
    }
  }

  /// A copy of a C string, or nil for nil. Throws ``FabricError/noMemory``.
  package static func string(_ text: CString?) throws(FabricError) -> UnsafeMutablePointer<CChar>? {
    guard let text else { return nil }
    guard let copy = strdup(text) else { throw .noMemory }
    return copy
  }

  /// A copy of `count` bytes, or nil for none. Throws ``FabricError/noMemory``.
  package static func bytes(_ source: UnsafeRawPointer?, _ count: Int) throws(FabricError) -> UnsafeMutableRawPointer? {
    guard let source, count > 0 else { return nil }
    guard let copy = malloc(count) else { throw .noMemory }
    copy.copyMemory(from: source, byteCount: count)
    return copy
  }

  /// Replaces the addresses, and their format. Throws ``FabricError/noMemory``, having changed none or the first.
  package static func setAddresses(
    _ info: UnsafeMutablePointer<fi_info>, source: SocketAddress, destination: SocketAddress
  ) throws(FabricError) {
    let from = try AddressFormat.sockaddr(source)
    release(info.pointee.src_addr)
    info.pointee.src_addr = from.memory
    info.pointee.src_addrlen = from.length
    let to = try AddressFormat.sockaddr(destination)
    release(info.pointee.dest_addr)
    info.pointee.dest_addr = to.memory
    info.pointee.dest_addrlen = to.length
    info.pointee.addr_format = AddressFormat.format(source.family)
  }

  // MARK: Parts

  private static func zeroed<Value>(_ type: Value.Type) throws(FabricError) -> UnsafeMutablePointer<Value> {
    guard let memory = calloc(1, MemoryLayout<Value>.stride) else { throw .noMemory }
    return memory.bindMemory(to: Value.self, capacity: 1)
  }

  private static func structure<Value>(
    _ source: UnsafeMutablePointer<Value>?
  ) throws(FabricError) -> UnsafeMutablePointer<Value>? {
    guard let source else { return nil }
    let copy = try zeroed(Value.self)
    copy.pointee = source.pointee
    return copy
  }

  // Each copies the structure first and clears what it points to, so that giving up half-way frees nothing twice.

  private static func endpointAttributes(
    _ source: UnsafeMutablePointer<fi_ep_attr>?
  ) throws(FabricError) -> UnsafeMutablePointer<fi_ep_attr>? {
    guard let source, let copy = try structure(source) else { return nil }
    copy.pointee.auth_key = nil
    do {
      copy.pointee.auth_key = try key(source.pointee.auth_key, source.pointee.auth_key_size)
      return copy
    } catch {
      release(copy)
      throw error
    }
  }

  private static func domainAttributes(
    _ source: UnsafeMutablePointer<fi_domain_attr>?
  ) throws(FabricError) -> UnsafeMutablePointer<fi_domain_attr>? {
    guard let source, let copy = try structure(source) else { return nil }
    copy.pointee.name = nil
    copy.pointee.auth_key = nil
    do {
      copy.pointee.name = try string(source.pointee.name)
      copy.pointee.auth_key = try key(source.pointee.auth_key, source.pointee.auth_key_size)
      return copy
    } catch {
      release(copy.pointee.name)
      release(copy)
      throw error
    }
  }

  private static func fabricAttributes(
    _ source: UnsafeMutablePointer<fi_fabric_attr>?
  ) throws(FabricError) -> UnsafeMutablePointer<fi_fabric_attr>? {
    guard let source, let copy = try structure(source) else { return nil }
    copy.pointee.name = nil
    copy.pointee.prov_name = nil
    do {
      copy.pointee.name = try string(source.pointee.name)
      copy.pointee.prov_name = try string(source.pointee.prov_name)
      return copy
    } catch {
      release(copy.pointee.name)
      release(copy)
      throw error
    }
  }

  /// A copy of an authorization key, or nil for none. SIZE_MAX is FI_AV_AUTH_KEY, a mark and no size.
  package static func key(
    _ source: UnsafeMutablePointer<UInt8>?, _ size: Int
  ) throws(FabricError) -> UnsafeMutablePointer<UInt8>? {
    guard size != Capabilities.unlimited else { return nil }
    return try bytes(source, size)?.assumingMemoryBound(to: UInt8.self)
  }

  /// A copy of the description of a network interface that its own provider makes; without one, nil.
  private static func interface(
    _ source: UnsafeMutablePointer<fid_nic>?
  ) throws(FabricError) -> UnsafeMutablePointer<fid_nic>? {
    guard let source, let ops = source.pointee.fid.ops, let control = ops.pointee.control else { return nil }
    var copy: UnsafeMutablePointer<fid_nic>?
    let result = source.withMemoryRebound(to: fid.self, capacity: 1) { control($0, Int32(FI_DUP), &copy) }
    if result == -FI_ENOSYS { return nil }
    if result != 0 { throw FabricError(code: -result) }
    return copy
  }

  private static func release<Value>(_ memory: UnsafeMutablePointer<Value>?) { CPlatform.free(memory) }
  private static func release(_ memory: UnsafeMutableRawPointer?) { CPlatform.free(memory) }
}
