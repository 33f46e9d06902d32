/// Which packet numbers arrived: runs in descending order, the newest 32 of them.
///
/// Numbers below the oldest kept run count as received, so that nothing is processed twice; a packet that was lost
/// there is sent again under a new number.
package struct AckRanges: BitwiseCopyable {
  package static var maximumCount: Int { 32 }

  /// A run of packet numbers, both ends included.
  package struct Run: BitwiseCopyable {
    package var first: UInt64
    package var last: UInt64

    package init(first: UInt64, last: UInt64) {
      self.first = first
      self.last = last
    }
  }

  package private(set) var count = 0
  /// The newest run; apart from the others since nearly all packets concern it alone.
  private var newest = Run(first: 0, last: 0)
  /// All numbers up to here count as received.
  private var floor: UInt64 = 0
  private var older = InlineArray<31, Run>(repeating: Run(first: 0, last: 0))

  package init() {}

  /// The largest number received, 0 before the first.
  @inline(__always)
  package var largest: UInt64 { newest.last }

  /// Runs are newest first; `index` below `count`. Copies all of them on the way: for tests.
  package subscript(index: Int) -> Run { index == 0 ? newest : older[index - 1] }

  /// The same where they lie.
  fileprivate subscript(run index: Int) -> Run {
    @inline(__always) mutating get { index == 0 ? newest : older[index - 1] }
    @inline(__always) set { if index == 0 { newest = newValue } else { older[index - 1] = newValue } }
  }

  /// Whether numbers are missing so close below the largest that their sender may not know of their loss: within the
  /// packet threshold (RFC 9002 section 6.1.1).
  @inline(__always)
  package var isGapNews: Bool { count > 1 && newest.last - newest.first < 3 }

  /// Whether the number was received, or is so old that it counts as such. Copies the ranges on the way: for tests.
  package func contains(_ number: UInt64) -> Bool {
    var copy = self
    return Self.contains(&copy, number)
  }

  /// The same for ranges where they lie.
  @inline(__always)
  package static func contains(_ ranges: UnsafeMutablePointer<AckRanges>, _ number: UInt64) -> Bool {
    let newest = ranges.pointee.newest
    if number > newest.last { return false }
    return number >= newest.first || isInOlder(ranges, number)
  }

  @inline(never)
  private static func isInOlder(_ ranges: UnsafeMutablePointer<AckRanges>, _ number: UInt64) -> Bool {
    ranges.pointee.isInOlder(number)
  }

  private func isInOlder(_ number: UInt64) -> Bool {
    if number <= floor { return true }
    for index in 1..<max(count, 1) where number >= self[index].first { return number <= self[index].last }
    return false
  }

  /// Adds a number that is not contained yet. Returns whether it came in order: directly after the largest.
  @inline(__always)
  @discardableResult
  package mutating func insert(_ number: UInt64) -> Bool {
    if count > 0 && number == newest.last &+ 1 {
      newest.last = number
      return true
    }
    let isFirst = count == 0 && number == 1
    insertOutOfOrder(number)
    return isFirst
  }

  /// Drops the runs wholly below a number: the sender has heard of them, and what is missing between them was sent
  /// again since (RFC 9000 section 13.2.4). Numbers below what is left count as received.
  @inline(__always)
  package mutating func forget(below number: UInt64) {
    if count > 1 { forgetOlder(below: number) }
  }

  private mutating func forgetOlder(below number: UInt64) {
    while count > 1 && self[run: count - 1].last < number { count -= 1 }
    floor = max(floor, self[run: count - 1].first - 1)
  }

  private mutating func insertOutOfOrder(_ number: UInt64) {
    var index = 0
    while index < count && number < self[run: index].first { index += 1 }
    // Runs before `index` lie wholly above the number, the run at `index` below it.
    let extendsLower = index < count && self[run: index].last + 1 == number
    let extendsUpper = index > 0 && number + 1 == self[run: index - 1].first
    switch (extendsLower, extendsUpper) {
    case (true, true):
      self[run: index - 1].first = self[run: index].first
      removeRun(at: index)
    case (true, false): self[run: index].last = number
    case (false, true): self[run: index - 1].first = number
    case (false, false): insertRun(Run(first: number, last: number), at: index)
    }
  }

  private mutating func removeRun(at index: Int) {
    var position = index
    while position + 1 < count {
      self[run: position] = self[run: position + 1]
      position += 1
    }
    count -= 1
  }

  private mutating func insertRun(_ run: Run, at index: Int) {
    if count == Self.maximumCount {
      count -= 1
      floor = self[run: count].last
      guard index <= count else { return }
    }
    var position = count
    while position > index {
      self[run: position] = self[run: position - 1]
      position -= 1
    }
    self[run: index] = run
    count += 1
  }
}

/// RANGE_ACK, 12 bytes and 8 for each further run: count u8, delay u16, largest u32, length u32, then `count` times
/// gap u32, length u32.
///
/// `delay` is how long the largest was held back, in microseconds, saturating. Lengths and gaps are numbers of packets,
/// none of them 0. Runs descend.
package struct RangeAckFrame: BitwiseCopyable {
  package static var fixedSize: Int { 12 }

  package var delay: UInt16
  package var largest: UInt32
  private var firstLength: UInt32
  private var furtherCount: Int
  private var further: UnsafeRawPointer

  /// Bytes that a frame with as many runs takes.
  package static func size(runs: Int) -> Int { fixedSize + (runs - 1) * 8 }

  /// Writes the newest runs, as many as there is room for; at least one is there and fits.
  ///
  /// By pointer, since the ranges are half a kilobyte.
  package static func encode(_ ranges: UnsafeMutablePointer<AckRanges>, delay: UInt16, _ writer: inout ByteWriter) {
    let count = min(ranges.pointee.count, (writer.remaining - fixedSize) / 8 + 1)
    let newest = ranges.pointee[run: 0]
    writer.write(FrameType.rangeAck.rawValue)
    writer.write(UInt8(truncatingIfNeeded: count - 1))
    writer.write(delay)
    writer.write(UInt32(truncatingIfNeeded: newest.last))
    writer.write(UInt32(truncatingIfNeeded: min(newest.last - newest.first + 1, UInt64(UInt32.max))))
    var previous = newest
    for index in 1..<max(count, 1) {
      let run = ranges.pointee[run: index]
      writer.write(UInt32(truncatingIfNeeded: previous.first - run.last - 1))
      writer.write(UInt32(truncatingIfNeeded: run.last - run.first + 1))
      previous = run
    }
  }

  package init?(_ reader: inout ByteReader) {
    guard reader.has(Self.fixedSize) else { return nil }
    furtherCount = Int(reader.peek(1, as: UInt8.self))
    delay = reader.peek(2, as: UInt16.self)
    largest = reader.peek(4, as: UInt32.self)
    firstLength = reader.peek(8, as: UInt32.self)
    further = reader.position + Self.fixedSize
    guard firstLength > 0, reader.has(Self.fixedSize + furtherCount * 8) else { return nil }
    reader.skip(Self.fixedSize + furtherCount * 8)
  }

  /// Walks the runs, newest first, given the full number of the largest. A malformed rest ends the walk.
  package struct Runs: BitwiseCopyable {
    private var frame: RangeAckFrame
    private var index = -1
    private var lowest: UInt64

    package init(_ frame: RangeAckFrame, largest: UInt64) {
      self.frame = frame
      lowest = largest
    }

    package mutating func next() -> AckRanges.Run? {
      guard index < frame.furtherCount else { return nil }
      var length = UInt64(frame.firstLength)
      var last = lowest
      if index >= 0 {
        let entry = frame.further + index * 8
        let gap = UInt64(UInt32(littleEndian: entry.loadUnaligned(as: UInt32.self)))
        length = UInt64(UInt32(littleEndian: entry.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        guard gap > 0, length > 0, lowest > gap + 1 else { return nil }
        last = lowest - gap - 1
      }
      index += 1
      lowest = last >= length ? last - length + 1 : 0
      return AckRanges.Run(first: lowest, last: last)
    }
  }
}
