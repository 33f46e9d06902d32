import Containers
import Packet

/// One packet under construction in a batch: what is written into the arena, and the memory gathered between.
struct PacketBuilder: ~Copyable {
  /// Payload up to this size is copied next to its header; longer payload is gathered from where it lies.
  private static var copyLimit: Int { 1024 }
  /// What Linux takes by reference in one datagram.
  private static var maximumPages: Int { 16 }

  var writer: ByteWriter
  /// Frames that the packet carries, for `SentPacket`.
  var frames = FrameQueue()
  /// Something in it wants to be acknowledged.
  var isEliciting = false
  /// Largest packet number that it acknowledges; 0 when it acknowledges none.
  var acknowledges: UInt64 = 0
  /// A frame with payload, or that starts an operation, is in it.
  var hasPayload = false

  private let start: UnsafeMutableRawPointer
  private var gathered: UnsafeMutableRawPointer
  private let firstSlice: Int
  private let slicesBefore: Int
  private let limit: Int
  private let pageSize: Int
  private var referenced = 0
  /// Pages of memory that the packet's pieces lie in so far.
  private var pages = 0

  /// Begins a packet of at most `limit` bytes in a transmit whose slices begin at `firstSlice`.
  init(_ batch: borrowing TransmitBatch, firstSlice: Int, limit: Int, pageSize: Int) {
    self.pageSize = pageSize
    start = batch.arena + batch.arenaUsed
    gathered = start
    writer = ByteWriter(start: start, end: start + limit)
    self.firstSlice = firstSlice
    slicesBefore = batch.sliceCount
    self.limit = limit
  }

  /// Bytes of the packet so far.
  var size: Int { (writer.position - start) + referenced }

  /// Bytes that still fit.
  @inline(__always)
  var room: Int { limit - size }

  /// The flags byte of the packet's header.
  var flags: UnsafeMutableRawPointer { start + 1 }

  /// Appends payload.
  @inline(__always)
  mutating func append(_ bytes: UnsafeMutableRawPointer, _ count: Int, to batch: inout TransmitBatch) {
    if count <= Self.copyLimit || batch.sliceCount - firstSlice >= TransmitBatch.maximumSlicesPerTransmit - 4 {
      return writer.write(bytes, count: count)
    }
    flush(to: &batch)
    batch.gather(bytes, count, from: firstSlice)
    referenced += count
    if pageSize > 0 { pages += (Int(bitPattern: bytes) & (pageSize - 1) + count + pageSize - 1) / pageSize }
  }

  /// How much of the memory from `base + offset` on to put into one frame: up to the end of the last page that a socket
  /// takes by reference beside what the packet has already. The next frame then begins with a page.
  @inline(__always)
  func pieceLimit(_ base: UnsafeMutableRawPointer?, _ offset: UInt64) -> Int {
    let left = Self.maximumPages - pages - 1
    guard pageSize > 0, left >= Self.maximumPages / 4 else { return .max }
    let address = UInt(bitPattern: base) &+ UInt(truncatingIfNeeded: offset)
    return left * pageSize - Int(address & UInt(pageSize - 1))
  }

  /// Fills up with PADDING.
  mutating func pad(to size: Int) { writer.pad(size - self.size) }

  /// The packet is complete: its last bytes join the transmit.
  mutating func finish(_ batch: inout TransmitBatch) {
    flush(to: &batch)
    batch.arenaUsed += writer.position - start
  }

  /// Nothing of the packet is to leave.
  func cancel(_ batch: inout TransmitBatch) { batch.sliceCount = slicesBefore }

  private mutating func flush(to batch: inout TransmitBatch) {
    let count = writer.position - gathered
    if count > 0 {
      batch.gather(gathered, count, from: firstSlice)
      pages += 1
    }
    gathered = writer.position
  }
}
