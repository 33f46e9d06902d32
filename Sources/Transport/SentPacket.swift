import Containers
import Packet

/// What a sent frame was, so that its loss can be made good.
enum SentFrameKind: UInt8, BitwiseCopyable {
  /// Bytes `offset ..< offset + length` of an outbound operation.
  case payload
  /// Messages that are over, encoded: `length` bytes of them at `run`, in the buffer pool.
  case run
  /// The TRANSFER_NOTIFY or READ_REQUEST of an outbound operation.
  case announcement
  /// OPERATION_DONE: `sequence`, `count` in `length`, `status`.
  case done
  /// PULL_REQUEST of the inbound transfer, or the outbound read, in `slot`.
  case pull
  case pullRead
  case accept
  case credit
  case close
}

/// One frame that is in flight or has to be sent again; an element of the endpoint's slab.
///
/// Each part of an operation is owned by exactly one of these, in exactly one queue: that of the packet it last
/// travelled in, or its connection's queue of things to send.
struct SentFrame: BitwiseCopyable {
  var next: UInt32 = .max
  var kind: SentFrameKind
  var status: UInt8 = 0
  /// The slot is that of an answer to a peer's read, whose sequence numbers are the peer's.
  var isResponse = false
  var slot: UInt32 = 0
  /// Guards against a slot that was reused since.
  var sequence: UInt32 = 0
  var length: UInt32 = 0
  var offset: UInt64 = 0

  var run: UnsafeMutableRawPointer {
    get { UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: offset)).unsafelyUnwrapped }
    set { offset = UInt64(UInt(bitPattern: newValue)) }
  }

  init(_ kind: SentFrameKind) { self.kind = kind }
}

/// A singly linked queue of frames.
struct FrameQueue: BitwiseCopyable {
  private(set) var first: UInt32 = .max
  private(set) var last: UInt32 = .max

  @inline(__always)
  var isEmpty: Bool { first == .max }

  @inline(__always)
  mutating func append(_ frame: UInt32, in slab: borrowing Slab<SentFrame>) {
    slab[frame].pointee.next = .max
    if last == .max { first = frame } else { slab[last].pointee.next = frame }
    last = frame
  }

  @inline(__always)
  mutating func popFirst(in slab: borrowing Slab<SentFrame>) -> UInt32 {
    let frame = first
    if frame != .max {
      first = slab[frame].pointee.next
      if first == .max { last = .max }
    }
    return frame
  }

  /// Puts a frame back that was just taken.
  mutating func prepend(_ frame: UInt32, in slab: borrowing Slab<SentFrame>) {
    slab[frame].pointee.next = first
    first = frame
    if last == .max { last = frame }
  }
}

/// A packet that asks for an acknowledgement and has none yet; an element of the endpoint's slab.
struct SentPacket: BitwiseCopyable {
  var next: UInt32 = .max
  var size: UInt32
  var number: UInt64
  var time: Instant
  var frames = FrameQueue()
  /// Largest packet number that it acknowledges; 0 when it acknowledges none.
  var acknowledges: UInt64 = 0
  /// Of a path MTU probe: its loss says nothing about congestion.
  var isProbe = false
}

/// The packets in flight of one connection, oldest first.
struct SentPacketList: BitwiseCopyable {
  private(set) var first: UInt32 = .max
  private(set) var last: UInt32 = .max

  @inline(__always)
  var isEmpty: Bool { first == .max }

  @inline(__always)
  mutating func append(_ packet: UInt32, in slab: borrowing Slab<SentPacket>) {
    slab[packet].pointee.next = .max
    if last == .max { first = packet } else { slab[last].pointee.next = packet }
    last = packet
  }

  /// Unlinks the packet after `previous`, or the first when that is none.
  @inline(__always)
  mutating func remove(_ packet: UInt32, after previous: UInt32, in slab: borrowing Slab<SentPacket>) {
    let next = slab[packet].pointee.next
    if previous == .max { first = next } else { slab[previous].pointee.next = next }
    if last == packet { last = previous }
  }
}

/// Finds the longest time over which all that was sent was lost.
struct LostRun: BitwiseCopyable {
  /// From the first packet of the longest run to the last, in nanoseconds.
  private(set) var span: UInt64 = 0
  private var last: UInt64 = 0
  private var start: Instant = 0

  /// The next lost packet. Numbers that are missing between this one and the last may have been acknowledged.
  mutating func append(_ number: UInt64, time: Instant) {
    if number != last &+ 1 { start = time }
    last = number
    span = max(span, time &- start)
  }
}

/// Packets that were given up not long ago, to notice when they had arrived after all.
struct LostPackets: BitwiseCopyable {
  private static var capacity: Int { 16 }
  private var numbers = InlineArray<16, UInt64>(repeating: 0)
  private var times = InlineArray<16, Instant>(repeating: 0)
  private var position = 0
  /// The largest number of them, 0 while there is none: nearly all that is acknowledged lies beyond it.
  private var newest: UInt64 = 0

  mutating func append(_ number: UInt64, time: Instant) {
    newest = max(newest, number)
    numbers[position] = number
    times[position] = time
    position = (position + 1) % Self.capacity
  }

  /// When the packet was sent, if it is one of these and lies in the run.
  @inline(__always)
  mutating func sentTime(in run: AckRanges.Run) -> Instant? {
    run.first > newest ? nil : find(run)
  }

  private mutating func find(_ run: AckRanges.Run) -> Instant? {
    for index in 0..<Self.capacity where numbers[index] != 0 {
      if numbers[index] >= run.first && numbers[index] <= run.last { return times[index] }
    }
    return nil
  }

  mutating func remove(in run: AckRanges.Run) {
    for index in 0..<Self.capacity where numbers[index] >= run.first && numbers[index] <= run.last {
      numbers[index] = 0
    }
  }
}
