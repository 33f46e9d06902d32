// Algorithms in which each byte takes as few ways as possible: members stand in a ring and hand blocks on to the next one,
// or everybody sends to everybody.
extension CollectiveSchedule {
  /// Each block goes once around, from the member that it is of. The first half of it may be a long broadcast's scatter, in
  /// which blocks are counted from the root on.
  func ringStep(_ index: Int, copiesInput: Bool) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    if copiesInput && index == 0 {
      step.copy = CollectiveMove(CollectiveSpan(.input, 0, blockSize), to: blocks(.result, position))
    }
    step.send = CollectiveTransfer(rank(at: position + 1), blocks(.result, position - index))
    step.receive = CollectiveTransfer(rank(at: position - 1), blocks(.result, position - index - 1))
    return step
  }

  /// Each block goes around from the member after the one that it is of, and every member on the way adds its own: the
  /// order in which a block is combined is that of the ring. Of the two halves of the scratch buffer one is being sent
  /// while the other is received.
  func ringReduceStep(_ index: Int, _ place: ReducedBlock) -> CollectiveStep {
    var step = CollectiveStep(.all)
    let block = modulo(rank - 1 - index)
    let partial = partialBlock(index, of: block)
    if index > 0 { step.combine = CollectiveMove(blocks(.input, block), to: partial) }
    if index < members - 1 {
      let next = modulo(block - 1)
      step.send = CollectiveTransfer(modulo(rank + 1), index == 0 ? blocks(.input, block) : partial)
      step.receive = CollectiveTransfer(modulo(rank - 1), partialBlock(index + 1, of: next))
      return step
    }
    switch place {
    case .inPlace: step.copy = CollectiveMove(partial, to: blocks(.result, rank))
    case .alone: step.copy = CollectiveMove(partial, to: CollectiveSpan(.result, 0, partial.length))
    case .atRoot: if rank == root { step.copy = CollectiveMove(partial, to: blocks(.result, rank)) }
    }
    return step
  }

  /// What a member has of a block in a step of the above.
  private func partialBlock(_ index: Int, of block: Int) -> CollectiveSpan {
    CollectiveSpan(.scratch, index & 1 == 0 ? 0 : largestBlock, blocks(.scratch, block).length)
  }

  /// The second half of a long reduce: the reduced blocks to the root.
  func collectStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep()
    if rank == root {
      let peer = index < root ? index : index + 1
      step.receive = CollectiveTransfer(peer, blocks(.result, peer))
    } else {
      step.send = CollectiveTransfer(root, partialBlock(members - 1, of: rank))
    }
    return step
  }

  /// To each member its block, the next one first, so that nobody is sent to by all at once.
  func exchangeStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep()
    let target = modulo(rank + index)
    let source = modulo(rank - index)
    if index == 0 {
      step.copy = CollectiveMove(blocks(.input, rank), to: blocks(.result, rank))
    } else {
      step.send = CollectiveTransfer(target, blocks(.input, target))
      step.receive = CollectiveTransfer(source, blocks(.result, source))
    }
    return step
  }
}
