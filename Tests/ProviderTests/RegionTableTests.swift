import CFabric
import Packet
import Provider
import Testing
import Transport

private let both: UInt64 = FI_REMOTE_READ | FI_REMOTE_WRITE
private func memory(_ address: UInt, _ count: UInt) -> Slice {
  Slice(base: UnsafeMutableRawPointer(bitPattern: address), count: Int(bitPattern: count))
}

func regionPieces(_ slices: [Slice]) -> RegionPieces {
  var pieces = RegionPieces()
  for slice in slices { pieces.append(slice) }
  return pieces
}

/// A table that #expect can look at: the macro copies what it calls methods of.
private final class Regions {
  private var table: RegionTable
  init(areVirtual: Bool, choosesKeys: Bool) { table = RegionTable(areVirtual: areVirtual, choosesKeys: choosesKeys) }
  var count: Int { table.count }
  func remove(_ region: UInt64) -> Bool { table.remove(region) }
  func beginTransfer(_ region: UInt64) { table.beginTransfer(region) }
  func endTransfer(_ region: UInt64) { table.endTransfer(region) }
  func insert(
    _ pieces: [Slice], permissions: UInt64, key: UInt64
  ) throws(FabricError) -> (region: UInt64, key: UInt64) {
    try table.insert(regionPieces(pieces), permissions: permissions, key: key)
  }
  func resolve(
    _ segment: RemoteSegment, for access: RegionAccess, into slices: UnsafeMutablePointer<Slice>, capacity: Int
  ) -> ResolvedSegment {
    table.resolve(segment, for: access, into: slices, capacity: capacity)
  }
}

/// The status, and the pieces as address and length.
private func resolve(
  _ table: Regions, _ address: UInt64, _ length: UInt64, key: UInt64, _ access: RegionAccess = .write
) -> (OperationStatus, [[UInt]]) {
  var slices = [Slice](repeating: memory(1, 1), count: 4)
  let found = table.resolve(
    RemoteSegment(address: address, length: length, key: key), for: access, into: &slices, capacity: 4)
  #expect((found.region != 0) == (found.status == .ok))
  return (
    found.status, slices.prefix(found.sliceCount).map { [UInt(bitPattern: $0.base), UInt(bitPattern: $0.count)] }
  )
}

@Suite struct RegionTableTests {
  @Test func findsOffsetsAndChecksBounds() throws {
    let table = Regions(areVirtual: false, choosesKeys: false)
    _ = try table.insert([memory(0x1000, 100)], permissions: both, key: 7)
    #expect(resolve(table, 0, 100, key: 7) == (.ok, [[0x1000, 100]]))
    #expect(resolve(table, 99, 1, key: 7) == (.ok, [[0x1063, 1]]))
    #expect(resolve(table, 100, 0, key: 7) == (.ok, []))
    #expect(resolve(table, 0, 101, key: 7).0 == .outOfBounds)
    #expect(resolve(table, 100, 1, key: 7).0 == .outOfBounds)
    #expect(resolve(table, 101, 0, key: 7).0 == .outOfBounds)
    #expect(resolve(table, 1, .max, key: 7).0 == .outOfBounds)
    #expect(resolve(table, .max, 1, key: 7).0 == .outOfBounds)
    #expect(resolve(table, .max, .max, key: 7).0 == .outOfBounds)
    #expect(resolve(table, 0, 1, key: 8).0 == .accessDenied)
  }

  @Test func findsVirtualAddresses() throws {
    let table = Regions(areVirtual: true, choosesKeys: false)
    _ = try table.insert([memory(0x1000, 100), memory(0x9000, 10)], permissions: both, key: 7)
    #expect(resolve(table, 0x1000, 100, key: 7) == (.ok, [[0x1000, 100]]))
    #expect(resolve(table, 0x9005, 5, key: 7) == (.ok, [[0x9005, 5]]))
    for (address, length) in [(0xfff, 2), (0x1000, 101), (0x1064, 1), (0x8fff, 1), (0x900a, 1), (0, 1)]
      as [(UInt64, UInt64)]
    {
      #expect(resolve(table, address, length, key: 7).0 == .outOfBounds)
    }
    #expect(resolve(table, 0x1064, 0, key: 7).0 == .ok)
  }

  /// Each offset and length over up to four small pieces, against an array of the addresses.
  @Test func crossesFromPieceToPiece() throws {
    let lengths: [UInt] = [0, 1, 2, 3]
    for number in 0..<256 {
      let sizes = (0..<4).map { lengths[number >> ($0 * 2) & 3] }
      let table = Regions(areVirtual: false, choosesKeys: false)
      _ = try table.insert(sizes.enumerated().map { memory(UInt($0 + 1) << 12, $1) }, permissions: both, key: 1)
      let addresses = sizes.enumerated().flatMap { piece in
        (0..<piece.element).map { UInt(piece.offset + 1) << 12 + $0 }
      }
      for offset in 0...addresses.count + 1 {
        for length in 0...addresses.count + 1 {
          let (status, slices) = resolve(table, UInt64(offset), UInt64(length), key: 1)
          if offset + length > addresses.count {
            if status != .outOfBounds || !slices.isEmpty { Issue.record("\(sizes) \(offset) \(length)") }
          } else if status != .ok
            || slices.flatMap({ slice in (0..<slice[1]).map { slice[0] + $0 } })
              != Array(addresses[offset..<offset + length])
          {
            Issue.record("\(sizes) \(offset) \(length): \(status) \(slices)")
          }
        }
      }
    }
  }

  /// Pieces at all places within a few bytes, which so overlap, touch, or leave gaps, against a set of the addresses.
  @Test func virtualAddressesMayCrossPiecesThatTouch() throws {
    var random = Seeded(state: 5)
    for _ in 0..<300 {
      let pieces = (0..<Int.random(in: 1...4, using: &random)).map { _ in
        memory(UInt.random(in: 100...110, using: &random), UInt.random(in: 0...5, using: &random))
      }
      let table = Regions(areVirtual: true, choosesKeys: false)
      _ = try table.insert(pieces, permissions: both, key: 1)
      let known = Set(pieces.flatMap { piece in (0..<UInt(piece.count)).map { UInt(bitPattern: piece.base) + $0 } })
      for first in UInt(98)...118 {
        for length in UInt(1)...12 {
          let wanted = Array(first..<first + length)
          let (status, slices) = resolve(table, UInt64(first), UInt64(length), key: 1)
          let expected: OperationStatus = known.isSuperset(of: wanted) ? .ok : .outOfBounds
          let found = slices.flatMap { slice in (0..<slice[1]).map { slice[0] + $0 } }
          if status != expected || found != (expected == .ok ? wanted : []) {
            Issue.record("\(pieces) \(first) \(length): \(status) \(slices)")
          }
        }
      }
    }
  }

  @Test func reachesTheLastAddressAndNotBeyond() throws {
    for areVirtual in [false, true] {
      let table = Regions(areVirtual: areVirtual, choosesKeys: false)
      let top = UInt.max - 15
      _ = try table.insert([memory(top, 16)], permissions: both, key: 1)
      let base = areVirtual ? UInt64(top) : 0
      #expect(resolve(table, base, 16, key: 1) == (.ok, [[top, 16]]))
      #expect(resolve(table, base + 15, 1, key: 1) == (.ok, [[.max, 1]]))
      #expect(resolve(table, base, 17, key: 1).0 == .outOfBounds)
      #expect(resolve(table, base + 15, 2, key: 1).0 == .outOfBounds)
      #expect(
        errorCode { () throws(FabricError) in
          _ = try table.insert([memory(top, 17)], permissions: both, key: 2)
        } == FI_EINVAL)
      #expect(
        errorCode { () throws(FabricError) in
          _ = try table.insert([memory(0, 0), memory(top, .max)], permissions: both, key: 2)
        } == FI_EINVAL)
    }
    // The whole address space, as programs with scalable registration do.
    let table = Regions(areVirtual: false, choosesKeys: false)
    _ = try table.insert([memory(0, .max)], permissions: both, key: 1)
    #expect(resolve(table, 0x1234, 5, key: 1) == (.ok, [[0x1234, 5]]))
  }

  @Test func checksPermissions() throws {
    let table = Regions(areVirtual: false, choosesKeys: false)
    _ = try table.insert([memory(0x1000, 8)], permissions: FI_REMOTE_READ, key: 1)
    _ = try table.insert([memory(0x1000, 8)], permissions: FI_REMOTE_WRITE, key: 2)
    #expect(resolve(table, 0, 8, key: 1, .read).0 == .ok)
    #expect(resolve(table, 0, 8, key: 1, .write).0 == .accessDenied)
    #expect(resolve(table, 0, 8, key: 2, .read).0 == .accessDenied)
    #expect(resolve(table, 0, 8, key: 2, .write).0 == .ok)
  }

  @Test func keysAreUniqueUntilRemoved() throws {
    let table = Regions(areVirtual: false, choosesKeys: false)
    let first = try table.insert([memory(0x1000, 8)], permissions: both, key: 1)
    #expect(
      errorCode { () throws(FabricError) in
        _ = try table.insert([memory(0x2000, 8)], permissions: both, key: 1)
      } == Int32(FI_ENOKEY))
    #expect(!table.remove(first.region))
    #expect(resolve(table, 0, 8, key: 1).0 == .accessDenied)
    let second = try table.insert([memory(0x2000, 8)], permissions: both, key: 1)
    #expect(second.region != first.region)
    #expect(!table.remove(first.region))
    #expect(resolve(table, 0, 8, key: 1) == (.ok, [[0x2000, 8]]))
  }

  @Test func tellsOfTransfersThatGoOn() throws {
    let table = Regions(areVirtual: false, choosesKeys: false)
    let region = try table.insert([memory(0x1000, 8)], permissions: both, key: 1).region
    table.beginTransfer(region)
    table.beginTransfer(region)
    table.endTransfer(region)
    #expect(table.remove(region))
    let next = try table.insert([memory(0x1000, 8)], permissions: both, key: 1).region
    table.endTransfer(region)
    #expect(!table.remove(next))
  }

  @Test func choosesUnpredictableKeys() throws {
    let table = Regions(areVirtual: false, choosesKeys: true)
    var keys: Set<UInt64> = []
    for _ in 0..<500 { keys.insert(try table.insert([memory(0x1000, 8)], permissions: both, key: 1).key) }
    #expect(keys.count == 500)
    #expect(!keys.contains(1))
    // Every bit is set in about half of them.
    for bit in 0..<64 { #expect((150...350).contains(keys.count { $0 >> UInt64(bit) & 1 == 1 })) }
  }

  @Test(arguments: [1, 2, 3] as [UInt64]) func agreesWithAModel(seed: UInt64) throws {
    var random = Seeded(state: seed)
    let table = Regions(areVirtual: false, choosesKeys: false)
    var model: [UInt64: (region: UInt64, base: UInt)] = [:]
    for step in 0..<5000 {
      let key = UInt64.random(in: 0..<200, using: &random) << 40
      if Bool.random(using: &random) {
        let base = UInt(step + 1) * 4096
        let code = errorCode { () throws(FabricError) in
          let region = try table.insert([memory(base, 8)], permissions: both, key: key).region
          model[key] = (region, base)
        }
        #expect(code == (model[key]?.base == base ? nil : Int32(FI_ENOKEY)))
      } else if let (region, _) = model.removeValue(forKey: key) {
        #expect(!table.remove(region))
      }
      let probe = UInt64.random(in: 0..<200, using: &random) << 40
      let (status, slices) = resolve(table, 0, 8, key: probe)
      #expect(status == (model[probe] == nil ? .accessDenied : .ok))
      #expect(slices == (model[probe].map { [[$0.base, 8]] } ?? []))
      #expect(table.count == model.count)
    }
  }
}
