import Containers
import Testing

@Suite struct BufferPoolTests {
  /// Sizes around every power of two, and the ends.
  private static let sizes: [Int] = [0, 1] + (6...17).flatMap { [(1 << $0) - 1, 1 << $0, (1 << $0) + 1] }.dropLast()

  private static func capacity(_ count: Int) -> Int {
    var size = BufferPool.smallest
    while size < count { size *= 2 }
    return size
  }

  @Test(arguments: sizes)
  func givesAlignedMemoryOfTheNextPowerOfTwo(count: Int) {
    var pool = BufferPool()
    let buffer = pool.allocate(count)
    check(UInt(bitPattern: buffer) % 64 == 0)
    check(pool.reserved == Self.capacity(count))
    buffer.initializeMemory(as: UInt8.self, repeating: 0xA5, count: Self.capacity(count))
    pool.deallocate(buffer, count: count)
    check(pool.reserved == Self.capacity(count), "kept, not returned to the heap")
    check(pool.allocate(count) == buffer)
    check(pool.reserved == Self.capacity(count))
    pool.deallocate(buffer, count: count)
  }

  /// Buffers in use never overlap, and reuse is last in, first out within a size.
  @Test func buffersAreDistinct() {
    var pool = BufferPool()
    var random = Splitmix(state: 1)
    var used: [(buffer: UnsafeMutableRawPointer, count: Int, fill: UInt8)] = []
    var peak = 0
    for step in 0..<20_000 {
      if used.count < 40 && random.next() % 2 == 0 {
        let count = Self.sizes[Int(random.next() % 20)]
        let fill = UInt8(truncatingIfNeeded: step)
        let buffer = pool.allocate(count)
        buffer.initializeMemory(as: UInt8.self, repeating: fill, count: count)
        used.append((buffer, count, fill))
      } else if !used.isEmpty {
        let entry = used.remove(at: Int(random.next() % UInt64(used.count)))
        let bytes = UnsafeRawBufferPointer(start: entry.buffer, count: entry.count)
        check(bytes.allSatisfy { $0 == entry.fill })
        pool.deallocate(entry.buffer, count: entry.count)
      }
      peak = max(peak, pool.reserved)
    }
    check(pool.reserved == peak)
    for entry in used { pool.deallocate(entry.buffer, count: entry.count) }
  }

  /// After a burst the pool has a bounded number of bytes, and what it handed out before is still usable.
  @Test func givesBackWhatABurstTook() {
    var pool = BufferPool(keeping: 100_000)
    let burst = (0..<50).map { (buffer: pool.allocate(1_000 * $0), count: 1_000 * $0) }
    let used = pool.reserved
    check(used > 1_000_000 && pool.kept == 0)
    let last = pool.allocate(64)
    for entry in burst { pool.deallocate(entry.buffer, count: entry.count) }
    check(pool.kept > 50_000 && pool.kept <= 100_000 && pool.reserved == pool.kept + 64)
    last.initializeMemory(as: UInt8.self, repeating: 1, count: 64)
    pool.deallocate(last, count: 64)
    let again = (0..<50).map { (buffer: pool.allocate(1_000 * $0), count: 1_000 * $0) }
    check(pool.reserved >= used)
    for entry in again { pool.deallocate(entry.buffer, count: entry.count) }
    check(pool.kept <= 100_000)
  }

  @Test func steadyStateNeedsNoMemory() {
    var pool = BufferPool()
    let sizes = [64, 100, 1_000, 65_536]
    for size in sizes { pool.deallocate(pool.allocate(size), count: size) }
    let reserved = pool.reserved
    for _ in 0..<100 { for size in sizes { pool.deallocate(pool.allocate(size), count: size) } }
    check(pool.reserved == reserved)
  }
}
