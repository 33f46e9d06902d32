import Containers
import Packet

/// Up to `maximumSlices` pieces of memory and the remote segments, of the few operations that have more than one.
struct ScatterList: BitwiseCopyable {
  var slices = InlineArray<16, Slice>(repeating: Slice(base: nil, count: 0))
  var segments = InlineArray<4, RemoteSegment>(repeating: RemoteSegment(address: 0, length: 0, key: 0))
}

/// Local memory of an operation or transfer: one slice in place, more in a scatter list.
struct LocalMemory: BitwiseCopyable {
  var first = Slice(base: nil, count: 0)
  var count: UInt8 = 0
  var scatter: UInt32 = .max

  /// Bytes in all slices.
  func length(_ scatters: borrowing Slab<ScatterList>) -> UInt64 {
    if count <= 1 { return UInt64(count == 0 ? 0 : first.count) }
    var total: UInt64 = 0
    for index in 0..<Int(count) { total += UInt64(scatters[scatter].pointee.slices[index].count) }
    return total
  }

  /// Calls `body` with each contiguous piece of `offset ..< offset + length` that lies in this memory, in order.
  @inline(__always)
  func forEachPiece(
    _ offset: UInt64, _ length: Int, _ scatters: borrowing Slab<ScatterList>,
    _ body: (UnsafeMutableRawPointer, Int) -> Void
  ) {
    if count <= 1 {
      guard let base = first.base, offset < UInt64(first.count) else { return }
      let piece = min(length, first.count - Int(offset))
      if piece > 0 { body(base + Int(offset), piece) }
      return
    }
    forEachScatteredPiece(offset, length, scatters, body)
  }

  private func forEachScatteredPiece(
    _ offset: UInt64, _ length: Int, _ scatters: borrowing Slab<ScatterList>,
    _ body: (UnsafeMutableRawPointer, Int) -> Void
  ) {
    var skipped = offset
    var remaining = length
    for index in 0..<Int(count) where remaining > 0 {
      let slice = scatters[scatter].pointee.slices[index]
      if skipped >= UInt64(slice.count) {
        skipped -= UInt64(slice.count)
        continue
      }
      let piece = min(remaining, slice.count - Int(skipped))
      body(slice.base! + Int(skipped), piece)
      remaining -= piece
      skipped = 0
    }
  }

  /// Whether any byte is also `other`'s.
  func overlaps(_ other: LocalMemory, _ scatters: borrowing Slab<ScatterList>) -> Bool {
    for mine in 0..<Int(count) {
      let a = slice(mine, scatters)
      for theirs in 0..<Int(other.count) {
        let b = other.slice(theirs, scatters)
        let aStart = UInt(bitPattern: a.base)
        let bStart = UInt(bitPattern: b.base)
        if aStart < bStart &+ UInt(b.count) && bStart < aStart &+ UInt(a.count) { return true }
      }
    }
    return false
  }

  func slice(_ index: Int, _ scatters: borrowing Slab<ScatterList>) -> Slice {
    count <= 1 ? first : scatters[scatter].pointee.slices[index]
  }
}

/// An operation that this side sends: posted ones, and the answers to a peer's reads.
///
/// Three cache lines. What ends an operation is in the first, what else sends a message in the second; the third is for
/// those that access memory, and not even initialized for others.
struct OutboundOperation: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  var kind: OperationKind
  /// Holds a scatter list, a copy or ranges, to be given back when it is over.
  var hasExtras = true
  var flags: OperationFlags
  /// False in a slot that is not in use.
  var isLive = true
  /// The first frame was sent, or is queued to be.
  var isStarted = false
  /// Announced, and sent as the receiver pulls; otherwise eager.
  var isPulled = false
  /// In its connection's bulk queue.
  var isInBulk = false
  /// The peer has said OPERATION_DONE.
  var status: TransportStatus = .ok
  var segmentCount: UInt8 = 0
  /// Of a message: the peer's receive context.
  var context: UInt16 = 0
  var connection: ConnectionIndex
  var sequence: UInt32
  /// Frames in flight or queued to be sent again.
  var frames: UInt32 = 0
  var length: UInt64
  /// Bytes below were sent at least once. Of a posted read: granted to the responder.
  var sent: UInt64 = 0
  var cookie: Cookies

  var memory = LocalMemory()
  var tag: UInt64 = 0
  var data: UInt64 = 0
  /// Bytes below may be sent. Of an atomic operation: bytes that it returns.
  var limit: UInt64 = 0
  /// The copy of an injected payload, of operands, or of what an atomic operation returns.
  var injected: UnsafeMutableRawPointer?
  /// Next in its connection's bulk queue.
  var nextBulk: UInt32 = .max
  /// The peer's index of its side: the transfer of a pulled operation, the token of a read's initiator; of a read, the
  /// responder's slot once it is known.
  var remoteSlot: UInt32 = .max

  var segment = RemoteSegment(address: 0, length: 0, key: 0)
  /// Of a posted read, or an atomic operation that returns something: which bytes have arrived.
  var received = RangeList()
  var atomic = AtomicCode()
  private let padding: (UInt64, UInt64) = (0, 0)

  init(
    kind: OperationKind, flags: OperationFlags, connection: ConnectionIndex, sequence: UInt32, length: UInt64,
    cookie: Cookies
  ) {
    self.kind = kind
    self.flags = flags
    self.connection = connection
    self.sequence = sequence
    self.length = length
    self.cookie = cookie
  }

  /// Whether READ_RESPONSEs end it.
  @inline(__always)
  var awaitsResponse: Bool { kind == .read || flags.contains(.fetch) }

  /// Bytes of the READ_RESPONSEs that it awaits.
  @inline(__always)
  var responseLength: UInt64 { kind == .read ? length : limit }
}

/// How far an inbound transfer is.
enum InboundState: UInt8, BitwiseCopyable {
  /// Not in use.
  case free
  /// Announced to the layer above, not answered yet.
  case offered
  /// Waits for `acceptHeld`.
  case held
  /// Has its target memory.
  case accepted
  /// Over; its event is due.
  case finished
}

/// A message or write towards this side that takes more than one packet, or waits to be accepted.
struct InboundTransfer: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  var state: InboundState = .offered
  var status: TransportStatus = .ok
  var flags: OperationFlags
  var isWrite: Bool
  /// Announced: comes as it is pulled. Otherwise eager.
  var isPulled: Bool
  /// The initiator waits for OPERATION_DONE.
  var wantsDone: Bool
  /// Accepted, and waits until an earlier write or read of the same memory is over: counted in its connection's
  /// `deferredTransfers`.
  var isDeferred = false
  /// Eager, and fragments of it are missing: counted in its connection's `incompleteEager`.
  var isIncomplete = false
  /// Nobody wants it: what still comes is dropped and no event tells.
  var isDiscarded = false
  /// Its connection is gone; nothing is to be told to the peer.
  var isDetached = false
  var connection: ConnectionIndex
  var sequence: UInt32
  /// The initiator's slot, for PULL_REQUEST.
  var token: UInt32
  var length: UInt64
  /// Bytes that must arrive: less than `length` when a pulled message is truncated.
  var wanted: UInt64
  /// Bytes that have been pulled for.
  var granted: UInt64 = 0
  var tag: UInt64
  var data: UInt64
  var cookie = Cookies()
  var memory = LocalMemory()
  /// Where an eager message waits until it is accepted, and what is deferred for its turn; `length` bytes.
  var staging: UnsafeMutableRawPointer?
  var received = RangeList()
}

/// Ordered frames that came before their turn, copied from one datagram.
struct StagedBlock: ListLinked {
  var next: UInt32 = .max
  var previous: UInt32 = .max
  /// Sequence number of the frame at `position`.
  var firstOperation: UInt32
  /// Sequence number of the frame last appended.
  var lastOperation: UInt32
  var capacity: Int
  var used = 0
  var position = 0
  var bytes: UnsafeMutableRawPointer
}
