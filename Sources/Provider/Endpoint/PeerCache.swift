import Transport

/// Remembers which connection an address-vector entry leads to and which entry a connection comes from, so that a
/// message costs one load instead of two hash lookups.
///
/// What it says holds for one generation of the address vector: an insertion or removal makes every answer stale.
/// 8 bytes a known peer, 16 a connected one; grows by doubling. Not thread-safe; the owner serializes.
package struct PeerCache: ~Copyable {
  private struct Source: BitwiseCopyable {
    var stamp: UInt64
    var address: UInt64
  }

  /// Stamp in the upper half, connection in the lower.
  private var connections: UnsafeMutablePointer<UInt64>
  private var connectionCapacity: Int
  private var sources: UnsafeMutablePointer<Source>
  private var sourceCapacity: Int

  package init() {
    connectionCapacity = 16
    sourceCapacity = 16
    connections = .allocate(capacity: connectionCapacity)
    connections.initialize(repeating: 0, count: connectionCapacity)
    sources = .allocate(capacity: sourceCapacity)
    sources.initialize(repeating: Source(stamp: 0, address: 0), count: sourceCapacity)
  }

  deinit {
    connections.deallocate()
    sources.deallocate()
  }

  /// The connection to entry `address`, if it was noted in this generation.
  @inline(__always)
  package func connection(to address: UInt64, generation: UInt32) -> ConnectionIndex? {
    guard address < UInt64(truncatingIfNeeded: connectionCapacity) else { return nil }
    let entry = connections[Int(truncatingIfNeeded: address)]
    return entry >> 32 == Self.stamp(generation) ? ConnectionIndex(truncatingIfNeeded: entry) : nil
  }

  /// Notes a connection. Entries too far apart for a table are not kept.
  package mutating func note(_ connection: ConnectionIndex, to address: UInt64, generation: UInt32) {
    guard address < Self.limit else { return }
    let index = Int(truncatingIfNeeded: address)
    if index >= connectionCapacity {
      let old = connections
      let oldCapacity = connectionCapacity
      while connectionCapacity <= index { connectionCapacity *= 2 }
      connections = .allocate(capacity: connectionCapacity)
      connections.update(from: old, count: oldCapacity)
      (connections + oldCapacity).initialize(repeating: 0, count: connectionCapacity - oldCapacity)
      old.deallocate()
    }
    connections[index] = Self.stamp(generation) << 32 | UInt64(connection)
  }

  /// The entry that a connection's peer has in the address vector, if it was noted in this generation.
  @inline(__always)
  package func source(of connection: ConnectionIndex, generation: UInt32) -> UInt64? {
    guard Int(connection) < sourceCapacity else { return nil }
    let entry = sources + Int(connection)
    return entry.pointee.stamp == Self.stamp(generation) ? entry.pointee.address : nil
  }

  /// Notes a connection's entry, or that it has none (FI_ADDR_NOTAVAIL).
  package mutating func note(source address: UInt64, of connection: ConnectionIndex, generation: UInt32) {
    let index = Int(connection)
    if index >= sourceCapacity {
      let old = sources
      let oldCapacity = sourceCapacity
      while sourceCapacity <= index { sourceCapacity *= 2 }
      sources = .allocate(capacity: sourceCapacity)
      sources.update(from: old, count: oldCapacity)
      (sources + oldCapacity).initialize(
        repeating: Source(stamp: 0, address: 0), count: sourceCapacity - oldCapacity)
      old.deallocate()
    }
    sources[index] = Source(stamp: Self.stamp(generation), address: address)
  }

  /// Never 0, which is what a new entry holds.
  @inline(__always)
  private static func stamp(_ generation: UInt32) -> UInt64 { UInt64(generation | 0x8000_0000) }

  /// Entries of the address vector beyond this are looked up each time.
  private static var limit: UInt64 { 1 << 24 }
}
