import Containers
import Testing

private struct Node: ListLinked {
  var next: UInt32 = 0
  var previous: UInt32 = 0
}

@Suite struct IndexListTests {
  /// Every sequence of six operations on up to four elements against an array.
  @Test func behavesLikeAnArray() {
    var slab = Slab<Node>(capacity: 4)
    for _ in 0..<4 { _ = slab.allocate() }
    var choices = Choices()
    while choices.start() {
      var list = IndexList()
      var model: [UInt32] = []
      for _ in 0..<6 {
        let outside = (0..<4).first { !model.contains($0) }
        switch choices.pick(4) {
        case 0:
          if let outside {
            list.append(outside, in: slab)
            model.append(outside)
          }
        case 1:
          if let outside {
            let position = choices.pick(model.count + 1)
            list.insert(outside, before: position == model.count ? .max : model[position], in: slab)
            model.insert(outside, at: position)
          }
        case 2:
          if !model.isEmpty {
            let position = choices.pick(model.count)
            list.remove(model[position], in: slab)
            model.remove(at: position)
          }
        default:
          let popped = list.popFirst(in: slab)
          check(popped == (model.first ?? .max))
          if !model.isEmpty { model.removeFirst() }
        }
        verify(list, slab, model)
      }
    }
    check(choices.rounds == 24_726, "\(choices.rounds)")
  }

  private func verify(_ list: IndexList, _ slab: borrowing Slab<Node>, _ model: [UInt32]) {
    check(list.count == UInt32(model.count))
    check(list.isEmpty == model.isEmpty)
    check(list.first == (model.first ?? .max))
    check(list.last == (model.last ?? .max))
    var forward: [UInt32] = []
    var index = list.first
    while index != .max && forward.count <= model.count {
      forward.append(index)
      index = slab[index].pointee.next
    }
    check(forward == model)
    var backward: [UInt32] = []
    index = list.last
    while index != .max && backward.count <= model.count {
      backward.append(index)
      index = slab[index].pointee.previous
    }
    check(backward == model.reversed())
  }
}
