import CFabric
import Provider
import Testing
import Transport

private var memory: RegionPieces { regionPieces([Slice(base: UnsafeMutableRawPointer(bitPattern: 0x1000), count: 64)]) }

@Suite struct MemoryRegionTests {
  @Test func localRegionsHaveNoKeyAndNeverClash() throws {
    let objects = try Objects()
    let first = try MemoryRegion(objects.domain, memory, access: FI_SEND | FI_RECV | FI_WRITE, requestedKey: 5)
    let second = try MemoryRegion(objects.domain, memory, access: FI_READ, requestedKey: 5)
    let third = try MemoryRegion(objects.domain, memory, access: FI_REMOTE_READ, requestedKey: 5)
    #expect(first.key == unavailableKey && second.key == unavailableKey && third.key == 5)
    #expect(objects.domain.regions.count == 1)
    #expect(errorCode { () throws(FabricError) in try objects.domain.close() } == FI_EBUSY)
    for region in [first, second, third] { region.close() }
    #expect(objects.domain.regions.count == 0)
    try objects.close()
  }

  @Test func followsTheModesOfBefore1_5() throws {
    let basic = try Objects(version: APIVersion(1, 4), memoryMode: 1)
    let region = try MemoryRegion(basic.domain, memory, access: FI_REMOTE_WRITE, requestedKey: 5)
    #expect(region.key != 5 && region.baseAddress == 0x1000)
    region.close()
    try basic.close()
    let scalable = try Objects(version: APIVersion(1, 4), memoryMode: 2)
    let other = try MemoryRegion(scalable.domain, memory, access: FI_REMOTE_WRITE, requestedKey: 5)
    #expect(other.key == 5 && other.baseAddress == 0)
    other.close()
    try scalable.close()
  }
}
