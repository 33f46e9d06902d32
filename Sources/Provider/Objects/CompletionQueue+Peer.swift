import CFabric
import Datagram

// A completion queue that another provider owns (FI_PEER): what would be read here is written there.
//
// Man page: fi_peer(3), "Peer CQ"

/// Where the entries of a completion queue go.
enum CompletionDestination {
  /// They wait until the program reads them.
  case program
  /// Nobody wants them.
  case nowhere
  /// Into another provider's queue.
  case owner(UnsafeMutablePointer<fid_peer_cq>)

  var isProgram: Bool {
    if case .program = self { return true }
    return false
  }
}

extension CompletionQueue {
  /// The queue that a `struct fi_peer_cq_context` names; only that outlives the call. Throws FI_EINVAL for an
  /// incomplete one.
  static func owner(_ context: UnsafeMutableRawPointer?) throws(FabricError) -> UnsafeMutablePointer<fid_peer_cq> {
    guard let context = context?.assumingMemoryBound(to: fi_peer_cq_context.self),
      context.pointee.size >= MemoryLayout<fi_peer_cq_context>.size, let owner = context.pointee.cq,
      let operations = owner.pointee.owner_ops, operations.pointee.size >= MemoryLayout<fi_ops_cq_owner>.size,
      operations.pointee.write != nil, operations.pointee.writeerr != nil
    else { throw refuse("FI_PEER without a queue to write to") }
    return owner
  }

  /// Writes all entries into the owner's queue, in order. One that it takes not is tried again with the next entry and
  /// with the next poll. The engine's lock is held; the owner must not call back.
  @inline(never)
  func forward(to owner: UnsafeMutablePointer<fid_peer_cq>) {
    while let (completion, error) = ring.oldest {
      let result = error.map { write(completion, $0, to: owner) } ?? write(completion, to: owner)
      if result < 0 { return }
      ring.removeFirst()
    }
  }

  private func write(_ completion: Completion, to owner: UnsafeMutablePointer<fid_peer_cq>) -> Int {
    owner.pointee.owner_ops.pointee.write(
      owner, UnsafeMutableRawPointer(bitPattern: completion.context), completion.flags, completion.length,
      UnsafeMutableRawPointer(bitPattern: completion.buffer), completion.data, completion.tag, completion.source)
  }

  private func write(
    _ completion: Completion, _ error: CompletionError, to owner: UnsafeMutablePointer<fid_peer_cq>
  ) -> Int {
    var entry = fi_cq_err_entry()
    Self.describe(completion, error, in: &entry)
    entry.src_addr = completion.source
    var data = error.data
    let count = data.count
    return withUnsafeMutablePointer(to: &data) {
      entry.err_data = count > 0 ? UnsafeMutableRawPointer($0) : nil
      entry.err_data_size = count
      return owner.pointee.owner_ops.pointee.writeerr(owner, &entry)
    }
  }

  /// Drives progress, which is all that reading a queue with an owner does. Returns 0.
  package func pollForOwner() -> Int {
    engine.lock()
    engine.progress()
    if let owner { forward(to: owner) }
    let givesWay = engine.shouldGiveWay
    engine.unlock()
    if givesWay { Thread.yield() }
    return 0
  }
}
