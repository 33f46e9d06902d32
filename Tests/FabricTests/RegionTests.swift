import Testing

@testable import Fabric

@Suite struct RegionTests {
  @Test func sendRegionsShareWhatTheyHold() throws {
    let domain = try selectProvider().domain
    let region = try domain.sendRegion(copying: "shared bytes")
    let prefix = region.prefix(6)
    #expect(prefix.byteCount == 6 && prefix.memory === region.memory)
    #expect(prefix.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } == "shared")
    #expect(region.prefix(100).byteCount == 12)
    #expect(region.bytes.byteCount == 12)
    #expect(region.bytes.unsafeLoad(fromByteOffset: 1, as: UInt8.self) == UInt8(ascii: "h"))
  }

  @Test func memoryBeginsAtZeroAndCanBeFilled() throws {
    let domain = try selectProvider().domain
    var region = try domain.receiveRegion(byteCount: 5000)
    #expect([UInt8](region) == [UInt8](repeating: 0, count: 5000))
    region.withUnsafeMutableBytes { $0.copyBytes(from: pattern(5000)) }
    region.resize(to: 100)
    let send = SendRegion(region)
    #expect(send.byteCount == 100 && send.withUnsafeBytes { Array($0) } == pattern(100))
    #expect(throws: FabricError.self) { _ = try domain.receiveRegion(byteCount: -1) }
  }

  @Test func onlyTheLastOwnerReclaims() throws {
    let domain = try selectProvider().domain
    let region = try domain.sendRegion(copying: "mine")
    let copy = region
    let early = (consume region).reclaim() == nil
    let late = (consume copy).reclaim() == nil
    #expect(early && !late)
  }

  @Test func aRegionUnderWayIsNotReclaimed() throws {
    let pair = try Pair()
    let region = try pair.domain.sendRegion(copying: pattern(1 << 16))
    weak let memory = region.memory
    // Nobody receives it, so the operation that was begun may last.
    try pair.post(pair.left.send(region, to: pair.rightPeer, tag: 1))
    let isUnderWay = pair.left.completionQueue.operations.count == 1
    let isShared = (consume region).reclaim() == nil
    #expect(isShared == isUnderWay && (memory != nil) == isUnderWay)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 1 << 16), tag: 1)
    _ = try pair.success(.left)
    #expect(try pair.success(.right).byteCount == 1 << 16)
    #expect(memory == nil)
  }

  @Test func aCompletionGivesItsRegionOnce() throws {
    let pair = try Pair()
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8))
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "1"), to: pair.rightPeer))
    let first = try pair.success(.right)
    let copy = first
    let region = try first.region()
    #expect(!first.hadRegion && !copy.hadRegion)
    // A copy that was kept does not get what a later operation gives back.
    try pair.right.recv(region)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "2"), to: pair.rightPeer))
    let second = try pair.success(.right)
    #expect(!copy.hadRegion && second.hadRegion)
  }

  @Test func memoryGoesWithTheCompletionThatNobodyTakes() throws {
    let pair = try Pair()
    weak var memory: RegisteredMemory?
    do {
      let region = try pair.domain.receiveRegion(byteCount: 8)
      memory = region.memory
      try pair.right.recv(region)
    }
    #expect(memory != nil)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "1"), to: pair.rightPeer))
    do { _ = try pair.success(.right) }
    #expect(memory == nil)
  }

  @Test func memoryGoesWithTheEndpointThatUsesIt() throws {
    let provider = try selectProvider()
    let queue = try CompletionQueue(provider.domain)
    weak var memory: RegisteredMemory?
    do {
      let endpoint = try Endpoint(provider.domain, completionQueue: queue)
      for tag in 0..<100 {
        let region = try provider.domain.receiveRegion(byteCount: 64)
        memory = region.memory
        try endpoint.recv(region, tag: UInt64(tag))
      }
      #expect(memory != nil && queue.operations.count == 100)
    }
    #expect(memory == nil && queue.operations.count == 0)
    // The queue goes on, and what it may still hold of the closed endpoint comes to nobody.
    #expect(try queue.read() == nil)
    let endpoint = try Endpoint(provider.domain, completionQueue: queue)
    let itself = try endpoint.addressVector.insert(endpoint.address)
    try endpoint.recv(provider.domain.receiveRegion(byteCount: 8), token: 1)
    try endpoint.retrying(endpoint.send(provider.domain.sendRegion(copying: "again"), to: itself, token: 2))
    var tokens: Set<UInt64> = []
    let deadline = ContinuousClock.now + .seconds(20)
    while tokens.count < 2 && ContinuousClock.now < deadline { try queue.read { tokens.insert($0.token) } }
    #expect(tokens == [1, 2])
  }

  @Test func objectsMayBeLetGoInAnyOrder() throws {
    weak var domain: Domain?
    var region: MemoryRegion?
    do {
      let pair = try Pair()
      domain = pair.domain
      #expect(try pair.exchange("first") == "first")
      region = try pair.left.memoryRegion(byteCount: 64)
    }
    #expect(domain != nil)
    #expect(region?.copyBytes(0..<2) == [0, 0])
    region = nil
    #expect(domain == nil)
  }
}

@Suite struct OperationTableTests {
  @Test func entriesOfClosedEndpointsAreNotUsedAgainBeforeTheirCompletion() {
    let table = OperationTable()
    let old = table.take(1)
    let other = table.take(2)
    table.discard(operationsOf: 1)
    #expect(table.count == 1)
    for _ in 0..<200 { #expect(table.take(2) != old) }
    #expect(table.end(old) == nil)
    #expect(table.take(2) == old)
    #expect(table.end(other) != nil)
  }

  @Test func anEntryTakenAgainIsAnotherOperation() {
    let table = OperationTable()
    let entry = table.take(1)
    let posted = PostedOperation(
      entry: UInt(bitPattern: entry), generation: entry.pointee.generation, endpoint: 1, isReceive: false)
    #expect(table.withContext(of: posted) { _ in 5 } == 5)
    _ = table.end(entry)
    #expect(table.withContext(of: posted) { _ in 5 } == nil)
    #expect(table.take(1) == entry)
    #expect(table.withContext(of: posted) { _ in 5 } == nil)
  }
}
