import Transport

/// Bytes that are a function of who sends them and where they belong, so that a misplaced one is seen.
package struct Content {
  private let key: UInt64

  package init(_ operation: Int, salt: UInt64) { key = mix(salt &+ UInt64(operation)) | 1 }

  @inline(__always)
  private func word(_ index: Int) -> UInt64 { (key &+ UInt64(truncatingIfNeeded: index)) &* 0xD6E8_FEB8_6659_FD93 }

  @inline(__always)
  private func byte(_ offset: Int) -> UInt8 { UInt8(truncatingIfNeeded: word(offset >> 3) >> UInt64(offset & 7 * 8)) }

  /// Writes the bytes from `offset` of the whole on.
  package func fill(_ memory: UnsafeMutableRawPointer, count: Int, offset: Int) {
    var position = 0
    while position < count && (offset + position) & 7 != 0 {
      memory.storeBytes(of: byte(offset + position), toByteOffset: position, as: UInt8.self)
      position += 1
    }
    while position + 8 <= count {
      memory.storeBytes(of: word((offset + position) >> 3), toByteOffset: position, as: UInt64.self)
      position += 8
    }
    while position < count {
      memory.storeBytes(of: byte(offset + position), toByteOffset: position, as: UInt8.self)
      position += 1
    }
  }

  /// The first byte that is wrong, counted within the whole; nil when all are right.
  package func firstDifference(_ memory: UnsafeRawPointer, count: Int, offset: Int) -> Int? {
    var position = 0
    while position < count {
      if (offset + position) & 7 == 0 && position + 8 <= count
        && memory.loadUnaligned(fromByteOffset: position, as: UInt64.self) == word((offset + position) >> 3)
      {
        position += 8
        continue
      }
      if memory.load(fromByteOffset: position, as: UInt8.self) != byte(offset + position) { return offset + position }
      position += 1
    }
    return nil
  }
}

/// Memory of an operation: a few parts with untouchable bytes before, between and behind them.
package final class GuardedMemory {
  /// Marks bytes that nobody may write.
  private static let guardByte: UInt8 = 0xA7
  private static let guardSize = 32

  package let count: Int
  private let base: UnsafeMutableRawPointer
  private let size: Int
  private let isOwned: Bool
  /// Where each part lies in the memory, and which bytes of the whole it holds.
  package let parts: [(start: Int, count: Int, offset: Int)]

  /// `gap`: untouchable bytes between two parts; 0 makes them touch.
  package init(parts counts: [Int], gap: Int) {
    parts = Self.lay(counts, gap: gap, from: Self.guardSize)
    count = counts.reduce(0, +)
    size = Self.end(of: parts) + Self.guardSize
    isOwned = true
    base = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
    base.initializeMemory(as: UInt8.self, repeating: Self.guardByte, count: size)
  }

  /// Parts of memory that others use too, the first at `start`.
  package init(parts counts: [Int], gap: Int, at start: Int, of memory: SharedMemory) {
    parts = Self.lay(counts, gap: gap, from: start)
    count = counts.reduce(0, +)
    size = memory.count
    isOwned = false
    base = memory.base
    precondition(Self.end(of: parts) <= size)
  }

  private static func lay(_ counts: [Int], gap: Int, from start: Int) -> [(start: Int, count: Int, offset: Int)] {
    var start = start
    var offset = 0
    return counts.map { count in
      defer {
        start += count + gap
        offset += count
      }
      return (start, count, offset)
    }
  }

  private static func end(of parts: [(start: Int, count: Int, offset: Int)]) -> Int {
    parts.last.map { $0.start + $0.count } ?? guardSize
  }

  deinit { if isOwned { base.deallocate() } }

  package func slice(_ part: Int) -> Slice { Slice(base: base + parts[part].start, count: parts[part].count) }

  package func withSlices<Result>(_ body: (UnsafePointer<Slice>, Int) -> Result) -> Result {
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: max(parts.count, 1)) { slices in
      for index in parts.indices { slices.initializeElement(at: index, to: slice(index)) }
      return body(UnsafePointer(slices.baseAddress!), parts.count)
    }
  }

  package func fill(_ content: Content) {
    for part in parts { content.fill(base + part.start, count: part.count, offset: part.offset) }
  }

  /// Overwrites all parts with one byte.
  package func fill(_ byte: UInt8) {
    for part in parts { (base + part.start).initializeMemory(as: UInt8.self, repeating: byte, count: part.count) }
  }

  /// Copies the first bytes of the whole into the parts, as many as there is room for.
  package func copy(from payload: UnsafeRawPointer, count: Int) {
    for part in parts where part.offset < count {
      (base + part.start).copyMemory(from: payload + part.offset, byteCount: min(part.count, count - part.offset))
    }
  }

  /// Copies all parts.
  package func copy(to memory: UnsafeMutableRawPointer) {
    for part in parts { (memory + part.offset).copyMemory(from: base + part.start, byteCount: part.count) }
  }

  /// What is wrong with the first `length` bytes; nil when nothing is.
  package func difference(_ content: Content, length: Int) -> String? {
    for part in parts where part.offset < length {
      let count = min(part.count, length - part.offset)
      if let wrong = content.firstDifference(base + part.start, count: count, offset: part.offset) {
        return "byte \(wrong) of \(length) is wrong"
      }
    }
    return nil
  }

  /// What is wrong with the parts, which should hold `bytes`; nil when nothing is.
  package func difference(_ bytes: [UInt8]) -> String? {
    for part in parts {
      for index in 0..<part.count
      where (base + part.start).load(fromByteOffset: index, as: UInt8.self) != bytes[part.offset + index] {
        return "byte \(part.offset + index) of \(bytes.count) is not what was there before later operations"
      }
    }
    return nil
  }

  /// Whether every byte of every part from `length` on is `byte`, and every guard untouched.
  package func damage(_ byte: UInt8, from length: Int = 0) -> String? {
    var position = 0
    for part in parts {
      if let wrong = first(notEqualTo: Self.guardByte, position..<part.start) { return "byte \(wrong) beside a part" }
      let kept = min(max(length - part.offset, 0), part.count)
      if let wrong = first(notEqualTo: byte, (part.start + kept)..<(part.start + part.count)) {
        return "byte \(wrong - part.start + part.offset) was written"
      }
      position = part.start + part.count
    }
    return first(notEqualTo: Self.guardByte, position..<size).map { "byte \($0) behind the parts" }
  }

  private func first(notEqualTo byte: UInt8, _ range: Range<Int>) -> Int? {
    let pattern = UInt64(byte) &* 0x0101_0101_0101_0101
    var position = range.lowerBound
    while position < range.upperBound {
      if position + 8 <= range.upperBound && base.loadUnaligned(fromByteOffset: position, as: UInt64.self) == pattern {
        position += 8
      } else if base.load(fromByteOffset: position, as: UInt8.self) == byte {
        position += 1
      } else {
        return position
      }
    }
    return nil
  }
}
