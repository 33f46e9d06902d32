import Packet

/// Who answers the event that was handed out last.
enum PendingAnswer: UInt8, BitwiseCopyable {
  case none
  /// A whole message lies in its frame.
  case wholeMessage
  /// A whole write lies in its frame.
  case wholeWrite
  /// A transfer was made for a message or write of several packets.
  case transfer
  case read
  /// The write in `transfer` is over, and to be made persistent.
  case persistence
  /// An atomic operation, whole; `transfer` is the response's slot once there is one.
  case atomic
}

/// The datagram under way through `pollEvent`, and the event whose answer is due.
struct ReceiveCursor: BitwiseCopyable {
  /// Frames of the datagram are left, or its packet is still to be recorded.
  var isActive = false
  /// The packet is malformed: its rest is not looked at and it is not acknowledged.
  var isAbandoned = false
  /// There was no room for something that the packet brought: it is not acknowledged and will come again.
  var lacksRoom = false
  var connection: UnsafeMutablePointer<Connection>!
  var reader = ByteReader(UnsafeRawBufferPointer(start: nil, count: 0))
  /// This many bytes after the datagram's header lie where they belong already; 0 when none do.
  var placed = 0
  var placedPayload: UnsafeRawPointer?
  var packetNumber: UInt64 = 0
  var flags: PacketFlags = []
  var size = 0
  /// Ordered frames of the packet so far.
  var orderedFrames = 0
  /// A frame of the packet asks for an acknowledgement.
  var isEliciting = false
  /// Block that takes this packet's frames which came before their turn.
  var stagingBlock: UInt32 = .max
  /// Connection whose staged frames may have come to their turn.
  var draining: UnsafeMutablePointer<Connection>?
  /// Staged block that the event's payload lies in, to be freed when it is used up.
  var replayedBlock: UInt32 = .max

  var answer: PendingAnswer = .none
  /// The connection of the event's operation; the endpoint's `orderedFrame` started it.
  var eventConnection: UnsafeMutablePointer<Connection>!
  var transfer: UInt32 = .max
  /// The answer that was given.
  var refusal: OperationStatus = .ok
  var now: Instant = 0
}
