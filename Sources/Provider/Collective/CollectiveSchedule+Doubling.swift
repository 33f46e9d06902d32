// Algorithms whose rounds double what a member knows.
extension CollectiveSchedule {
  /// Dissemination barrier: Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization" (Int. J. Parallel
  /// Programming 17(1), 1988). After the round with a distance a member has heard of twice as many as that.
  func disseminationStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    let distance = 1 << index
    step.send = CollectiveTransfer(modulo(rank + distance), CollectiveSpan(.result, 0, 0))
    step.receive = CollectiveTransfer(modulo(rank - distance), CollectiveSpan(.result, 0, 0))
    return step
  }

  /// Allgather: Bruck, Ho, Kipnis, Upfal and Weathersby, "Efficient algorithms for all-to-all communications in
  /// multiport message-passing systems" (IEEE Trans. Parallel and Distributed Systems 8(11), 1997). Before the round with
  /// a distance a member has as many blocks, from its own on.
  func bruckStep(_ index: Int) -> CollectiveStep {
    var step = CollectiveStep(.receives)
    let distance = 1 << index
    let count = min(distance, members - distance)
    if index == 0 { step.copy = CollectiveMove(CollectiveSpan(.input, 0, blockSize), to: blocks(.result, rank)) }
    step.send = CollectiveTransfer(modulo(rank - distance), blocks(.result, rank, count))
    step.receive = CollectiveTransfer(modulo(rank + distance), blocks(.result, rank + distance, count))
    return step
  }

  // MARK: Recursive doubling

  // In a group whose size is no power of two the first members go together in pairs, of which the second one takes part.
  // Those that do stand for rows of members, and combine what the lower row has with what the higher has, in this order
  // on both sides.

  private var rounds: Int { ceilingLog2(members + 1) - 1 }
  /// Pairs.
  private var pairs: Int { members - 1 << rounds }
  private var isInPair: Bool { rank < 2 * pairs }
  private var isSpectator: Bool { isInPair && rank & 1 == 0 }
  private var player: Int { isInPair ? rank >> 1 : rank - pairs }
  private func rank(ofPlayer player: Int) -> Int { player < pairs ? 2 * player + 1 : player + pairs }

  var doublingStepCount: Int { isSpectator ? 2 : rounds + (isInPair ? 2 : 1) }

  /// Allreduce into `buffer`, which is the result, or the first half of the scratch buffer.
  func doublingStep(_ index: Int, in buffer: CollectiveBuffer) -> CollectiveStep {
    var step = CollectiveStep(.all)
    let sum = whole(buffer)
    let incoming = CollectiveSpan(.scratch, buffer == .scratch ? size : 0, size)
    if isSpectator {
      if index == 0 {
        step.send = CollectiveTransfer(rank + 1, whole(.input))
      } else {
        step.receive = CollectiveTransfer(rank + 1, sum)
      }
      return step
    }
    let round = isInPair ? index - 1 : index
    if index == 0 {
      step.copy = CollectiveMove(whole(.input), to: sum)
    } else if round == 0 || player & 1 << (round - 1) != 0 {
      // The other row is the lower one.
      step.combine = CollectiveMove(sum, to: incoming)
      step.copy = CollectiveMove(incoming, to: sum)
    } else {
      step.combine = CollectiveMove(incoming, to: sum)
    }
    if round < 0 {
      step.receive = CollectiveTransfer(rank - 1, incoming)
    } else if round < rounds {
      let partner = rank(ofPlayer: player ^ 1 << round)
      step.receive = CollectiveTransfer(partner, incoming)
      step.send = CollectiveTransfer(partner, sum)
    } else if isInPair {
      step.send = CollectiveTransfer(rank - 1, sum)
    }
    return step
  }

  /// What comes after an allreduce of which a member wants its own block.
  var ownBlockStep: CollectiveStep {
    var step = CollectiveStep(.receives)
    step.copy = CollectiveMove(blocks(.scratch, rank), to: CollectiveSpan(.result, 0, blockSize))
    return step
  }
}
