import Testing

@testable import Provider

/// Each algorithm's steps, played for all members of a group at once: everybody gets everything exactly once, whatever
/// the order in which members go on.
@Suite struct CollectiveScheduleTests {
  /// A member while its steps are played.
  private struct Member {
    var schedule: CollectiveSchedule
    var buffers: [CollectiveBuffer: [UInt8]] = [:]
    var step = 0
    /// Posted receives that wait, by peer.
    var receives: [(peer: Int, span: CollectiveSpan)] = []

    func bytes(_ span: CollectiveSpan) -> [UInt8] {
      let buffer = buffers[span.buffer]!
      return Array(buffer[span.offset..<span.offset + span.length]) + Array(buffer[0..<span.wrapped])
    }

    mutating func store(_ bytes: [UInt8], in span: CollectiveSpan) {
      buffers[span.buffer]!.withUnsafeMutableBytes { buffer in
        bytes.withUnsafeBytes { bytes in
          buffer[span.offset..<span.offset + span.length].copyBytes(from: bytes[0..<span.length])
          buffer[0..<span.wrapped].copyBytes(from: bytes[span.length...])
        }
      }
    }

    mutating func perform(_ step: CollectiveStep) {
      if let combine = step.combine {
        var target = bytes(combine.target)
        let source = bytes(combine.source)
        #expect(target.count == source.count)
        target.withUnsafeMutableBytes { target in
          source.withUnsafeBytes {
            guard target.count > 0 else { return }
            AtomicArithmetic.apply(
              .sum, .uint64, target: target.baseAddress!, operand: $0.baseAddress!, count: target.count / 8)
          }
        }
        store(target, in: combine.target)
      }
      if let copy = step.copy {
        #expect(copy.source.count == copy.target.count)
        store(bytes(copy.source), in: copy.target)
      }
    }
  }

  /// Plays an operation on 64-bit numbers to its end. `order` decides who goes on next.
  private func play(
    _ kind: CollectiveKind, _ members: Int, root: Int, count: Int, seed: UInt64,
    input: (Int, Int) -> UInt64, inPlace: Bool = false
  ) -> [[UInt64]] {
    var state = seed
    func random(_ limit: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % limit
    }
    var group = (0..<members).map { rank -> Member in
      let schedule = CollectiveSchedule(kind, members: members, rank: rank, root: root, count: count, elementSize: 8)
      var member = Member(schedule: schedule)
      let all = kind.isWhole ? count : count * members
      var words = [UInt64](repeating: 0, count: all)
      for index in 0..<all { words[index] = input(rank, index) }
      member.buffers[.input] = words.withUnsafeBytes { Array($0) }
      member.buffers[.result] = [UInt8](repeating: 0xEE, count: all * 8)
      if inPlace || kind == .broadcast && rank == root { member.buffers[.result] = member.buffers[.input] }
      member.buffers[.scratch] = [UInt8](repeating: 0xDD, count: schedule.scratchSize)
      return member
    }
    // Messages on their way: those of one pair stay in order, and carry the sender's memory as it is when they arrive
    // unless the sender waits for its sends, which the transport may read at any time until then.
    var mail: [[[(span: CollectiveSpan, bytes: [UInt8])]]] = Array(
      repeating: Array(repeating: [], count: members), count: members)
    /// Lets a member receive a message, or else take its next step; false when it can do neither.
    func goOn(_ rank: Int) -> Bool {
      if let position = group[rank].receives.firstIndex(where: { !mail[$0.peer][rank].isEmpty }) {
        let receive = group[rank].receives.remove(at: position)
        let message = mail[receive.peer][rank].removeFirst()
        #expect(message.bytes.count == receive.span.count, "\(kind) \(members) \(rank)")
        #expect(group[receive.peer].bytes(message.span) == message.bytes, "memory changed while it was being sent")
        group[rank].store(message.bytes, in: receive.span)
        return true
      }
      guard let step = group[rank].schedule.step(group[rank].step) else { return false }
      let isReceiving = !group[rank].receives.isEmpty
      if step.waits != .nothing && isReceiving { return false }
      if step.waits == .all && mail[rank].contains(where: { !$0.isEmpty }) { return false }
      group[rank].perform(step)
      if let receive = step.receive { group[rank].receives.append((receive.peer, receive.span)) }
      if let send = step.send { mail[rank][send.peer].append((send.span, group[rank].bytes(send.span))) }
      group[rank].step += 1
      return true
    }
    while true {
      let first = random(members)
      guard (0..<members).contains(where: { goOn((first + $0) % members) }) else { break }
    }
    for rank in 0..<members {
      #expect(group[rank].schedule.step(group[rank].step) == nil, "\(kind) of \(members): \(rank) is stuck")
      #expect(group[rank].receives.isEmpty)
      #expect(mail[rank].allSatisfy { $0.isEmpty })
    }
    return group.map { member in
      member.buffers[.result]!.withUnsafeBytes { bytes in
        (0..<bytes.count / 8).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: UInt64.self) }
      }
    }
  }

  /// Counts that lead to every algorithm: small ones to trees and doubling, large ones to rings.
  private static let counts = [1, 3, 40]
  private static func large(_ members: Int) -> Int { 8192 * (members + 3) + 5 }
  private static let sizes = Array(1...33)

  private func counts(_ members: Int) -> [Int] {
    members == 3 || members == 6 ? Self.counts + [Self.large(members)] : Self.counts
  }

  private func roots(_ members: Int) -> [Int] { members < 10 ? Array(0..<members) : [0, 1, members / 2, members - 1] }

  @Test(arguments: sizes) func broadcast(members: Int) {
    for count in counts(members) {
      for root in count > 100 ? [members - 1] : roots(members) {
        let results = play(.broadcast, members, root: root, count: count, seed: 1) { rank, index in
          rank == root ? UInt64(index) &* 77 : 5
        }
        for rank in 0..<members { #expect(results[rank] == (0..<count).map { UInt64($0) &* 77 }) }
      }
    }
  }

  @Test(arguments: sizes) func scatter(members: Int) {
    for count in Self.counts {
      for root in roots(members) {
        let results = play(.scatter, members, root: root, count: count, seed: 2) { _, index in UInt64(index) }
        for rank in 0..<members {
          #expect(Array(results[rank][0..<count]) == (0..<count).map { UInt64(rank * count + $0) })
        }
      }
    }
  }

  @Test(arguments: sizes) func gather(members: Int) {
    for count in Self.counts {
      for root in roots(members) {
        let results = play(.gather, members, root: root, count: count, seed: 3) { rank, index in
          index < count ? UInt64(rank * count + index) : 0
        }
        #expect(results[root] == (0..<count * members).map { UInt64($0) })
      }
    }
  }

  @Test(arguments: sizes) func allgather(members: Int) {
    for count in counts(members) {
      let results = play(.allgather, members, root: 0, count: count, seed: 4) { rank, index in
        index < count ? UInt64(rank * count + index) : 0
      }
      for rank in 0..<members { #expect(results[rank] == (0..<count * members).map { UInt64($0) }) }
    }
  }

  @Test(arguments: sizes) func alltoall(members: Int) {
    for count in Self.counts {
      let results = play(.alltoall, members, root: 0, count: count, seed: 5) { rank, index in
        UInt64(rank << 32 | index)
      }
      for rank in 0..<members {
        let expected = (0..<count * members).map { UInt64(($0 / count) << 32 | (rank * count + $0 % count)) }
        #expect(results[rank] == expected)
      }
    }
  }

  /// Each member brings a bit of its own to every sum: a bit that is missing, or carried over, shows.
  private func bit(_ rank: Int, _ index: Int) -> UInt64 { (1 << UInt64(rank)) &* UInt64(index % 1000 + 1) }
  private func sum(_ members: Int, _ index: Int) -> UInt64 { ((1 << UInt64(members)) - 1) &* UInt64(index % 1000 + 1) }

  @Test(arguments: sizes, [false, true]) func allreduce(members: Int, inPlace: Bool) {
    for count in counts(members) {
      let results = play(.allreduce, members, root: 0, count: count, seed: 6, input: bit, inPlace: inPlace)
      for rank in 0..<members { #expect(results[rank] == (0..<count).map { sum(members, $0) }) }
    }
  }

  @Test(arguments: sizes) func reduce(members: Int) {
    for count in counts(members) {
      for root in count > 100 ? [members / 2] : roots(members) {
        let results = play(.reduce, members, root: root, count: count, seed: 7, input: bit)
        #expect(results[root] == (0..<count).map { sum(members, $0) })
      }
    }
  }

  @Test(arguments: sizes) func reduceScatter(members: Int) {
    for count in counts(members) {
      let results = play(.reduceScatter, members, root: 0, count: count, seed: 8, input: bit)
      for rank in 0..<members {
        #expect(Array(results[rank][0..<count]) == (0..<count).map { sum(members, rank * count + $0) })
      }
    }
  }

  /// A member has heard of all others, directly or not, when its last step is over.
  @Test(arguments: sizes) func barrier(members: Int) {
    var heard = (0..<members).map { Set([$0]) }
    var step = 0
    while true {
      let before = heard
      var isOver = true
      for rank in 0..<members {
        let own = CollectiveSchedule(.barrier, members: members, rank: rank).step(step)
        guard let receive = own?.receive else { continue }
        isOver = false
        let peers = CollectiveSchedule(.barrier, members: members, rank: receive.peer).step(step)
        #expect(peers?.send?.peer == rank)
        heard[rank].formUnion(before[receive.peer])
      }
      if isOver { break }
      step += 1
    }
    for rank in 0..<members { #expect(heard[rank].count == members) }
    #expect(step <= Int.bitWidth - (members - 1).leadingZeroBitCount)
  }

  @Test func orderOfMembersGoingOnDoesNotMatter() {
    for seed in 1...200 as ClosedRange<UInt64> {
      let members = Int(seed % 9) + 2
      let results = play(.allreduce, members, root: 0, count: 7, seed: seed, input: bit)
      for rank in 0..<members { #expect(results[rank] == (0..<7).map { sum(members, $0) }) }
    }
  }

  @Test func nothingIsSentForNothing() {
    for kind in CollectiveKind.allCases where kind != .barrier {
      #expect(CollectiveSchedule(kind, members: 5, rank: 2, count: 0, elementSize: 8).step(0) == nil)
    }
  }

  @Test func largeGroupsTakeFewRounds() {
    for rank in [0, 1, 511, 998, 999] {
      func steps(_ kind: CollectiveKind, _ count: Int) -> Int {
        let schedule = CollectiveSchedule(kind, members: 1000, rank: rank, root: 3, count: count, elementSize: 8)
        var step = 0
        while schedule.step(step) != nil { step += 1 }
        return step
      }
      #expect(steps(.barrier, 0) == 10)
      #expect(steps(.allreduce, 1) <= 13)
      #expect(steps(.allgather, 1) == 10)
      #expect(steps(.broadcast, 1000) <= 11)
      #expect(steps(.reduce, 1000) <= 12)
    }
  }

  @Test func tagsAreReadAsTheyAreWritten() {
    let handle = CollectiveHandle(slot: 4095, generation: 0xFFFF)
    #expect(handle.slot == 4095 && handle.generation == 0xFFFF)
    #expect(CollectiveHandle(address: handle.address) == handle)
    #expect(CollectiveHandle(address: 17) == nil && CollectiveHandle(address: .max) == nil)
    for tag in [
      .step(handle, .max), .join(0x1234_5678_9ABC_DEF0 & (1 << 62 - 1)), .failure(handle, 111), .probe(handle),
    ] as [CollectiveTag] {
      #expect(CollectiveTag(bits: tag.bits) == tag)
    }
  }
}
