/// Memory that operations read: what ``Endpoint/send(_:to:data:token:)``, ``Endpoint/write(_:to:remote:key:data:token:)``
/// and atomic operations take.
///
/// Its bytes never change, so copies share one memory, any number of operations may use it at once, and any thread may
/// look at it. It is freed when the last copy and the last operation are done with it.
public struct SendRegion: Sendable {
  var memory: RegisteredMemory

  /// Bytes that are sent.
  public let byteCount: Int

  /// Makes what `region` holds, its ``ReceiveRegion/count`` bytes, into something to send, without a copy.
  public init(_ region: consuming ReceiveRegion) {
    byteCount = region.count
    memory = region.memory
  }

  private init(_ memory: RegisteredMemory, byteCount: Int) {
    self.memory = memory
    self.byteCount = byteCount
  }

  /// The first `byteCount` bytes, or all if it has fewer, as a region that shares this one's memory.
  public func prefix(_ byteCount: Int) -> SendRegion {
    precondition(byteCount >= 0, "a region cannot have \(byteCount) bytes")
    return SendRegion(memory, byteCount: min(byteCount, self.byteCount))
  }

  /// The bytes, valid as long as this region is.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get { _overrideLifetime(memory.span(count: byteCount), borrowing: self) }
  }

  /// Calls `body` with the bytes.
  public func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(rebasing: memory.bytes[..<byteCount]))
  }

  /// The memory to write to again, if this is its last owner: nil while copies exist or operations are under way.
  ///
  /// The variable that is asked is an owner, too, so it has to be given up: `(consume region).reclaim()`.
  public consuming func reclaim() -> ReceiveRegion? {
    guard isKnownUniquelyReferenced(&memory) else { return nil }
    return ReceiveRegion(memory, count: byteCount)
  }
}
