/// Memory that operations write: what ``Endpoint/recv(_:from:token:)``, ``Endpoint/read(_:from:remote:key:token:)`` and
/// fetching atomic operations take.
///
/// It has one owner. An operation consumes it, so nobody can look at memory that is being written; the completion that
/// ends the operation hands it back (``Completion/takeRegion()``), and so does the error of a call that is refused
/// (``FabricError/takeRegion()``). A region that nobody takes is freed.
public struct ReceiveRegion: ~Copyable, Sendable {
  let memory: RegisteredMemory

  /// Bytes in use from the beginning: all of them at first, then what the last operation has written.
  public private(set) var count: Int

  init(_ memory: RegisteredMemory, count: Int? = nil) {
    self.memory = memory
    self.count = count ?? memory.bytes.count
  }

  /// Bytes that fit.
  public var capacity: Int { memory.bytes.count }

  /// Sets ``count``, from 0 to ``capacity``. The bytes are what they were: zero at first, then what was written.
  public mutating func resize(to count: Int) {
    precondition(count >= 0 && count <= capacity, "\(count) bytes do not fit into a region of \(capacity)")
    self.count = count
  }

  /// The bytes in use.
  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get { _overrideLifetime(memory.span(count: count), borrowing: self) }
  }

  /// Calls `body` with the bytes in use.
  public borrowing func withUnsafeBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(rebasing: memory.bytes[..<count]))
  }

  /// Calls `body` with the bytes in use, to be changed.
  public mutating func withUnsafeMutableBytes<Result, Failure: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeMutableRawBufferPointer(rebasing: memory.bytes[..<count]))
  }
}

extension String {
  /// What a region holds, as UTF-8; malformed parts become U+FFFD.
  public init(_ region: borrowing ReceiveRegion) {
    self = region.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
  }
}

extension Array where Element == UInt8 {
  /// What a region holds.
  public init(_ region: borrowing ReceiveRegion) {
    self = region.withUnsafeBytes { Array($0) }
  }
}
