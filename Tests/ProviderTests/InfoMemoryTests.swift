import CFabric
import CPlatform
import Testing

@testable import Provider

@Suite struct InfoMemoryTests {
  @Test func emptyStructureHasAllAttributes() throws {
    let info = try InfoMemory.allocate()
    defer { InfoMemory.free(info) }
    #expect(info.pointee.tx_attr != nil && info.pointee.rx_attr != nil && info.pointee.ep_attr != nil)
    #expect(info.pointee.domain_attr != nil && info.pointee.fabric_attr != nil)
    let bytes = UnsafeRawBufferPointer(start: info.pointee.domain_attr, count: MemoryLayout<fi_domain_attr>.size)
    #expect(bytes.allSatisfy { $0 == 0 })
    #expect(info.pointee.next == nil && info.pointee.nic == nil && info.pointee.caps == 0)
  }

  @Test func copiesAreDeep() throws {
    let info = try InfoMemory.allocate()
    defer { InfoMemory.free(info) }
    info.pointee.caps = FI_MSG
    info.pointee.next = info
    info.pointee.handle = UnsafeMutablePointer(bitPattern: 0x1000)
    info.pointee.src_addr = UnsafeMutableRawPointer(strdup("source"))
    info.pointee.src_addrlen = 7
    info.pointee.domain_attr.pointee.name = strdup("domain")
    info.pointee.domain_attr.pointee.mr_mode = 4
    info.pointee.domain_attr.pointee.auth_key = UnsafeMutableRawPointer(strdup("key"))!.assumingMemoryBound(
      to: UInt8.self)
    info.pointee.domain_attr.pointee.auth_key_size = 4
    info.pointee.ep_attr.pointee.max_msg_size = 5
    info.pointee.fabric_attr.pointee.prov_name = strdup("provider")
    let copy = try InfoMemory.duplicate(info)
    info.pointee.next = nil
    defer { InfoMemory.free(copy) }
    #expect(copy.pointee.caps == FI_MSG && copy.pointee.next == nil && copy.pointee.handle == info.pointee.handle)
    #expect(copy.pointee.src_addr != info.pointee.src_addr && strcmp(text(copy.pointee.src_addr), "source") == 0)
    let domain = copy.pointee.domain_attr!.pointee
    #expect(domain.name != info.pointee.domain_attr.pointee.name && strcmp(domain.name, "domain") == 0)
    #expect(domain.auth_key != info.pointee.domain_attr.pointee.auth_key && domain.auth_key_size == 4)
    #expect(strcmp(text(domain.auth_key), "key") == 0 && domain.mr_mode == 4)
    #expect(copy.pointee.ep_attr.pointee.max_msg_size == 5 && copy.pointee.ep_attr.pointee.auth_key == nil)
    #expect(strcmp(copy.pointee.fabric_attr.pointee.prov_name, "provider") == 0)
    #expect(copy.pointee.fabric_attr.pointee.name == nil)
    info.pointee.handle = nil
    copy.pointee.handle = nil
  }

  @Test func missingAttributesStayMissing() throws {
    var bare = fi_info()
    bare.src_addrlen = 16
    let copy = try InfoMemory.duplicate(&bare)
    defer { InfoMemory.free(copy) }
    #expect(copy.pointee.tx_attr == nil && copy.pointee.domain_attr == nil && copy.pointee.src_addr == nil)
  }

  /// The description of a network interface is its provider's to copy and to free.
  @Test(arguments: [FI_SUCCESS, -FI_ENOSYS, -FI_ENOMEM])
  func networkInterface(result: Int32) throws {
    let nic = UnsafeMutablePointer<fid_nic>.allocate(capacity: 1)
    nic.initialize(to: fid_nic())
    var operations = fi_ops()
    operations.size = MemoryLayout<fi_ops>.size
    operations.control = { object, command, argument in
      guard command == Int32(FI_DUP) else { return -FI_EINVAL }
      let result = Int32(truncatingIfNeeded: Int(bitPattern: object!.pointee.context))
      guard result == 0 else { return result }
      let copy = UnsafeMutablePointer<fid_nic>.allocate(capacity: 1)
      copy.initialize(to: fid_nic())
      copy.pointee.fid.ops = object!.pointee.ops
      argument!.assumingMemoryBound(to: UnsafeMutablePointer<fid_nic>?.self).pointee = copy
      return 0
    }
    operations.close = { object in
      free(object)
      return 0
    }
    let table = UnsafeMutablePointer<fi_ops>.allocate(capacity: 1)
    table.initialize(to: operations)
    nic.pointee.fid.ops = table
    nic.pointee.fid.context = UnsafeMutableRawPointer(bitPattern: Int(result))
    let info = try InfoMemory.allocate()
    defer {
      InfoMemory.free(info)
      table.deallocate()
    }
    info.pointee.nic = nic
    switch result {
    case FI_SUCCESS:
      let copy = try InfoMemory.duplicate(info)
      #expect(copy.pointee.nic != nil && copy.pointee.nic != nic)
      InfoMemory.free(copy)
    case -FI_ENOSYS:
      let copy = try InfoMemory.duplicate(info)
      #expect(copy.pointee.nic == nil)
      InfoMemory.free(copy)
    default:
      #expect(throws: FabricError.noMemory) { _ = try InfoMemory.duplicate(info) }
    }
  }

  private func text(_ memory: UnsafeMutableRawPointer?) -> CString {
    CString(memory!.assumingMemoryBound(to: CChar.self))
  }
  private func text(_ memory: UnsafeMutablePointer<UInt8>?) -> CString { text(UnsafeMutableRawPointer(memory)) }
}

@Suite struct OpenInstanceTests {
  @Test func foundByNameUntilRemoved() throws {
    let fabrics = (0..<2).map { _ in UnsafeMutablePointer<fid_fabric>.allocate(capacity: 1) }
    let domain = UnsafeMutablePointer<fid_domain>.allocate(capacity: 1)
    let network = CString(strdup("198.51.100.0/24")!)
    let interface = CString(strdup("test7")!)
    for fabric in fabrics { try OpenInstances.add(fabric: fabric, name: network) }
    try OpenInstances.add(domain: domain, fabric: fabrics[1], name: interface)
    #expect(OpenInstances.fabric(named: network) == fabrics[0])
    #expect(OpenInstances.domain(named: interface, in: fabrics[0]) == nil)
    #expect(OpenInstances.domain(named: interface, in: fabrics[1]) == domain)
    #expect(OpenInstances.fabric(named: interface) == nil)
    OpenInstances.remove(fabrics[0])
    #expect(OpenInstances.fabric(named: network) == fabrics[1])
    OpenInstances.remove(domain)
    OpenInstances.remove(domain)
    OpenInstances.remove(fabrics[1])
    #expect(OpenInstances.fabric(named: network) == nil)
    #expect(OpenInstances.domain(named: interface, in: fabrics[1]) == nil)
  }

  @Test func entriesNameTheOpenFabricAndDomain() throws {
    let hints = try Hints()
    hints.set(domainName: "lo")
    let before = try Entries(hints: hints)
    #expect(before.first.fabric_attr.pointee.fabric == nil && before.first.domain_attr.pointee.domain == nil)
    let fabric = UnsafeMutablePointer<fid_fabric>.allocate(capacity: 1)
    let domain = UnsafeMutablePointer<fid_domain>.allocate(capacity: 1)
    try OpenInstances.add(fabric: fabric, name: ("127.0.0.1/32" as StaticString).text)
    try OpenInstances.add(domain: domain, fabric: fabric, name: ("lo" as StaticString).text)
    defer {
      OpenInstances.remove(domain)
      OpenInstances.remove(fabric)
    }
    let after = try Entries(hints: hints)
    #expect(after.first.fabric_attr.pointee.fabric == fabric && after.first.domain_attr.pointee.domain == domain)
  }
}
