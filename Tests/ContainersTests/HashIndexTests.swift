import Containers
import Testing

@Suite struct HashIndexTests {
  /// Hashes that share, wrap around and neighbour positions of a table of 16.
  private static let hashes: [UInt64] = [14, 15, 31, 0, 47]

  /// Every sequence of six insertions and removals among colliding hashes.
  @Test func behavesLikeAMultiset() {
    var choices = Choices()
    while choices.start() {
      var table = HashIndex()
      var model: [(hash: UInt64, index: UInt32)] = []
      for step in 0..<6 {
        let action = choices.pick(Self.hashes.count + model.count)
        if action < Self.hashes.count {
          table.insert(Self.hashes[action], index: UInt32(step))
          model.append((Self.hashes[action], UInt32(step)))
        } else {
          let entry = model.remove(at: action - Self.hashes.count)
          if !table.remove(entry.hash, index: entry.index) { Issue.record("\(entry) is lost") }
          if table.remove(entry.hash, index: entry.index) { Issue.record("\(entry) was there twice") }
        }
      }
      verify(table, model)
    }
    check(choices.rounds == 92_500, "\(choices.rounds)")
  }

  private func verify(_ table: borrowing HashIndex, _ model: [(hash: UInt64, index: UInt32)]) {
    if table.count != model.count { Issue.record("count \(table.count), not \(model.count)") }
    for hash in Self.hashes {
      for index in 0..<UInt32(6) {
        let expected = model.contains { $0.hash == hash && $0.index == index }
        let found = table.find(hash) { $0 == index }
        if found != (expected ? index : nil) {
          Issue.record("hash \(hash) index \(index): \(String(describing: found))")
        }
      }
    }
  }

  @Test(arguments: [0, 1, 10, 11, 16, 100, 1_000])
  func growsAndShrinks(minimumCapacity: Int) {
    var table = HashIndex(minimumCapacity: minimumCapacity)
    var random = Splitmix(state: UInt64(minimumCapacity) + 1)
    var model: [UInt64: UInt32] = [:]
    for step in 0..<UInt32(30_000) {
      let hash = random.next() % 700 &* 0x1_0000_0001
      let growing = step / 5_000 % 2 == 0
      if random.next() % 4 < (growing ? 3 : 1) {
        if model[hash] == nil {
          table.insert(hash, index: step)
          model[hash] = step
        }
      } else if let index = model.removeValue(forKey: hash) {
        check(table.remove(hash, index: index))
      } else {
        check(!table.remove(hash, index: 0))
      }
      check(table.count == model.count)
    }
    for hash in (0..<UInt64(700)).map({ $0 &* 0x1_0000_0001 }) {
      check(table.find(hash) { _ in true } == model[hash])
    }
  }

  /// Of a hash only the lower half is kept; telling elements apart is up to the caller anyway.
  @Test func hashesThatDifferInTheUpperHalfAreLookedAtInTurn() {
    var table = HashIndex()
    let hashes: [UInt64] = [15, 1 << 32 | 15, 1 << 63 | 15]
    for (index, hash) in hashes.enumerated() { table.insert(hash, index: UInt32(index)) }
    for (index, hash) in hashes.enumerated() {
      check(table.find(hash) { $0 == UInt32(index) } == UInt32(index))
    }
    check(table.remove(hashes[1], index: 1))
    check(table.find(hashes[1]) { $0 == 1 } == nil)
    check(table.find(hashes[0]) { $0 == 0 } == 0 && table.find(hashes[2]) { $0 == 2 } == 2)
    check(table.count == 2)
  }

  @Test func looksAtEqualHashesInTurn() {
    var table = HashIndex()
    for index in 0..<UInt32(5) { table.insert(7, index: index) }
    var seen: [UInt32] = []
    let found = table.find(7) {
      seen.append($0)
      return false
    }
    check(found == nil)
    check(seen == [0, 1, 2, 3, 4])
  }
}
