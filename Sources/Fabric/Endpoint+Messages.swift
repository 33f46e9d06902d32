import CFabric

// Man page: fi_msg(3)
extension Endpoint {
  /// Sends a region's bytes to a peer.
  ///
  /// - Parameters:
  ///   - region: What to send. It can be sent again at once.
  ///   - peer: Whom to send it to.
  ///   - data: A number that the receiver's completion shows; see ``Info/remoteDataSize``.
  ///   - token: What the completion will show.
  /// - Returns: What ``cancel(_:)`` takes.
  @discardableResult
  public func send(
    _ region: SendRegion, to peer: Peer, data: UInt64? = nil, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let memory = region.memory
    return try post(.send, "fi_send", token: token, source: memory) { context in
      let (bytes, count, descriptor) = (memory.bytes.baseAddress, region.byteCount, memory.descriptor)
      guard let data else { return fi_send(handle.pointer, bytes, count, descriptor, peer.rawValue, context) }
      return fi_senddata(handle.pointer, bytes, count, descriptor, data, peer.rawValue, context)
    }
  }

  /// Receives one message into a region, up to its ``ReceiveRegion/capacity``. The completion hands the region back.
  ///
  /// - Parameters:
  ///   - region: Where the message goes.
  ///   - peer: Whose message; nil takes anybody's. Needs ``Capabilities/directedReceives``.
  ///   - token: What the completion will show.
  /// - Returns: What ``cancel(_:)`` takes.
  /// - Throws: An error that has the region: ``FabricError/takeRegion()``.
  @discardableResult
  public func recv(
    _ region: consuming ReceiveRegion, from peer: Peer? = nil, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let memory = region.memory
    return try post(.receive, "fi_recv", token: token, target: memory, targetCount: memory.bytes.count) { context in
      fi_recv(
        handle.pointer, memory.bytes.baseAddress, memory.bytes.count, memory.descriptor,
        (peer ?? .unknown).rawValue, context)
    }
  }

  /// Sends a few bytes, which are copied. There is no completion.
  ///
  /// - Throws: ``FabricError/Code/messageTooLong`` for more bytes than ``Info/injectSize``.
  public func inject(_ bytes: RawSpan, to peer: Peer, data: UInt64? = nil) throws(FabricError) {
    try checkInjected(bytes.byteCount, "fi_inject")
    let result = bytes.withUnsafeBytes { bytes in
      guard let data else { return fi_inject(handle.pointer, bytes.baseAddress, bytes.count, peer.rawValue) }
      return fi_injectdata(handle.pointer, bytes.baseAddress, bytes.count, data, peer.rawValue)
    }
    try check("fi_inject", Int32(clamping: result))
  }

  /// Providers take it for granted that what is injected is not too long.
  func checkInjected(_ byteCount: Int, _ call: String) throws(FabricError) {
    guard byteCount <= domain.info.injectSize else { throw FabricError(.messageTooLong, in: call) }
  }
}
