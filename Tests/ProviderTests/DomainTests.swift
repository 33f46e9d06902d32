import CFabric
import Provider
import Testing

@Suite struct DomainTests {
  @Test func refusesWhatIsNeverOffered() throws {
    let refused: [(inout fi_info, inout fi_domain_attr) -> Void] = [
      { _, attributes in attributes.name = nil },
      { _, attributes in attributes.threading = fi_threading(rawValue: 77) },
      { _, attributes in attributes.progress = fi_progress(rawValue: 77) },
      { _, attributes in attributes.av_type = fi_av_type(rawValue: 77) },
      { _, attributes in attributes.resource_mgmt = fi_resource_mgmt(rawValue: 77) },
      { _, attributes in attributes.mr_mode = 3 },
      { _, attributes in attributes.mr_mode = 1 | 1 << 4 },
      { info, _ in info.addr_format = UInt32(FI_ADDR_STR) },
    ]
    for (index, change) in refused.enumerated() {
      #expect(throws: FabricError.invalidArgument, "\(index)") { try Objects(change: change) }
    }
  }

  @Test func refusesNamesOfNoInterface() throws {
    for name in ["no-such-interface", "", "LO"] {
      #expect(throws: FabricError.noDevice, "\(name)") {
        try name.withCString { text in
          try Objects { _, attributes in attributes.name = UnsafeMutablePointer(mutating: text) }
        }
      }
    }
  }

  @Test func resolvesWhatIsLeftOpen() throws {
    let objects = try Objects(threading: FI_THREAD_UNSPEC)
    #expect(objects.domain.threading == FI_THREAD_SAFE)
    let queue = try eventQueue(objects.fabric)
    try objects.domain.bind(queue)
    #expect(errorCode { () throws(FabricError) in try objects.domain.bind(queue) } == FI_EINVAL)
    #expect(errorCode { () throws(FabricError) in try queue.close() } == FI_EBUSY)
    #expect(errorCode { () throws(FabricError) in try objects.fabric.close() } == FI_EBUSY)
    try objects.domain.close()
    try queue.close()
    try objects.fabric.close()
  }

  @Test(arguments: [FI_THREAD_DOMAIN, FI_THREAD_COMPLETION, FI_THREAD_FID, FI_THREAD_ENDPOINT])
  func keepsTheThreadingLevel(level: fi_threading) throws {
    let objects = try Objects(threading: level)
    #expect(objects.domain.threading == level)
    try objects.close()
  }
}
