import Containers
import Testing

@Suite struct RecentQueueTests {
  /// Every sequence of ten appends and removals, against an array that forgets its first element when it is too long.
  @Test func keepsTheNewest() {
    for script in 0..<1024 {
      var queue = RecentQueue<3, Int>(placeholder: -1)
      var model: [Int] = []
      for step in 0..<10 {
        if script >> step & 1 == 0 {
          queue.append(step)
          model.append(step)
          if model.count > 3 { model.removeFirst() }
        } else {
          #expect(queue.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
        }
        #expect(queue.count == model.count && queue.isEmpty == model.isEmpty)
      }
    }
  }
}

@Suite struct GrowthTests {
  @Test func elementsKeepTheirOrder() {
    var capacity = 2
    var base = UnsafeMutablePointer<Int>.allocate(capacity: capacity)
    defer { base.deallocate() }
    for index in 0..<100 {
      if index == capacity { doubleCapacity(of: &base, count: index, &capacity) }
      (base + index).initialize(to: index)
    }
    #expect(capacity == 128)
    #expect((0..<100).allSatisfy { base[$0] == $0 })
  }
}
