import CFabric
import CPlatform

/// Events in order, each with bytes of its own length. Bounded; events are control traffic, so each takes memory of its
/// own while it waits. Not thread-safe.
package struct EventRing: ~Copyable {
  private struct Header {
    var next: UnsafeMutableRawPointer?
    var event: UInt32
    var isError: Bool
    /// Refers to a fi_info that belongs to whoever reads it.
    var ownsInfo: Bool
    var length: Int
  }

  /// Events that may wait at once.
  package let capacity: Int
  package private(set) var count = 0
  private var first: UnsafeMutableRawPointer?
  private var last: UnsafeMutableRawPointer?

  package init(capacity: Int) { self.capacity = capacity }

  deinit {
    var next = first
    while let node = next {
      let header = node.load(as: Header.self)
      next = header.next
      if header.ownsInfo { Self.freeInfo(node + MemoryLayout<Header>.stride) }
      free(node)
    }
  }

  private static func freeInfo(_ bytes: UnsafeRawPointer) {
    InfoMemory.free(bytes.load(as: fi_eq_cm_entry.self).info)
  }

  /// Whether the oldest event is an error.
  package var isErrorFirst: Bool { first.map { $0.load(as: Header.self).isError } ?? false }

  /// Queues a copy of `length` bytes, and of `data` behind them. Throws FI_EAGAIN when too many events wait, unless that
  /// `exceedsCapacity`; FI_ENOMEM when memory is short.
  ///
  /// `ownsInfo`: the bytes are a fi_eq_cm_entry, whose fi_info is freed with the ring if nobody has read the event.
  package mutating func append(
    event: UInt32, _ bytes: UnsafeRawPointer?, length: Int, data: UnsafeRawBufferPointer = noData,
    isError: Bool = false, exceedsCapacity: Bool = false, ownsInfo: Bool = false
  ) throws(FabricError) {
    guard count < capacity || exceedsCapacity else { throw .tryAgain }
    let (size, overflow) = (MemoryLayout<Header>.stride + data.count).addingReportingOverflow(length)
    guard !overflow, length >= 0, let node = malloc(size) else { throw .noMemory }
    node.initializeMemory(
      as: Header.self,
      to: Header(next: nil, event: event, isError: isError, ownsInfo: ownsInfo, length: length + data.count))
    if let bytes, length > 0 { memcpy(node + MemoryLayout<Header>.stride, bytes, length) }
    if let base = data.baseAddress { memcpy(node + MemoryLayout<Header>.stride + length, base, data.count) }
    if let last { last.assumingMemoryBound(to: Header.self).pointee.next = node } else { first = node }
    last = node
    count += 1
  }

  /// The oldest event; its bytes are valid until it is removed.
  package var oldest: (event: UInt32, bytes: UnsafeRawPointer, length: Int)? {
    guard let first else { return nil }
    let header = first.load(as: Header.self)
    return (header.event, UnsafeRawPointer(first + MemoryLayout<Header>.stride), header.length)
  }

  /// Forgets the oldest event, of which there must be one, and of which somebody has taken `read` bytes.
  package mutating func removeFirst(read: Int = .max) {
    guard let node = first else { return }
    let header = node.load(as: Header.self)
    if header.ownsInfo && read < MemoryLayout<fi_eq_cm_entry>.size {
      Self.freeInfo(node + MemoryLayout<Header>.stride)
    }
    first = header.next
    if first == nil { last = nil }
    count -= 1
    free(node)
  }
}

/// No bytes of the program's.
package var noData: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
