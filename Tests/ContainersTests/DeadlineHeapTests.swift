import Containers
import Testing

@Suite struct DeadlineHeapTests {
  /// Every sequence of six changes to the deadlines of three indices.
  @Test func knowsTheEarliest() {
    var choices = Choices()
    while choices.start() {
      var heap = DeadlineHeap(capacity: 3)
      var model: [UInt32: UInt64] = [:]
      for _ in 0..<6 {
        let index = UInt32(choices.pick(3))
        let deadline = UInt64(choices.pick(3))
        if deadline == 0 {
          heap.remove(index)
          model[index] = nil
        } else {
          heap.set(index, deadline)
          model[index] = deadline
        }
        verify(heap, model)
      }
    }
    check(choices.rounds == 531_441, "\(choices.rounds)")
  }

  @Test(arguments: 1...5 as ClosedRange<UInt64>)
  func growsAndSorts(seed: UInt64) {
    var heap = DeadlineHeap(capacity: 1)
    var model: [UInt32: UInt64] = [:]
    var random = Splitmix(state: seed)
    for step in 0..<3_000 {
      let index = UInt32(random.next() % 500)
      heap.makeRoom(for: index)
      if random.next() % 4 == 0 {
        heap.remove(index)
        model[index] = nil
      } else {
        let deadline = random.next() % 1_000
        heap.set(index, deadline)
        model[index] = deadline
      }
      if step % 50 == 0 { verify(heap, model) }
    }
    var last: UInt64 = 0
    while heap.count > 0 {
      let deadline = heap.firstDeadline
      check(deadline >= last && model[heap.first] == deadline)
      last = deadline
      model[heap.first] = nil
      heap.remove(heap.first)
    }
    check(model.isEmpty && heap.firstDeadline == .max)
  }

  private func verify(_ heap: borrowing DeadlineHeap, _ model: [UInt32: UInt64]) {
    check(heap.count == model.count)
    check(heap.firstDeadline == model.values.min() ?? .max)
    if heap.count > 0 { check(model[heap.first] == heap.firstDeadline) }
    for index in 0..<UInt32(3) where model.count < 4 {
      check(heap.deadline(of: index) == model[index] ?? .max)
    }
  }
}
