import CFabric

/// An operation that is over: what it was, what it brought, and the region it gives back.
///
/// Man page: fi_cq(3)
public struct Completion: Sendable {
  /// Kinds of operation.
  public enum Operation: Hashable, Sendable {
    /// A message of this side's is sent, tagged or not.
    case send
    /// A message has arrived.
    case receive
    /// A peer's memory is written, or was.
    case write
    /// A peer's memory is read, or was.
    case read
    /// An atomic operation on a peer's memory.
    case atomic
    /// A peer has accessed this side's memory and says so: see ``Completion/data``.
    case remoteAccess
  }

  /// What is over.
  public let operation: Operation

  /// The number that the call was given. 0 for ``Operation/remoteAccess``.
  public let token: UInt64

  /// Bytes that have arrived here: of a message, a read, or an atomic operation's result.
  public let byteCount: Int

  /// Who sent the message; nil where it is not known, or there is none.
  public let peer: Peer?

  /// The tag of a message received with one.
  public let tag: UInt64?

  /// What the peer's operation was given as `data`.
  public let data: UInt64?

  /// Why the operation failed; nil if it did not.
  public let error: FabricError?

  private let returned: ReturnedRegion?

  /// The region that the operation wrote, with the bytes that it wrote. A region has one owner: the first to ask gets
  /// it, everybody later nil. It is nil for operations that write nothing here.
  public func takeRegion() -> ReceiveRegion? {
    returned?.take()
  }
}

extension Completion {
  /// The end of an operation that this side posted.
  init(_ entry: fi_cq_tagged_entry, of ended: EndedOperation, peer: Peer, error: FabricError?) {
    operation = ended.operation
    token = ended.token
    let isReceive = operation == .receive
    // Only messages may be shorter than what they go into. What failed has brought nothing, unless it was cut.
    byteCount = isReceive ? min(entry.len, ended.targetCount) : error == nil ? ended.targetCount : 0
    self.peer = isReceive && peer != .unknown ? peer : nil
    tag = isReceive && entry.flags & FI_TAGGED != 0 ? entry.tag : nil
    data = isReceive && entry.flags & FI_REMOTE_CQ_DATA != 0 ? entry.data : nil
    self.error = error
    returned = ended.giveBack(count: isReceive ? byteCount : nil)
  }

  /// What a peer has done to this side's memory.
  init(_ entry: fi_cq_tagged_entry, peer: Peer, error: FabricError?) {
    operation = .remoteAccess
    token = 0
    byteCount = 0
    self.peer = peer == .unknown ? nil : peer
    tag = nil
    data = entry.flags & FI_REMOTE_CQ_DATA != 0 ? entry.data : nil
    self.error = error
    returned = nil
  }
}
