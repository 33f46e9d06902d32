import CFabric

/// Where operations tell that they are over.
///
/// A program polls it, which is the fastest way, or waits for ``completions``, which takes no processor time:
///
///     try queue.read { completion in … }
///     for try await completion in queue.completions { … }
///
/// Both may be used at once, from any number of threads; each completion is given out once. Reading also makes
/// transfers progress where the provider does not do so by itself.
///
/// Man page: fi_cq(3)
public final class CompletionQueue: @unchecked Sendable {
  let handle: UnsafeMutablePointer<fid_cq>
  let operations = OperationTable()

  /// What the program can sleep on; nil where the provider has none.
  let waitDescriptor: Int32?

  /// What the queue was opened on.
  public let domain: Domain

  /// Opens a queue with room for `capacity` completions; 0 leaves that to the provider.
  public init(_ domain: Domain, capacity: Int = 0) throws(FabricError) {
    self.domain = domain
    (handle, waitDescriptor) = try CompletionQueue.open(domain, capacity: capacity)
    domain.fabric.add(handle)
  }

  deinit {
    domain.fabric.remove(handle)
    // A queue that does not close may still be written to, and refers to its operations: then they stay for ever.
    if fi_close(handle.base) != 0 { _ = Unmanaged.passRetained(operations) }
  }

  /// With a descriptor to wait for, if the provider has that.
  private static func open(
    _ domain: Domain, capacity: Int
  ) throws(FabricError) -> (UnsafeMutablePointer<fid_cq>, Int32?) {
    var attributes = fi_cq_attr()
    attributes.size = max(capacity, 0)
    attributes.format = FI_CQ_FORMAT_TAGGED
    attributes.wait_obj = FI_WAIT_FD
    var queue: UnsafeMutablePointer<fid_cq>?
    if fi_cq_open(domain.handle, &attributes, &queue, nil) == 0, let queue {
      return (queue, descriptor(of: queue.base))
    }
    attributes.wait_obj = FI_WAIT_NONE
    try check("fi_cq_open", fi_cq_open(domain.handle, &attributes, &queue, nil))
    return (queue!, nil)
  }
}

extension CompletionQueue {
  /// Calls `body` with completions that are there, `limit` at most, and returns how many. It does not wait.
  ///
  /// - Throws: What is wrong with the queue itself. Operations that failed are completions with an
  ///   ``Completion/error``.
  @discardableResult
  public func read(limit: Int = 64, _ body: (Completion) -> Void) throws(FabricError) -> Int {
    var count = 0
    while count < limit {
      let wanted = min(limit - count, CompletionQueue.batchSize)
      let result = readBatch(wanted) {
        count += 1
        body($0)
      }
      if result == wanted { continue }
      if result == -Int(FI_EAVAIL) {
        if let failed = readFailed() {
          count += 1
          body(failed)
        }
        continue
      }
      guard result < 0 && result != -Int(FI_EAGAIN) && count == 0 else { break }
      throw FabricError(FabricError.Code(rawValue: Int32(clamping: result)), in: "fi_cq_read")
    }
    return count
  }

  /// The oldest completion; nil if there is none.
  public func read() throws(FabricError) -> Completion? {
    var found: Completion?
    try read(limit: 1) { found = $0 }
    return found
  }

  /// Lets the provider work, as ``read(limit:_:)`` does, and takes nothing.
  public func makeProgress() {
    _ = fi_cq_read(handle, nil, 0)
  }

  /// Takes up to `wanted` completions and calls `body` with them. Returns how many were taken, or a negative error.
  private func readBatch(_ wanted: Int, _ body: (Completion) -> Void) -> Int {
    withUnsafeTemporaryAllocation(of: fi_cq_tagged_entry.self, capacity: wanted) { entries in
      withUnsafeTemporaryAllocation(of: fi_addr_t.self, capacity: wanted) { peers in
        entries.initialize(repeating: fi_cq_tagged_entry())
        // What a provider without FI_SOURCE leaves as it is.
        peers.initialize(repeating: Peer.unknown.rawValue)
        let count = fi_cq_readfrom(handle, entries.baseAddress, wanted, peers.baseAddress)
        for index in 0..<max(count, 0) {
          if let completion = completion(entries[index], Peer(rawValue: peers[index])) { body(completion) }
        }
        return count
      }
    }
  }

  /// The oldest operation that failed; nil if another thread was faster, or if its endpoint is closed.
  private func readFailed() -> Completion? {
    var entry = fi_cq_err_entry()
    guard fi_cq_readerr(handle, &entry, 0) > 0 else { return nil }
    let text = fi_cq_strerror(handle, entry.prov_errno, entry.err_data, nil, 0).map { String(cString: $0) }
    let plain = fi_cq_tagged_entry(
      op_context: entry.op_context, flags: entry.flags, len: entry.len, buf: entry.buf, data: entry.data,
      tag: entry.tag)
    return completion(plain, .unknown) { operation in
      FabricError(
        FabricError.Code(rawValue: entry.err), in: "\(operation)", providerCode: entry.prov_errno, providerText: text)
    }
  }

  /// Ends the operation that `entry` tells of; nil if its endpoint is closed.
  @inline(__always)
  private func completion(
    _ entry: fi_cq_tagged_entry, _ peer: Peer, error: ((Completion.Operation) -> FabricError)? = nil
  ) -> Completion? {
    // What a peer does to this side's memory comes without a context of this side's.
    let isRemote = entry.flags & (FI_REMOTE_READ | FI_REMOTE_WRITE) != 0 && entry.flags & FI_RECV == 0
    guard !isRemote, let context = entry.op_context else {
      return Completion(entry, peer: peer, error: error?(.remoteAccess))
    }
    guard let ended = operations.end(context) else { return nil }
    return Completion(entry, of: ended, peer: peer, error: error?(ended.operation))
  }

  private static let batchSize = 16
}
