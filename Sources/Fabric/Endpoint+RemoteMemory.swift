import CFabric

// Man page: fi_rma(3)
extension Endpoint {
  /// Writes a region's bytes to a peer's memory.
  ///
  /// - Parameters:
  ///   - region: What to write. It can be used again at once.
  ///   - peer: Whose memory.
  ///   - address: Where: ``MemoryRegion/address`` of the peer's region, and bytes on from there.
  ///   - key: ``MemoryRegion/key`` of the peer's region.
  ///   - data: A number for a completion at the peer, which then knows that all is there.
  ///   - token: What the completion will show.
  /// - Returns: What ``cancel(_:)`` takes.
  @discardableResult
  public func write(
    _ region: SendRegion, to peer: Peer, remote address: UInt64, key: UInt64, data: UInt64? = nil, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let memory = region.memory
    return try post(.write, "fi_write", token: token, source: memory) { context in
      let (bytes, count, descriptor) = (memory.bytes.baseAddress, region.byteCount, memory.descriptor)
      guard let data else {
        return fi_write(handle.pointer, bytes, count, descriptor, peer.rawValue, address, key, context)
      }
      return fi_writedata(handle.pointer, bytes, count, descriptor, data, peer.rawValue, address, key, context)
    }
  }

  /// Writes a region's bytes to a peer's memory, `offset` bytes from its beginning, where they must fit.
  @discardableResult
  public func write(
    _ region: SendRegion, to peer: Peer, remote: RemoteMemory, offset: Int = 0, data: UInt64? = nil, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let address = try remote.address(at: offset, byteCount: region.byteCount)
    return try write(region, to: peer, remote: address, key: remote.key, data: data, token: token)
  }

  /// Reads a peer's memory into a region, ``ReceiveRegion/count`` bytes. The completion hands the region back.
  ///
  /// - Parameters:
  ///   - region: Where the bytes go.
  ///   - peer: Whose memory.
  ///   - address: Where: ``MemoryRegion/address`` of the peer's region, and bytes on from there.
  ///   - key: ``MemoryRegion/key`` of the peer's region.
  ///   - token: What the completion will show.
  /// - Returns: What ``cancel(_:)`` takes.
  /// - Throws: An error that has the region: ``FabricError/takeRegion()``.
  @discardableResult
  public func read(
    _ region: consuming ReceiveRegion, from peer: Peer, remote address: UInt64, key: UInt64, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let (memory, count) = (region.memory, region.count)
    return try post(.read, "fi_read", token: token, target: memory, targetCount: count) { context in
      fi_read(
        handle.pointer, memory.bytes.baseAddress, count, memory.descriptor, peer.rawValue, address, key, context)
    }
  }

  /// Reads a peer's memory from `offset` bytes on, as much as the region has in use, which must be there.
  @discardableResult
  public func read(
    _ region: consuming ReceiveRegion, from peer: Peer, remote: RemoteMemory, offset: Int = 0, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let count = region.count
    let address: UInt64
    do {
      address = try remote.address(at: offset, byteCount: count)
    } catch {
      throw FabricError(error.code, in: error.call, returned: region.memory.giveBack(count: count))
    }
    return try read(region, from: peer, remote: address, key: remote.key, token: token)
  }
}
