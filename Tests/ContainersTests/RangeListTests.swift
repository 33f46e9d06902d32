import Containers
import Testing

@Suite struct RangeListTests {
  /// What a `RangeList` says about itself, from a plain set of bytes.
  private struct Model {
    var bytes: Set<UInt64> = []

    var completePrefix: UInt64 {
      var end: UInt64 = 0
      while bytes.contains(end) { end += 1 }
      return end
    }

    /// Runs that do not touch the prefix: as many nodes as the list needs.
    var runsBeyondPrefix: Int {
      let prefix = completePrefix
      return bytes.filter { $0 > prefix && !bytes.contains($0 - 1) }.count
    }
  }

  private static let ranges: [(start: UInt64, end: UInt64)] = (0...6).flatMap { start in
    (start...6).map { (UInt64(start), UInt64($0)) }
  }

  /// Every sequence of three insertions of every range within six bytes, empty ones included.
  @Test func behavesLikeASet() {
    var choices = Choices()
    var slab = Slab<RangeNode>(capacity: 4)
    while choices.start() {
      var list = RangeList()
      var model = Model()
      for _ in 0..<3 {
        let range = Self.ranges[choices.pick(Self.ranges.count)]
        if !list.insert(range.start, range.end, in: &slab) { Issue.record("no node for \(range)") }
        model.bytes.formUnion(range.start..<range.end)
        verify(list, model, slab.count)
      }
      probe(&list, model, &slab)
    }
    check(choices.rounds == Self.ranges.count * Self.ranges.count * Self.ranges.count)
  }

  private func verify(_ list: RangeList, _ model: Model, _ nodes: UInt32) {
    if list.completePrefix != model.completePrefix { Issue.record("prefix \(list.completePrefix) of \(model.bytes)") }
    if nodes != UInt32(model.runsBeyondPrefix) { Issue.record("\(nodes) nodes for \(model.bytes)") }
    for length in 0..<UInt64(8) where list.isComplete(length) != (length <= model.completePrefix) {
      Issue.record("isComplete(\(length)) with \(model.bytes)")
    }
  }

  /// Fills the holes one byte at a time: the prefix tells what lies behind them.
  private func probe(_ list: inout RangeList, _ model: Model, _ slab: inout Slab<RangeNode>) {
    var model = model
    while model.completePrefix < 7 {
      let hole = model.completePrefix
      check(list.insert(hole, hole + 1, in: &slab))
      model.bytes.insert(hole)
      verify(list, model, slab.count)
    }
    if slab.count != 0 { Issue.record("a complete list keeps nodes") }
  }

  /// Without a free node an insertion that needs one changes nothing; others still work.
  @Test func refusesWhenNodesAreUsedUp() {
    var choices = Choices()
    var refusals = 0
    while choices.start() {
      var slab = Slab<RangeNode>(capacity: choices.pick(2) + 1)
      var list = RangeList()
      var model = Model()
      for _ in 0..<3 {
        let range = Self.ranges[choices.pick(Self.ranges.count)]
        let before = (list.completePrefix, slab.count)
        var wanted = model
        wanted.bytes.formUnion(range.start..<range.end)
        if list.insert(range.start, range.end, in: &slab) {
          model = wanted
        } else {
          refusals += 1
          if wanted.runsBeyondPrefix <= Int(slab.capacity) { Issue.record("refused \(range) with \(model.bytes)") }
          if before != (list.completePrefix, slab.count) { Issue.record("a refused \(range) changed the list") }
        }
        verify(list, model, slab.count)
      }
      list.removeAll(in: &slab)
      if slab.count != 0 || list.completePrefix != 0 { Issue.record("removeAll left something") }
    }
    check(refusals > 0)
  }

  /// Long random sequences, in which several lists share the nodes.
  @Test(arguments: 1...20)
  func sharesNodes(seed: UInt64) {
    var random = Splitmix(state: seed)
    var slab = Slab<RangeNode>(capacity: 64)
    var lists = [RangeList](repeating: RangeList(), count: 3)
    var models = [Model](repeating: Model(), count: 3)
    for _ in 0..<300 {
      let which = Int(random.next() % 3)
      let start = random.next() % 60
      let end = start + random.next() % 6
      check(lists[which].insert(start, end, in: &slab))
      models[which].bytes.formUnion(start..<end)
      check(lists[which].completePrefix == models[which].completePrefix)
      check(slab.count == UInt32(models.reduce(0) { $0 + $1.runsBeyondPrefix }))
      if lists[which].isComplete(55) || random.next() % 40 == 0 {
        lists[which].removeAll(in: &slab)
        models[which] = Model()
      }
    }
  }

  @Test func holdsTheLargestNumbers() {
    var slab = Slab<RangeNode>(capacity: 2)
    var list = RangeList()
    check(list.insert(.max - 1, .max, in: &slab))
    check(list.insert(0, .max - 1, in: &slab))
    check(list.completePrefix == .max)
    check(slab.count == 0)
  }
}
