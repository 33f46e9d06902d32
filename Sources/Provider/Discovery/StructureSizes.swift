import CFabric
import CPlatform

/// How much of each structure there is in an older symbol version: of a program that was linked with it, or of a native
/// library that has no newer one.
///
/// Structures only ever grew at their end. What comes from an older version is widened: a copy with the new fields zero,
/// made from not one byte more than the older structures have.
package struct StructureSizes {
  let info: Int
  let transmit: Int
  let endpoint: Int
  let domain: Int
  let fabric: Int

  package static var version1_0: StructureSizes {
    StructureSizes(
      info: Int(LFP_INFO_SIZE_1_0), transmit: Int(LFP_TX_ATTR_SIZE_1_0), endpoint: Int(LFP_EP_ATTR_SIZE_1_0),
      domain: Int(LFP_DOMAIN_ATTR_SIZE_1_0), fabric: Int(LFP_FABRIC_ATTR_SIZE_1_0))
  }
  package static var version1_1: StructureSizes {
    since1_1(
      info: Int(LFP_INFO_SIZE_1_0), transmit: Int(LFP_TX_ATTR_SIZE_1_0), domain: Int(LFP_DOMAIN_ATTR_SIZE_1_1))
  }
  package static var version1_2: StructureSizes {
    since1_1(transmit: Int(LFP_TX_ATTR_SIZE_1_0), domain: Int(LFP_DOMAIN_ATTR_SIZE_1_1))
  }
  package static var version1_3: StructureSizes { since1_1(domain: Int(LFP_DOMAIN_ATTR_SIZE_1_3)) }
  package static var version1_7: StructureSizes { since1_1(domain: Int(LFP_DOMAIN_ATTR_SIZE_1_7)) }
  package static var version1_8: StructureSizes { since1_1(domain: Int(LFP_DOMAIN_ATTR_SIZE_1_8)) }
  package static var version1_9: StructureSizes { since1_1(domain: Int(LFP_DOMAIN_ATTR_SIZE_1_9)) }
  package static var version1_10: StructureSizes {
    since1_1(endpoint: MemoryLayout<fi_ep_attr>.size, domain: MemoryLayout<fi_domain_attr>.size)
  }

  /// The newest fi_getinfo of a loaded libfabric that is known here, and the sizes of what that returns; nil for one
  /// before 1.9. Nothing else of it is needed to tell: what a library calls itself may lag behind what it has.
  package static func newest(
    of library: UnsafeMutableRawPointer
  ) -> (getInfo: UnsafeMutableRawPointer, sizes: StructureSizes)? {
    let nodes: [(StaticString, StructureSizes)] = [
      ("FABRIC_1.10", .version1_10), ("FABRIC_1.9", .version1_9), ("FABRIC_1.8", .version1_8),
      ("FABRIC_1.7", .version1_7), ("FABRIC_1.3", .version1_3),
    ]
    for (node, sizes) in nodes {
      if let found = platform_library_symbol(library, "fi_getinfo", node.text) { return (found, sizes) }
    }
    return nil
  }

  private static func since1_1(
    info: Int = MemoryLayout<fi_info>.size, transmit: Int = MemoryLayout<fi_tx_attr>.size,
    endpoint: Int = Int(LFP_EP_ATTR_SIZE_1_1), domain: Int
  ) -> StructureSizes {
    StructureSizes(
      info: info, transmit: transmit, endpoint: endpoint, domain: domain, fabric: MemoryLayout<fi_fabric_attr>.size)
  }

  /// Calls `body` with the newest form of `old`. What the structures point to (names, addresses, keys) stays whose it
  /// is; `next` is not followed.
  package func widen<Result>(_ old: UnsafePointer<fi_info>?, _ body: (UnsafePointer<fi_info>?) -> Result) -> Result {
    guard let old else { return body(nil) }
    return withUnsafeTemporaryAllocation(of: Widened.self, capacity: 1) { memory in
      let copy = memory.baseAddress!
      widen(old, into: copy)
      return body(&copy.pointee.info)
    }
  }

  /// Not inlined: all versions of several functions need it.
  @inline(never)
  private func widen(_ old: UnsafePointer<fi_info>, into copy: UnsafeMutablePointer<Widened>) {
    copy.initialize(to: Widened())
    Self.copyPrefix(of: old, size: info, to: &copy.pointee.info)
    copy.pointee.info.next = nil
    let pointers = copy.pointee.info
    copy.pointee.info.tx_attr = Self.copyPrefix(of: pointers.tx_attr, size: transmit, to: &copy.pointee.transmit)
    copy.pointee.info.ep_attr = Self.copyPrefix(of: pointers.ep_attr, size: endpoint, to: &copy.pointee.endpoint)
    copy.pointee.info.domain_attr = Self.copyPrefix(of: pointers.domain_attr, size: domain, to: &copy.pointee.domain)
    copy.pointee.info.fabric_attr = Self.copyPrefix(of: pointers.fabric_attr, size: fabric, to: &copy.pointee.fabric)
  }

  private struct Widened {
    var info = fi_info()
    var transmit = fi_tx_attr()
    var endpoint = fi_ep_attr()
    var domain = fi_domain_attr()
    var fabric = fi_fabric_attr()
  }

  /// Copies `size` bytes of `old` and returns where they are now, or nil for nil.
  @discardableResult
  private static func copyPrefix<Value>(
    of old: UnsafePointer<Value>?, size: Int, to new: UnsafeMutablePointer<Value>
  ) -> UnsafeMutablePointer<Value>? {
    guard let old else { return nil }
    UnsafeMutableRawPointer(new).copyMemory(from: old, byteCount: size)
    return new
  }

  @discardableResult
  private static func copyPrefix<Value>(
    of old: UnsafeMutablePointer<Value>?, size: Int, to new: UnsafeMutablePointer<Value>
  ) -> UnsafeMutablePointer<Value>? {
    copyPrefix(of: old.map { UnsafePointer($0) }, size: size, to: new)
  }
}
