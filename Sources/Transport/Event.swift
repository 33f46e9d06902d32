import Packet

/// Remote memory as `Packet` encodes it.
package typealias RemoteSegmentValue = RemoteSegment

/// What happened, for the layer above to act on.
package enum EventKind: UInt8, BitwiseCopyable {
  /// A posted operation ended: `cookie`, `status`, `length` as posted, or as returned if it returns something.
  case operationCompleted
  /// Posted operations with `.silent` ended well, `length` of them.
  case silentlyCompleted
  /// A message starts, in the order its sender posted it: `connection`, `flags`, `tag`, `data`, `context`, `length`.
  ///
  /// `payload` set: the whole message is there; copy it out and do nothing else, unless `isAnsweringReads`, or call
  /// `accept`, `hold` or `refuse`. `payload` nil: call one of these. The answer is due before the next `pollEvent`.
  case message
  /// An accepted message is over: `cookie` from `accept`, `status`, `length` of the whole message.
  case messageReceived
  /// A message that was held is lost with its connection: `cookie` from `hold`. Its handle is void.
  case heldMessageLost
  /// A peer writes to this side's memory: `segments`, `length`, `flags`, `data`.
  ///
  /// `payload` set: check the access, copy it, done, unless `isAnsweringReads`; or call `accept` or `refuse`. `payload`
  /// nil: call one of these. The answer is due before the next `pollEvent`.
  case write
  /// An accepted write is over at the target: `cookie` from `accept`, `status`, `length`, `flags`, `data`. If it has
  /// `.persistent` and ended well, make its `writtenMemory` persistent, or call `refuse`, before the next `pollEvent`; so
  /// too with a `write` that is not accepted.
  case writeReceived
  /// A peer reads this side's memory: `segments`, `length`. Call `accept`, with the source, or `refuse`, before the
  /// next `pollEvent`.
  case read
  /// An accepted read is over at the target: `cookie` from `accept`.
  case readAnswered
  /// A peer's atomic operation is to be carried out on this side's memory: `segments` of `length` bytes in all, `atomic`,
  /// `flags`, `data`, and `operandLength` bytes of operands and comparands at `payload`. Check all that, since nothing else
  /// has, and carry it out before the next `pollEvent`; call `respond` first if `.fetch` is set; or call `refuse`.
  case atomic
  /// The connection ended: `connection`, `status`. Its operations end in events of their own.
  case connectionFailed
}

/// One event. Pointers in it are valid until the next call of `pollEvent` or `receive`.
package struct Event: BitwiseCopyable {
  package var kind: EventKind
  package var status: TransportStatus = .ok
  package var flags: OperationFlags = []
  package var operationKind: OperationKind = .message
  package var segmentCount: UInt8 = 0
  /// Of `message`: the receive context it is for.
  package var context: UInt16 = 0
  /// Of `atomic`: what it does, and bytes at `payload`.
  package var atomic = AtomicCode()
  package var operandLength: UInt32 = 0
  package var connection: ConnectionIndex = 0
  package var tag: UInt64 = 0
  package var data: UInt64 = 0
  package var length: UInt64 = 0
  package var payload: UnsafeRawPointer?
  /// Encoded segments; read them with `segment(_:)`.
  package var encodedSegments: UnsafeRawPointer?
  package var cookie = Cookies()

  package init(_ kind: EventKind) { self.kind = kind }

  /// The remote segment at `index`, below `segmentCount`.
  package func segment(_ index: Int) -> RemoteSegmentValue {
    precondition(index < Int(segmentCount))
    return RemoteSegmentValue(encoded: encodedSegments!, at: index)
  }
}
