// Binomial trees. Places are counted from the root on; the parent of a place is what is left without its lowest bit, and
// its subtree the places from it on to the next one that has that bit or a higher one. So subtrees are rows of places, and
// the path to any member has at most as many edges as the group's size has bits.
extension CollectiveSchedule {
  private var lowestBit: Int { position & -position }
  private var parent: Int { rank(at: position - lowestBit) }

  /// Members in this one's subtree.
  var subtree: Int { position == 0 ? members : min(lowestBit, members - position) }
  /// Children, at the distances 1, 2, 4, …
  var childCount: Int { ceilingLog2(subtree) }
  /// Nobody gets anything from it.
  var isLeaf: Bool { subtree == 1 }

  /// Members in the subtree of the child at a distance.
  private func subtree(at distance: Int) -> Int { min(distance, subtree - distance) }

  /// The child that comes after `index` others when the largest subtree is served first.
  private func distance(descending index: Int) -> Int { 1 << (childCount - 1 - index) }

  /// Everything to everybody.
  func broadcastStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    let child = position == 0 ? index : index - 1
    if child < 0 {
      step.receive = CollectiveTransfer(parent, whole(.result))
    } else {
      step.send = CollectiveTransfer(rank(at: position + distance(descending: child)), whole(.result))
    }
    return step
  }

  /// The first half of a long broadcast: the vector's block `position` to each member, at its place in the result.
  func scatterInPlaceStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    let child = position == 0 ? index : index - 1
    if child < 0 {
      step.receive = CollectiveTransfer(parent, blocks(.result, position, subtree))
    } else {
      let distance = distance(descending: child)
      step.send = CollectiveTransfer(
        rank(at: position + distance), blocks(.result, position + distance, subtree(at: distance)))
    }
    return step
  }

  /// To each member its block. The blocks of a subtree pass through its first member's scratch buffer.
  func scatterStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    let child = position == 0 ? index : index - 1
    let result = CollectiveSpan(.result, 0, blockSize)
    if child < 0 {
      let span = isLeaf ? result : CollectiveSpan(.scratch, 0, subtree * blockSize)
      step.receive = CollectiveTransfer(parent, span)
    } else if child < childCount {
      let distance = distance(descending: child)
      let count = subtree(at: distance)
      let span =
        position == 0
        ? blocks(.input, root + distance, count) : CollectiveSpan(.scratch, distance * blockSize, count * blockSize)
      step.send = CollectiveTransfer(rank(at: position + distance), span)
    } else {
      let own = position == 0 ? blocks(.input, rank) : CollectiveSpan(.scratch, 0, blockSize)
      step.copy = CollectiveMove(own, to: result)
    }
    return step
  }

  /// Each member's block to the root.
  func gatherStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(index == childCount ? .receives : .nothing)
    let own = CollectiveSpan(.input, 0, blockSize)
    if index == 0 && !isLeaf {
      let target = position == 0 ? blocks(.result, rank) : CollectiveSpan(.scratch, 0, blockSize)
      step.copy = CollectiveMove(own, to: target)
    }
    if index < childCount {
      let distance = 1 << index
      let count = subtree(at: distance)
      let span =
        position == 0
        ? blocks(.result, root + distance, count) : CollectiveSpan(.scratch, distance * blockSize, count * blockSize)
      step.receive = CollectiveTransfer(rank(at: position + distance), span)
    } else {
      step.send = CollectiveTransfer(parent, isLeaf ? own : CollectiveSpan(.scratch, 0, subtree * blockSize))
    }
    return step
  }

  /// What all members have, combined at the root. A subtree is combined in the order of its places.
  func reduceStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.all)
    let sum = position == 0 ? whole(.result) : whole(.scratch)
    let incoming = CollectiveSpan(.scratch, position == 0 ? 0 : size, size)
    if index == 0 {
      if !isLeaf { step.copy = CollectiveMove(whole(.input), to: sum) }
    } else {
      step.combine = CollectiveMove(incoming, to: sum)
    }
    if index < childCount {
      step.receive = CollectiveTransfer(rank(at: position + 1 << index), incoming)
    } else if position != 0 {
      step.send = CollectiveTransfer(parent, isLeaf ? whole(.input) : sum)
    }
    return step
  }
}
