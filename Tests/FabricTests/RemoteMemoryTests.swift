import Fabric
import Testing

@Suite struct RemoteMemoryTests {
  @Test func aWriteReachesThePeersMemory() throws {
    let pair = try Pair()
    let target = try pair.right.memoryRegion(byteCount: 4096)
    let bytes = pattern(1000)
    try pair.post(
      pair.left.write(
        pair.domain.sendRegion(copying: bytes), to: pair.rightPeer, remote: target.address + 96, key: target.key,
        data: 42, token: 3))
    let written = try pair.success(.left)
    #expect(written.operation == .write && written.token == 3)
    // The peer's completion says that all is there.
    let told = try pair.success(.right)
    #expect(told.operation == .remoteAccess && told.data == 42 && !told.hadRegion)
    #expect(target.copyBytes(96..<1096) == bytes)
    #expect(target.copyBytes(0..<96) == [UInt8](repeating: 0, count: 96))
  }

  @Test func aReadBringsThePeersMemory() throws {
    let pair = try Pair()
    let target = try pair.right.memoryRegion(byteCount: 1 << 17, access: .read)
    target.store(pattern(1 << 17))
    func half() throws(FabricError) -> ReceiveRegion {
      var region = try pair.domain.receiveRegion(byteCount: 1 << 17)
      region.resize(to: 1 << 16)
      return region
    }
    try pair.post(pair.left.read(half(), from: pair.rightPeer, remote: target.remote, offset: 512))
    let completion = try pair.success(.left)
    #expect(completion.operation == .read && completion.byteCount == 1 << 16)
    let back = try completion.region()
    #expect([UInt8](back) == Array(pattern(1 << 17)[512..<512 + 1 << 16]))
  }

  @Test func aWrongKeyIsAnErrorAndGivesTheRegionBack() throws {
    let pair = try Pair()
    let target = try pair.right.memoryRegion(byteCount: 64)
    try pair.post(
      pair.left.read(
        pair.domain.receiveRegion(byteCount: 16), from: pair.rightPeer, remote: target.address, key: target.key ^ 0x5A))
    let completion = try pair.next(.left)
    #expect(completion.error != nil && completion.byteCount == 0)
    #expect(completion.takeRegion()?.count == 16)
  }

  @Test func whatDoesNotFitIsNotBegun() throws {
    let pair = try Pair()
    let target = try pair.right.memoryRegion(byteCount: 64)
    let region = try pair.domain.sendRegion(copying: pattern(64))
    #expect(throws: FabricError.self) {
      try pair.post(pair.left.write(region, to: pair.rightPeer, remote: target.remote, offset: 1))
    }
    #expect(throws: FabricError.self) {
      try pair.post(pair.left.write(region, to: pair.rightPeer, remote: target.remote, offset: -1))
    }
    do {
      try pair.post(
        pair.left.read(
          pair.domain.receiveRegion(byteCount: 65), from: pair.rightPeer, remote: target.remote))
      Issue.record("65 bytes of 64 were read")
    } catch {
      #expect(error.code == .invalidArgument && error.takeRegion()?.count == 65)
    }
    #expect(throws: FabricError.self) { try pair.right.memoryRegion(byteCount: 0) }
    #expect(throws: FabricError.self) { try pair.right.memoryRegion(byteCount: 8, access: []) }
  }

  @Test func memoryIsNamedInAMessage() throws {
    let memory = RemoteMemory(address: 0x0123_4567_89AB_CDEF, key: .max, byteCount: 77)
    #expect(memory.bytes.count == 24 && memory.bytes[0] == 0xEF && memory.bytes[16] == 77)
    #expect(RemoteMemory(bytes: memory.bytes) == memory)
    #expect(RemoteMemory(bytes: memory.bytes.dropLast()) == nil)
    #expect(RemoteMemory(bytes: [UInt8](repeating: 0xFF, count: 24)) == nil)
  }

  @Test func regionsHaveDifferentKeys() throws {
    let pair = try Pair()
    let regions = try (0..<100).map { _ in try pair.right.memoryRegion(byteCount: 64) }
    #expect(Set(regions.map { [$0.key, $0.address] }).count == 100)
  }
}
