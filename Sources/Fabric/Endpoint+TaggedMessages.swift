import CFabric

// Man page: fi_tagged(3)
extension Endpoint {
  /// Sends a region's bytes to a peer under a tag, by which its receives choose. Else as ``send(_:to:data:token:)``.
  @discardableResult
  public func send(
    _ region: SendRegion, to peer: Peer, tag: UInt64, data: UInt64? = nil, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let memory = region.memory
    return try post(.send, "fi_tsend", token: token, source: memory) { context in
      let (bytes, count, descriptor) = (memory.bytes.baseAddress, region.byteCount, memory.descriptor)
      guard let data else { return fi_tsend(handle.pointer, bytes, count, descriptor, peer.rawValue, tag, context) }
      return fi_tsenddata(handle.pointer, bytes, count, descriptor, data, peer.rawValue, tag, context)
    }
  }

  /// Receives one message whose tag equals `tag` in all bits that are not set in `ignoring`. Else as
  /// ``recv(_:from:token:)``.
  @discardableResult
  public func recv(
    _ region: consuming ReceiveRegion, from peer: Peer? = nil, tag: UInt64, ignoring: UInt64 = 0, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let memory = region.memory
    return try post(.receive, "fi_trecv", token: token, target: memory, targetCount: memory.bytes.count) { context in
      fi_trecv(
        handle.pointer, memory.bytes.baseAddress, memory.bytes.count, memory.descriptor,
        (peer ?? .unknown).rawValue, tag, ignoring, context)
    }
  }

  /// Sends a few bytes under a tag, as ``inject(_:to:data:)`` does without.
  public func inject(_ bytes: RawSpan, to peer: Peer, tag: UInt64, data: UInt64? = nil) throws(FabricError) {
    try checkInjected(bytes.byteCount, "fi_tinject")
    let result = bytes.withUnsafeBytes { bytes in
      guard let data else { return fi_tinject(handle.pointer, bytes.baseAddress, bytes.count, peer.rawValue, tag) }
      return fi_tinjectdata(handle.pointer, bytes.baseAddress, bytes.count, data, peer.rawValue, tag)
    }
    try check("fi_tinject", Int32(clamping: result))
  }
}
