import Transport

/// Memory of one host that all writes and reads of one peer go to, and what must be in it: the content after the
/// operations that have started, one after the other.
package final class SharedMemory {
  package let count: Int
  package let base: UnsafeMutableRawPointer
  private let expected: UnsafeMutableRawPointer

  package init(count: Int, content: Content) {
    self.count = count
    base = .allocate(byteCount: count, alignment: 16)
    expected = .allocate(byteCount: count, alignment: 16)
    content.fill(base, count: count, offset: 0)
    expected.copyMemory(from: base, byteCount: count)
  }

  deinit {
    base.deallocate()
    expected.deallocate()
  }

  /// A write of `content` has started.
  package func write(_ content: Content, _ parts: [(start: Int, count: Int, offset: Int)]) {
    for part in parts { content.fill(expected + part.start, count: part.count, offset: part.offset) }
  }

  /// What a read that starts now must return.
  package func read(_ parts: [(start: Int, count: Int, offset: Int)]) -> [UInt8] {
    parts.flatMap { UnsafeRawBufferPointer(start: expected + $0.start, count: $0.count) }
  }

  /// The first byte that is not what it must be once all that has started is in place; nil when there is none.
  package var difference: Int? {
    var start = 0
    while start + 8 <= count
      && base.loadUnaligned(fromByteOffset: start, as: UInt64.self)
        == expected.loadUnaligned(fromByteOffset: start, as: UInt64.self)
    {
      start += 8
    }
    for index in start..<count
    where base.load(fromByteOffset: index, as: UInt8.self) != expected.load(fromByteOffset: index, as: UInt8.self) {
      return index
    }
    return nil
  }
}
