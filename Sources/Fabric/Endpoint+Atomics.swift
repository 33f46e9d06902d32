import CFabric

// Man page: fi_atomic(3)
extension Endpoint {
  /// Combines each element of a peer's memory with the one of `operand`.
  ///
  ///     let five = try domain.sendRegion(of: [Int64(5)])
  ///     try endpoint.atomic(.sum, five, as: Int64.self, to: peer, remote: address, key: key)
  ///
  /// - Parameters:
  ///   - operation: How they are combined.
  ///   - operand: The elements, ``maximumAtomicCount(_:as:)`` at most.
  ///   - type: What they are.
  ///   - peer: Whose memory.
  ///   - address: Where: ``MemoryRegion/address`` of the peer's region, and bytes on from there.
  ///   - key: ``MemoryRegion/key`` of the peer's region.
  ///   - token: What the completion will show.
  /// - Returns: What ``cancel(_:)`` takes.
  @discardableResult
  public func atomic<Value: AtomicValue>(
    _ operation: AtomicOperation, _ operand: SendRegion, as type: Value.Type, to peer: Peer, remote address: UInt64,
    key: UInt64, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let count = try Endpoint.elements(of: type, in: operand.byteCount, "fi_atomic")
    let memory = operand.memory
    return try post(.atomic, "fi_atomic", token: token, source: memory) { context in
      fi_atomic(
        handle.pointer, memory.bytes.baseAddress, count, memory.descriptor, peer.rawValue, address, key,
        Endpoint.datatype(type), operation.value, context)
    }
  }

  /// The same, and `result` gets what the peer's memory held before. It must have as many bytes in use as `operand`; for
  /// ``AtomicOperation/read`` the operand's values do not matter. The completion hands the region back.
  @discardableResult
  public func fetchAtomic<Value: AtomicValue>(
    _ operation: AtomicOperation, _ operand: SendRegion, as type: Value.Type, to peer: Peer,
    result: consuming ReceiveRegion, remote address: UInt64, key: UInt64, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let (target, size) = (result.memory, result.count)
    let count = try Endpoint.elements(of: type, in: operand.byteCount, "fi_fetch_atomic", result: target, size)
    let memory = operand.memory
    return try post(
      .atomic, "fi_fetch_atomic", token: token, source: memory, target: target, targetCount: size
    ) { context in
      fi_fetch_atomic(
        handle.pointer, memory.bytes.baseAddress, count, memory.descriptor, target.bytes.baseAddress,
        target.descriptor, peer.rawValue, address, key, Endpoint.datatype(type), operation.value, context)
    }
  }

  /// Stores each element of `operand` where `comparand` compares with the peer's memory as `comparison` says; `result`
  /// gets what it held before. All three must have equally many bytes in use. The completion hands the region back.
  @discardableResult
  public func compareAtomic<Value: AtomicValue>(
    _ comparison: AtomicComparison, _ operand: SendRegion, with comparand: SendRegion, as type: Value.Type,
    to peer: Peer, result: consuming ReceiveRegion, remote address: UInt64, key: UInt64, token: UInt64 = 0
  ) throws(FabricError) -> PostedOperation {
    let (target, size) = (result.memory, result.count)
    let isEqual = comparand.byteCount == operand.byteCount
    let count = try Endpoint.elements(
      of: type, in: isEqual ? operand.byteCount : 0, "fi_compare_atomic", result: target, size)
    let (memory, other) = (operand.memory, comparand.memory)
    return try post(
      .atomic, "fi_compare_atomic", token: token, source: memory, comparand: other, target: target, targetCount: size
    ) { context in
      fi_compare_atomic(
        handle.pointer, memory.bytes.baseAddress, count, memory.descriptor, other.bytes.baseAddress,
        other.descriptor, target.bytes.baseAddress, target.descriptor, peer.rawValue, address, key,
        Endpoint.datatype(type), comparison.value, context)
    }
  }

  /// Elements that one ``atomic(_:_:as:to:remote:key:token:)`` may have; 0 if the provider has no such operation.
  public func maximumAtomicCount<Value: AtomicValue>(_ operation: AtomicOperation, as type: Value.Type) -> Int {
    var count = 0
    let result = fi_atomicvalid(handle.pointer, Endpoint.datatype(type), operation.value, &count)
    return result == 0 ? count : 0
  }

  private static func datatype<Value: AtomicValue>(_ type: Value.Type) -> fi_datatype {
    fi_datatype(type.datatype)
  }

  /// How many elements `byteCount` bytes are, at least one and no rest. What is refused gives the region back.
  private static func elements<Value: AtomicValue>(
    of type: Value.Type, in byteCount: Int, _ call: String, result: RegisteredMemory? = nil, _ resultCount: Int = 0
  ) throws(FabricError) -> Int {
    let (count, rest) = byteCount.quotientAndRemainder(dividingBy: MemoryLayout<Value>.size)
    guard count > 0 && rest == 0 && (result == nil || resultCount == byteCount) else {
      throw FabricError(.invalidArgument, in: call, returned: result?.giveBack(count: resultCount))
    }
    return count
  }
}

extension Domain {
  /// Memory to send from, or to combine with a peer's, with a copy of `values`.
  public func sendRegion<Value: AtomicValue>(of values: [Value]) throws(FabricError) -> SendRegion {
    let bytes = values.withUnsafeBytes { Array($0) }
    return try sendRegion(copying: bytes)
  }
}

extension ReceiveRegion {
  /// The whole values that the bytes in use are.
  public borrowing func values<Value: AtomicValue>(as type: Value.Type) -> [Value] {
    withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<Value>.size).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Value>.size, as: type)
      }
    }
  }
}
