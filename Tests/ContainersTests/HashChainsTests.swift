import Containers
import Testing

@Suite struct HashChainsTests {
  /// Every sequence of six additions and removals of four elements, over two chains and that of the unhashed.
  @Test func keepsTheOrderOfEachChain() {
    var choices = Choices()
    while choices.start() {
      var chains = HashChains(capacity: 4, chains: 2)
      var model: [(index: UInt32, chain: Int)] = []
      for _ in 0..<6 {
        let index = UInt32(choices.pick(4))
        if let place = model.firstIndex(where: { $0.index == index }) {
          chains.remove(index, from: model[place].chain)
          model.remove(at: place)
        } else {
          let chain = choices.pick(3)
          chains.append(index, to: chain)
          model.append((index, chain))
        }
        verify(chains, model)
      }
    }
  }

  private func verify(_ chains: borrowing HashChains, _ model: [(index: UInt32, chain: Int)]) {
    check(chains.count == model.count)
    for chain in 0..<3 {
      var found: [UInt32] = []
      var index = chains.first(chain)
      while index != HashChains.none && found.count <= model.count {
        found.append(index)
        index = chains.next(index)
      }
      check(found == model.filter { $0.chain == chain }.map(\.index))
    }
    for (place, element) in model.enumerated() {
      for later in model[place...].dropFirst() {
        check(chains.isOlder(element.index, than: later.index) && !chains.isOlder(later.index, than: element.index))
      }
    }
  }

  @Test func hashesSpreadOverPowersOfTwo() {
    let chains = HashChains(capacity: 1, chains: 5)
    check(chains.unhashed == 8)
    for hash in 0..<64 as Range<UInt64> { check(chains.chain(hash) == Int(hash % 8)) }
    check(chains.chain(.max) == 7)
    check(chains.first(7) == HashChains.none)
  }
}
