import Packet
import Testing

@Suite struct ForgetTests {
  /// Every set of ten packets, forgotten below every number: runs above stay whole, nothing below is new again.
  @Test func forgetsWholeRunsBelowANumber() {
    for mask in 1..<1_024 {
      for bound in 0...12 as ClosedRange<UInt64> {
        var ranges = AckRanges()
        for bit in 0..<10 where mask >> bit & 1 != 0 { ranges.insert(UInt64(bit) + 1) }
        let before = ranges
        ranges.forget(below: bound)
        if ranges.count == 0 || ranges.largest != before.largest { Issue.record("lost the largest of \(mask)") }
        for index in 0..<before.count {
          let isKept = index == 0 || before[index].last >= bound
          if isKept != (index < ranges.count) { Issue.record("run \(index) of \(mask) below \(bound)") }
        }
        for number in 1...10 as ClosedRange<UInt64> {
          let expected =
            before.contains(number) || (ranges.count < before.count && number < ranges[ranges.count - 1].first)
          // One run alone is kept as it is; below several, what is missing counts as received.
          let isBelow = before.count > 1 && number < ranges[ranges.count - 1].first
          if ranges.contains(number) != (expected || isBelow) { Issue.record("\(number) of \(mask) below \(bound)") }
        }
      }
    }
  }
}
