/// The memory that a member brings to a collective operation.
package enum CollectiveBuffer: UInt8, BitwiseCopyable {
  /// What the program gives.
  case input
  /// Where it wants what comes of it; of a broadcast both.
  case result
  /// The operation's own, for what is on its way.
  case scratch
}

/// Bytes of one buffer: a piece and, of blocks that are counted around its end, another one at its start.
package struct CollectiveSpan: BitwiseCopyable, Equatable {
  package var buffer: CollectiveBuffer
  package var offset: Int
  package var length: Int
  /// Bytes at the buffer's start, which follow the others.
  package var wrapped = 0

  package init(_ buffer: CollectiveBuffer, _ offset: Int, _ length: Int, wrapped: Int = 0) {
    self.buffer = buffer
    self.offset = offset
    self.length = length
    self.wrapped = wrapped
  }

  /// Bytes in all.
  package var count: Int { length + wrapped }
}

/// One message of a step.
package struct CollectiveTransfer: BitwiseCopyable, Equatable {
  /// The rank it goes to or comes from.
  package var peer: Int
  package var span: CollectiveSpan

  package init(_ peer: Int, _ span: CollectiveSpan) {
    self.peer = peer
    self.span = span
  }
}

/// Local work of a step, between spans of the same length that do not wrap.
package struct CollectiveMove: BitwiseCopyable, Equatable {
  package var source: CollectiveSpan
  package var target: CollectiveSpan

  package init(_ source: CollectiveSpan, to target: CollectiveSpan) {
    self.source = source
    self.target = target
  }
}

/// What must be over before a step begins.
package enum CollectiveWait: UInt8, BitwiseCopyable {
  case nothing
  /// All receives of earlier steps.
  case receives
  /// Their sends, too: memory that they read is written next.
  case all
}

/// One step of a member: it waits, combines, copies, and then posts a receive and a send, in this order. The next step
/// may begin while they are under way.
///
/// Two members send each other messages in the order in which the other one receives them.
package struct CollectiveStep: BitwiseCopyable, Equatable {
  package var waits = CollectiveWait.nothing
  /// Reduces: each element of the target becomes what the operation makes of it, the left operand, and the source's.
  package var combine: CollectiveMove?
  package var copy: CollectiveMove?
  package var send: CollectiveTransfer?
  package var receive: CollectiveTransfer?

  package init(_ waits: CollectiveWait = .nothing) { self.waits = waits }
}
