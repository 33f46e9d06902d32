import Packet
import Testing

@Suite struct AckRangesTests {
  /// Runs of a set of numbers, newest first.
  private func runs(_ numbers: Set<UInt64>) -> [[UInt64]] {
    var runs: [[UInt64]] = []
    for number in numbers.sorted(by: >) {
      if let last = runs.last, last[0] == number + 1 {
        runs[runs.count - 1][0] = number
      } else {
        runs.append([number, number])
      }
    }
    return runs
  }

  private func contents(_ ranges: AckRanges) -> [[UInt64]] {
    (0..<ranges.count).map { [ranges[$0].first, ranges[$0].last] }
  }

  /// Every order in which up to seven packets arrive, every subset of them being lost.
  @Test func behavesLikeASetInEveryOrderOfArrival() {
    var orders = 0
    func extend(_ ranges: AckRanges, _ numbers: Set<UInt64>) {
      orders += 1
      if contents(ranges) != runs(numbers) { Issue.record("\(contents(ranges)) for \(numbers)") }
      if ranges.largest != numbers.max() ?? 0 { Issue.record("largest \(ranges.largest) of \(numbers)") }
      for number in 1...8 as ClosedRange<UInt64> where ranges.contains(number) != numbers.contains(number) {
        Issue.record("contains(\(number)) with \(numbers)")
      }
      for number in 1...7 as ClosedRange<UInt64> where !numbers.contains(number) {
        var next = ranges
        let inOrder = next.insert(number)
        if inOrder != (number == ranges.largest + 1) { Issue.record("\(number) after \(numbers): \(inOrder)") }
        extend(next, numbers.union([number]))
      }
    }
    extend(AckRanges(), [])
    #expect(orders == 13_700, "all arrangements of all subsets of seven")
  }

  @Test func zeroIsNeverNew() {
    #expect(AckRanges().contains(0))
  }

  /// Beyond 32 runs the oldest is forgotten, and everything below it counts as received.
  @Test func forgetsTheOldestRuns() {
    var ranges = AckRanges()
    for step in 1...40 as ClosedRange<UInt64> { ranges.insert(step * 10) }
    #expect(ranges.count == 32)
    #expect(contents(ranges) == (9...40).reversed().map { [$0 * 10, $0 * 10] })
    for number in 0...80 as ClosedRange<UInt64> { #expect(ranges.contains(number)) }
    for number in 81...89 as ClosedRange<UInt64> { #expect(!ranges.contains(number)) }
    #expect(ranges.contains(90))
    #expect(!ranges.contains(91))
  }

  /// Long random arrivals against a set: what is contained stays contained, what is not was never inserted.
  @Test(arguments: 1...40)
  func staysConsistentWithManyGaps(seed: UInt64) {
    var random = Splitmix(state: seed)
    var ranges = AckRanges()
    var inserted: Set<UInt64> = []
    var forgotten: UInt64 = 0
    let spread = seed * 4
    for step in 1...600 as ClosedRange<UInt64> {
      let number = max(1, step &+ random.next() % spread)
      let contained = ranges.contains(number)
      #expect(contained == (inserted.contains(number) || number <= forgotten))
      guard !contained else { continue }
      let inOrder = ranges.insert(number)
      #expect(inOrder == (number == (inserted.max() ?? 0) + 1))
      inserted.insert(number)
      #expect(ranges.contains(number))
      var expected = runs(inserted.filter { $0 > forgotten })
      if expected.count > AckRanges.maximumCount {
        #expect(expected.count == AckRanges.maximumCount + 1)
        // Either the new run or the oldest kept one went.
        forgotten = expected[ranges.count][1]
        expected.removeSubrange(ranges.count...)
      }
      #expect(contents(ranges) == expected)
    }
  }

  @Test func encodesWhatFits() {
    var ranges = AckRanges()
    for number in [1, 2, 5, 9, 10, 11] as [UInt64] { ranges.insert(number) }
    let golden = bytes(
      """
      02 02 3412 0b000000 03000000
      03000000 01000000
      02000000 02000000
      """)
    #expect(encoded(28) { RangeAckFrame.encode(&ranges, delay: 0x1234, &$0) } == golden)
    #expect(encoded(100) { RangeAckFrame.encode(&ranges, delay: 0x1234, &$0) } == golden)
    for (room, count) in [(12, 0), (19, 0), (20, 1), (27, 1)] {
      var expected = Array(golden[..<RangeAckFrame.size(runs: count + 1)])
      expected[1] = UInt8(count)
      #expect(encoded(room) { RangeAckFrame.encode(&ranges, delay: 0x1234, &$0) } == expected)
    }
  }

  private func decode(_ frame: some Collection<UInt8>, largest: UInt64) -> [[UInt64]]? {
    withReader(frame) { reader in
      guard let ack = RangeAckFrame(&reader) else { return nil }
      #expect(reader.remaining == 0)
      #expect(ack.largest == UInt32(truncatingIfNeeded: largest))
      var walk = RangeAckFrame.Runs(ack, largest: largest)
      var runs: [[UInt64]] = []
      while let run = walk.next() { runs.append([run.first, run.last]) }
      return runs
    }
  }

  /// Every set of up to 10 packets survives the wire, also around the wrap of the 32 bits.
  @Test(arguments: [0, 0xFFFF_FFF8, 0x1_0000_0000, 0x7FFF_FFFF_0000_0000] as [UInt64])
  func survivesTheWire(base: UInt64) {
    for mask in 1..<1024 {
      var ranges = AckRanges()
      var numbers: Set<UInt64> = []
      for bit in 0..<10 where mask >> bit & 1 != 0 {
        ranges.insert(base + UInt64(bit) + 1)
        numbers.insert(base + UInt64(bit) + 1)
      }
      let frame = encoded(RangeAckFrame.size(runs: ranges.count)) { RangeAckFrame.encode(&ranges, delay: 0, &$0) }
      if decode(frame, largest: ranges.largest) != runs(numbers) { Issue.record("\(numbers) came out otherwise") }
    }
  }

  @Test func malformedFramesEndTheWalk() {
    // No first run, and cut off at every byte.
    #expect(decode(bytes("02 00 0000 05000000 00000000"), largest: 5) == nil)
    let whole = bytes("02 02 0000 0a000000 01000000 01000000 01000000 01000000 01000000")
    #expect(decode(whole, largest: 10) == [[10, 10], [8, 8], [6, 6]])
    for length in 0..<whole.count { #expect(decode(whole[..<length], largest: 10) == nil) }
    // A gap or a length of zero, and runs that would pass below zero.
    #expect(decode(bytes("02 01 0000 0a000000 01000000 00000000 01000000"), largest: 10) == [[10, 10]])
    #expect(decode(bytes("02 01 0000 0a000000 01000000 01000000 00000000"), largest: 10) == [[10, 10]])
    #expect(decode(bytes("02 01 0000 0a000000 01000000 ffffffff 01000000"), largest: 10) == [[10, 10]])
    #expect(decode(bytes("02 01 0000 0a000000 01000000 01000000 ffffffff"), largest: 10) == [[10, 10], [0, 8]])
    #expect(decode(bytes("02 00 0000 0a000000 ffffffff"), largest: 10) == [[0, 10]])
    #expect(decode(bytes("02 01 0000 0a000000 0a000000 01000000 01000000"), largest: 10) == [[1, 10]])
  }

  /// Whatever the bytes and whatever the number they are taken for, the walk ends and its runs descend.
  @Test func randomFramesNeverTrap() {
    var random = Splitmix(state: 7)
    for round in 0..<200_000 {
      var frame = (0..<Int(random.next() % 64)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      if frame.count > 1 { frame[1] %= 8 }
      if round % 2 == 0 { for index in frame.indices where index % 4 >= 2 { frame[index] = 0 } }
      let largest = round % 3 == 0 ? random.next() : random.next() % 100
      withReader(frame) { reader in
        guard let ack = RangeAckFrame(&reader) else { return }
        var walk = RangeAckFrame.Runs(ack, largest: largest)
        var previous: UInt64?
        while let run = walk.next() {
          if run.first > run.last || run.last > largest { Issue.record("run \(run) of \(frame)") }
          if let previous, run.last + 1 >= previous { Issue.record("runs touch in \(frame)") }
          previous = run.first
        }
      }
    }
  }
}
