import Containers
import Testing

@Suite struct SlabTests {
  /// Every sequence of eight allocations and releases, for every capacity up to 3.
  @Test func behavesLikeAStackOfFreeElements() {
    var choices = Choices()
    while choices.start() {
      let capacity = choices.pick(3) + 1
      var slab = Slab<UInt64>(capacity: capacity)
      var used: [UInt32] = []
      var freed: [UInt32] = []
      for _ in 0..<8 {
        let action = choices.pick(used.count + 1)
        if action == used.count {
          let index = slab.allocate()
          if used.count == capacity {
            check(index == nil)
          } else if let last = freed.popLast() {
            check(index == last, "the last one freed comes first")
          } else {
            check(index == UInt32(used.count), "untouched elements come in order")
          }
          if let index {
            slab[index].pointee = UInt64(index) &* 0x0101_0101_0101_0101
            used.append(index)
          }
        } else {
          let index = used.remove(at: action)
          slab.free(index)
          freed.append(index)
        }
        check(slab.count == UInt32(used.count))
        check(slab.available == UInt32(capacity - used.count))
        for index in used { check(slab[index].pointee == UInt64(index) &* 0x0101_0101_0101_0101) }
        for index in 0..<UInt32(capacity + 1) {
          check(slab.contains(index) == (used.contains(index) || freed.contains(index)))
        }
        check(!slab.contains(Slab<UInt64>.none))
      }
    }
    check(choices.rounds == 703, "\(choices.rounds)")
  }

  @Test func elementsDoNotMove() {
    var slab = Slab<(UInt64, UInt64, UInt64)>(capacity: 100)
    let first = slab[slab.allocate()!]
    for index in 1..<100 { check(slab[slab.allocate()!] == first + index) }
    check(slab.allocate() == nil)
  }
}
