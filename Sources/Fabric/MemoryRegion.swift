import CFabric

/// Memory that peers reach: the target of their writes, reads and atomic operations.
///
/// What a peer needs to know is ``remote``: address, key and size. Send it in a message. One call makes the region on
/// every level; whether the key is the hardware's or this module's own number makes no difference to the program.
///
/// Peers may write while this side looks, so what is read here is a moment's copy. It is complete once the peer says
/// so, with a message, or with the data of its write (``Completion/data``).
///
/// Man page: fi_mr(3)
public final class MemoryRegion: Sendable {
  private let memory: RegisteredMemory

  /// What peers may do.
  public struct Access: OptionSet, Hashable, Sendable {
    /// The bits of fi_mr_reg(3).
    public let rawValue: UInt64

    /// Access from the bits of fi_mr_reg(3).
    public init(rawValue: UInt64) {
      self.rawValue = rawValue
    }

    /// Peers may read. `FI_REMOTE_READ`
    public static let read = Access(rawValue: FI_REMOTE_READ)
    /// Peers may write. `FI_REMOTE_WRITE`
    public static let write = Access(rawValue: FI_REMOTE_WRITE)
  }

  init(_ memory: RegisteredMemory, virtualAddresses: Bool) {
    self.memory = memory
    byteCount = memory.bytes.count
    key = fi_mr_key(memory.registration!)
    address = virtualAddresses ? UInt64(UInt(bitPattern: memory.bytes.baseAddress!)) : 0
  }

  /// What peers name the region's first byte by: its address in memory, or 0, as the provider has it.
  public let address: UInt64

  /// What peers name the region by.
  public let key: UInt64

  /// Bytes that peers reach.
  public let byteCount: Int

  /// All that a peer needs.
  public var remote: RemoteMemory { RemoteMemory(address: address, key: key, byteCount: byteCount) }

  /// Calls `body` with the memory. Peers may be writing to it.
  public func withUnsafeMutableBytes<Result, Failure: Error>(
    _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(memory.bytes)
  }

  /// A copy of the bytes in `range`, or of all.
  public func copyBytes(_ range: Range<Int>? = nil) -> [UInt8] {
    Array(memory.bytes[range ?? 0..<byteCount])
  }

  /// Puts `bytes` at `offset`, where they must fit.
  public func store(_ bytes: some Collection<UInt8>, at offset: Int = 0) {
    precondition(offset >= 0 && bytes.count <= byteCount - offset, "beyond the end of a region of \(byteCount) bytes")
    UnsafeMutableRawBufferPointer(rebasing: memory.bytes[offset...]).copyBytes(from: bytes)
  }
}

/// A ``MemoryRegion`` as its peers see it.
public struct RemoteMemory: Hashable, Codable, Sendable {
  /// What operations name the first byte by.
  public var address: UInt64

  /// What operations name the region by.
  public var key: UInt64

  /// Bytes that can be reached.
  public var byteCount: Int

  /// Memory of a peer, of which the three things came by other ways than ``bytes``.
  public init(address: UInt64, key: UInt64, byteCount: Int) {
    self.address = address
    self.key = key
    self.byteCount = byteCount
  }

  /// Memory of a peer as its ``bytes`` say; nil if that is not what they are.
  public init?(bytes: some Collection<UInt8>) {
    guard bytes.count == RemoteMemory.encodedSize else { return nil }
    let words = stride(from: 0, to: RemoteMemory.encodedSize, by: 8).map { offset in
      bytes.dropFirst(offset).prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    }
    guard let byteCount = Int(exactly: words[2]) else { return nil }
    self.init(address: words[0], key: words[1], byteCount: byteCount)
  }

  /// 24 bytes that say it all, for a message: address, key and size, each little-endian.
  public var bytes: [UInt8] {
    [address, key, UInt64(byteCount)].flatMap { word in
      withUnsafeBytes(of: word.littleEndian) { Array($0) }
    }
  }

  /// The address `offset` bytes on, if `byteCount` bytes fit there.
  func address(at offset: Int, byteCount: Int) throws(FabricError) -> UInt64 {
    guard offset >= 0 && byteCount <= self.byteCount - offset else {
      throw FabricError(
        .invalidArgument, in: "access to \(byteCount) bytes at \(offset) of \(self.byteCount) of a peer")
    }
    return address &+ UInt64(offset)
  }

  private static let encodedSize = 24
}
