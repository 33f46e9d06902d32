import Fabric
import Testing

@Suite struct AtomicTests {
  let pair: Pair
  let target: MemoryRegion

  init() throws {
    pair = try Pair()
    target = try pair.right.memoryRegion(byteCount: 64)
    target.withUnsafeMutableBytes { $0.storeBytes(of: 40, as: Int64.self) }
  }

  private var value: Int64 { target.withUnsafeMutableBytes { $0.load(as: Int64.self) } }

  private func has(_ operation: AtomicOperation) -> Bool {
    pair.left.maximumAtomicCount(operation, as: Int64.self) > 0
  }

  @Test func aSumIsAddedAtThePeer() throws {
    guard has(.sum) else { return }
    let two = try pair.domain.sendRegion(of: [Int64(2)])
    try pair.post(
      pair.left.atomic(
        .sum, two, as: Int64.self, to: pair.rightPeer, remote: target.address, key: target.key, token: 4))
    let completion = try pair.success(.left)
    #expect(completion.operation == .atomic && completion.token == 4)
    // The next fetch sees it, whenever the provider says that the sum is done.
    #expect(try fetch(.read, 0) == 42)
  }

  @Test func aFetchBringsWhatThereWas() throws {
    guard has(.sum) else { return }
    #expect(try fetch(.maximum, 50) == 40)
    #expect(try fetch(.write, -1) == 50)
    #expect(try fetch(.read, 0) == -1)
    #expect(value == -1)
  }

  @Test func aComparisonDecides() throws {
    guard has(.sum) else { return }
    #expect(try compare(.equal, new: 7, with: 41) == 40)
    #expect(try compare(.equal, new: 7, with: 40) == 40)
    #expect(try fetch(.read, 0) == 7)
  }

  @Test func whatIsNoWholeElementIsNotBegun() throws {
    let odd = try pair.domain.sendRegion(copying: pattern(7))
    #expect(throws: FabricError.self) {
      try pair.post(
        pair.left.atomic(.sum, odd, as: Int64.self, to: pair.rightPeer, remote: target.address, key: target.key))
    }
    let one = try pair.domain.sendRegion(of: [Int64(1)])
    do {
      try pair.post(
        pair.left.fetchAtomic(
          .sum, one, as: Int64.self, to: pair.rightPeer, result: pair.domain.receiveRegion(byteCount: 4),
          remote: target.address, key: target.key))
      Issue.record("8 bytes went into 4")
    } catch {
      #expect(error.takeRegion()?.count == 4)
    }
  }

  private func fetch(_ operation: AtomicOperation, _ operand: Int64) throws -> Int64? {
    try pair.post(
      pair.left.fetchAtomic(
        operation, pair.domain.sendRegion(of: [operand]), as: Int64.self, to: pair.rightPeer,
        result: pair.domain.receiveRegion(byteCount: 8), remote: target.address, key: target.key))
    return try pair.success(.left).takeRegion()?.values(as: Int64.self).first
  }

  private func compare(_ comparison: AtomicComparison, new: Int64, with old: Int64) throws -> Int64? {
    try pair.post(
      pair.left.compareAtomic(
        comparison, pair.domain.sendRegion(of: [new]), with: pair.domain.sendRegion(of: [old]), as: Int64.self,
        to: pair.rightPeer, result: pair.domain.receiveRegion(byteCount: 8), remote: target.address, key: target.key))
    return try pair.success(.left).takeRegion()?.values(as: Int64.self).first
  }
}
