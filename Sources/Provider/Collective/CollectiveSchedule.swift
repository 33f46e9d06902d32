/// What one member of a group does in a collective operation: a row of steps, which follow from the operation, the
/// sizes, and the member's place alone. All members come to matching rows without asking each other.
///
/// Which algorithm is taken is decided by its cost in the model of Thakur, Rabenseifner and Gropp, "Optimization of
/// Collective Communication Operations in MPICH" (Int. J. High Performance Computing Applications 19(1), 2005): a round
/// costs what ``roundCost`` bytes do, and its bytes. Trees and doubling take the fewest rounds, rings move the fewest
/// bytes: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of workstations" (J. Parallel and
/// Distributed Computing 69(2), 2009).
///
/// Reductions combine in an order that depends on the group's size, the sizes and, of a reduce, the root, and on nothing
/// else, and every element of a result is either computed by one member for all, or by all in the same order. So
/// floating-point results have the same bits on all members, and whenever the operation is repeated.
package struct CollectiveSchedule: BitwiseCopyable {
  /// Members of the group; this one's place among them; the place of the operation's root, 0 where there is none.
  package let members: Int
  package let rank: Int
  package let root: Int
  /// Elements in all blocks, one block for each member, and bytes of an element.
  package let elements: Int
  package let elementSize: Int
  /// Bytes of the scratch buffer.
  package private(set) var scratchSize = 0
  private var phases: (CollectivePhase, CollectivePhase) = (.nothing, .nothing)

  /// A schedule without steps.
  package init(members: Int, rank: Int, root: Int = 0, elements: Int = 0, elementSize: Int = 0) {
    precondition(members > 0 && rank >= 0 && rank < members && root >= 0 && root < members)
    self.members = members
    self.rank = rank
    self.root = root
    self.elements = elements
    self.elementSize = elementSize
  }

  /// The schedule of an operation on `count` elements: of a broadcast, reduce or allreduce all there are, of others
  /// those that each member gets from, or gives to, each. `count` times the members, in bytes, is an Int.
  package init(
    _ operation: CollectiveKind, members: Int, rank: Int, root: Int = 0, count: Int = 0, elementSize: Int = 0
  ) {
    let elements = operation.isWhole ? count : count * members
    self.init(members: members, rank: rank, root: root, elements: elements, elementSize: elementSize)
    guard operation == .barrier || elements > 0 else { return }
    guard members > 1 else {
      phases.0 = operation == .barrier || operation == .broadcast ? .nothing : .copy
      return
    }
    phases = Self.choose(operation, members, bytes: elements * elementSize)
    scratchSize = scratchSize(of: phases.0)
  }

  /// About what a round trip costs, in bytes that could be moved meanwhile.
  package static var roundCost: Int { 32 * 1024 }
  /// Largest result of an allgather, in bytes, that blocks are collected for in as few rounds as possible.
  private static var smallGather: Int { 64 * 1024 }

  private static func choose(
    _ operation: CollectiveKind, _ members: Int, bytes: Int
  ) -> (CollectivePhase, CollectivePhase) {
    let rounds = ceilingLog2(members)
    // Beyond that the choice is clear, and products would overflow.
    let bytes = min(bytes, 1 << 40)
    let fewestRounds = rounds * (roundCost + bytes)
    let fewestBytes = 2 * (members - 1) * roundCost + 2 * bytes
    switch operation {
    case .barrier: return (.dissemination, .nothing)
    case .broadcast:
      let isShort = fewestRounds <= (rounds + members - 1) * roundCost + 2 * bytes
      return isShort ? (.broadcastTree, .nothing) : (.scatterInPlace, .ringAllgather)
    case .scatter: return (.scatterTree, .nothing)
    case .gather: return (.gatherTree, .nothing)
    case .reduce:
      return fewestRounds <= fewestBytes ? (.reduceTree, .nothing) : (.ringReduceScatter(.atRoot), .collect)
    case .allreduce:
      let isPower = members & (members - 1) == 0
      let isShort = (isPower ? fewestRounds : fewestRounds + roundCost + bytes) <= fewestBytes
      return isShort ? (.doubling, .nothing) : (.ringReduceScatter(.inPlace), .ringAllgather)
    case .reduceScatter:
      let isShort = fewestRounds <= (members - 1) * roundCost + bytes
      return isShort ? (.doublingForBlock, .nothing) : (.ringReduceScatter(.alone), .nothing)
    case .allgather: return bytes <= smallGather ? (.bruckAllgather, .nothing) : (.copiedRingAllgather, .nothing)
    case .alltoall: return (.exchange, .nothing)
    }
  }

  /// The step with a number, counted from 0; nil after the last one. O(1).
  package func step(_ index: Int) -> CollectiveStep? {
    let count = stepCount(phases.0)
    if index < count { return step(index, of: phases.0) }
    return index - count < stepCount(phases.1) ? step(index - count, of: phases.1) : nil
  }

  private func stepCount(_ phase: CollectivePhase) -> Int {
    switch phase {
    case .nothing: 0
    case .copy: 1
    case .dissemination, .bruckAllgather: ceilingLog2(members)
    case .broadcastTree, .scatterInPlace: (position == 0 ? 0 : 1) + childCount
    case .scatterTree: (position == 0 ? 0 : 1) + childCount + (isLeaf ? 0 : 1)
    case .gatherTree: childCount + (position == 0 ? 0 : 1)
    case .reduceTree: childCount + 1
    case .doubling: doublingStepCount
    case .doublingForBlock: doublingStepCount + 1
    case .ringReduceScatter, .exchange: members
    case .ringAllgather, .copiedRingAllgather: members - 1
    case .collect: rank == root ? members - 1 : 1
    }
  }

  private func step(_ index: Int, of phase: CollectivePhase) -> CollectiveStep {
    switch phase {
    case .nothing: return CollectiveStep()
    case .copy:
      var step = CollectiveStep()
      step.copy = CollectiveMove(whole(.input), to: whole(.result))
      return step
    case .dissemination: return disseminationStep(index)
    case .bruckAllgather: return bruckStep(index)
    case .broadcastTree: return broadcastStep(index)
    case .scatterInPlace: return scatterInPlaceStep(index)
    case .scatterTree: return scatterStep(index)
    case .gatherTree: return gatherStep(index)
    case .reduceTree: return reduceStep(index)
    case .doubling: return doublingStep(index, in: .result)
    case .doublingForBlock: return index < doublingStepCount ? doublingStep(index, in: .scratch) : ownBlockStep
    case .ringReduceScatter(let place): return ringReduceStep(index, place)
    case .ringAllgather: return ringStep(index, copiesInput: false)
    case .copiedRingAllgather: return ringStep(index, copiesInput: true)
    case .exchange: return exchangeStep(index)
    case .collect: return collectStep(index)
    }
  }

  private func scratchSize(of phase: CollectivePhase) -> Int {
    switch phase {
    case .scatterTree, .gatherTree: position == 0 || isLeaf ? 0 : subtree * blockSize
    case .reduceTree: isLeaf ? 0 : position == 0 ? size : 2 * size
    case .doubling: size
    case .doublingForBlock: 2 * size
    case .ringReduceScatter: 2 * largestBlock
    default: 0
    }
  }

  // MARK: Blocks

  /// Bytes of all blocks, and of one where all are equal.
  var size: Int { elements * elementSize }
  var blockSize: Int { size / members }
  var largestBlock: Int { start(1) }

  /// Where a block begins, 0 to `members`. The first ones have an element more where the elements do not divide evenly.
  func start(_ block: Int) -> Int {
    let (quotient, remainder) = elements.quotientAndRemainder(dividingBy: members)
    return (quotient * block + min(block, remainder)) * elementSize
  }

  func whole(_ buffer: CollectiveBuffer) -> CollectiveSpan { CollectiveSpan(buffer, 0, size) }

  /// `count` blocks from `first` on, after the last of which comes block 0.
  func blocks(_ buffer: CollectiveBuffer, _ first: Int, _ count: Int = 1) -> CollectiveSpan {
    let first = modulo(first)
    let offset = start(first)
    let end = first + count
    if end <= members { return CollectiveSpan(buffer, offset, start(end) - offset) }
    return CollectiveSpan(buffer, offset, size - offset, wrapped: start(end - members))
  }

  /// A number between 0 and `members`, of one that is at most as much below or above.
  func modulo(_ number: Int) -> Int {
    number < 0 ? number + members : number >= members ? number - members : number
  }

  /// The place counted from the root on.
  var position: Int { modulo(rank - root) }
  /// The rank with such a place.
  func rank(at position: Int) -> Int { modulo(modulo(position) + root) }
}

/// The operations; raw values are fi_collective_op's.
///
/// Man page: fi_collective(3)
package enum CollectiveKind: UInt8, BitwiseCopyable, CaseIterable {
  case barrier, broadcast, alltoall, allreduce, allgather, reduceScatter, reduce, scatter, gather

  /// Its count is that of the whole vector, not of a member's block.
  package var isWhole: Bool { self == .barrier || self == .broadcast || self == .allreduce || self == .reduce }
  package var reduces: Bool { self == .allreduce || self == .reduceScatter || self == .reduce }
  package var hasRoot: Bool { self == .broadcast || self == .reduce || self == .scatter || self == .gather }
}

/// Where a reduced block ends up.
enum ReducedBlock: UInt8, BitwiseCopyable {
  /// In its place in the result.
  case inPlace
  /// It is the result.
  case alone
  /// In the root's result; the other members keep theirs where they are.
  case atRoot
}

/// An algorithm.
enum CollectivePhase: BitwiseCopyable {
  case nothing
  case copy
  case dissemination
  case broadcastTree, scatterInPlace, scatterTree, gatherTree, reduceTree
  case doubling, doublingForBlock
  case ringReduceScatter(ReducedBlock)
  case ringAllgather, copiedRingAllgather, bruckAllgather
  case collect
  case exchange
}

/// The smallest number whose power of two is at least `value`, which is positive.
func ceilingLog2(_ value: Int) -> Int { Int.bitWidth - (value - 1).leadingZeroBitCount }
