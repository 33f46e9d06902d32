import CFabric
import Synchronization

/// What an operation needs while it is under way. Its address is the operation's context, so it stays where it is.
struct OperationEntry {
  /// Room of the provider's, with FI_CONTEXT and FI_CONTEXT2. It comes first, since the context points to it.
  var room = fi_context2()

  var next: UnsafeMutablePointer<OperationEntry>?
  var generation: UInt64 = 0
  var state = State.free
  var endpoint: UInt64 = 0
  var operation = Completion.Operation.send
  var token: UInt64 = 0

  /// Memory that the operation reads, and of a comparing one, what it compares with.
  var source: RegisteredMemory?
  var comparand: RegisteredMemory?

  /// Memory that the operation writes, which its completion hands back, and the bytes it is to write.
  var target: RegisteredMemory?
  var targetCount = 0

  enum State {
    case free
    case underWay
    /// The endpoint is closed and the memory let go. A completion may yet come, so nobody else gets the entry.
    case discarded
  }
}

/// The operations that complete in one queue. It grows to the most that were ever under way, and allocates nothing
/// otherwise.
final class OperationTable: @unchecked Sendable {
  typealias Entry = UnsafeMutablePointer<OperationEntry>

  // All below is under the lock, and so are the entries, but for one that was taken and is not posted yet.
  private let mutex = Mutex(())
  private var blocks: [Entry] = []
  private var free: Entry?
  private var generation: UInt64 = 0

  deinit {
    for block in blocks {
      block.deinitialize(count: OperationTable.blockSize)
      block.deallocate()
    }
  }

  /// An entry for an operation that is about to be posted.
  func take(_ endpoint: UInt64) -> Entry {
    locked {
      if free == nil { grow() }
      let entry = free!
      free = entry.pointee.next
      generation &+= 1
      entry.pointee.next = nil
      entry.pointee.generation = generation
      entry.pointee.endpoint = endpoint
      entry.pointee.state = .underWay
      return entry
    }
  }

  /// Ends an operation: what its entry held, or nil where its endpoint was closed before.
  func end(_ context: UnsafeMutableRawPointer) -> EndedOperation? {
    let entry = context.assumingMemoryBound(to: OperationEntry.self)
    // Memory that is no longer needed is let go outside of the lock, since deregistering it may take its time.
    var (source, comparand): (RegisteredMemory?, RegisteredMemory?)
    return locked {
      swap(&source, &entry.pointee.source)
      swap(&comparand, &entry.pointee.comparand)
      let target = entry.pointee.target.take()
      let isDiscarded = entry.pointee.state == .discarded
      entry.pointee.state = .free
      entry.pointee.next = free
      free = entry
      if isDiscarded { return nil }
      return EndedOperation(
        operation: entry.pointee.operation, token: entry.pointee.token, target: target,
        targetCount: entry.pointee.targetCount)
    }
  }

  /// Lets go what the operations of a closed endpoint held. Their entries stay taken until their completions are read,
  /// or the table goes, since the queue may hold some.
  func discard(operationsOf endpoint: UInt64) {
    locked {
      for block in blocks {
        for entry in block..<block + OperationTable.blockSize
        where entry.pointee.state == .underWay && entry.pointee.endpoint == endpoint {
          entry.pointee.source = nil
          entry.pointee.comparand = nil
          entry.pointee.target = nil
          entry.pointee.state = .discarded
        }
      }
    }
  }

  /// Calls `body` with the context of an operation of this table, and keeps it under way until it returns; nil if it is
  /// over.
  func withContext(of posted: PostedOperation, _ body: (UnsafeMutableRawPointer) -> Int) -> Int? {
    locked {
      let entry = Entry(bitPattern: posted.entry)!
      guard entry.pointee.state == .underWay && entry.pointee.generation == posted.generation else { return nil }
      return body(entry)
    }
  }

  /// Operations under way, those of closed endpoints not counted.
  var count: Int {
    locked {
      blocks.reduce(0) { count, block in
        (block..<block + OperationTable.blockSize).reduce(count) { $0 + ($1.pointee.state == .underWay ? 1 : 0) }
      }
    }
  }

  private func grow() {
    let block = Entry.allocate(capacity: OperationTable.blockSize)
    block.initialize(repeating: OperationEntry(), count: OperationTable.blockSize)
    for entry in block..<block + OperationTable.blockSize - 1 {
      entry.pointee.next = entry + 1
    }
    free = block
    blocks.append(block)
  }

  @inline(__always)
  private func locked<Result>(_ body: () -> Result) -> Result {
    var result: Result?
    mutex.withLock { _ in result = body() }
    return result!
  }

  private static let blockSize = 64
}

/// What an operation leaves behind.
struct EndedOperation {
  let operation: Completion.Operation
  let token: UInt64
  let target: RegisteredMemory?
  let targetCount: Int

  /// Its region, with `count` bytes in use, or those it was to write.
  func giveBack(count: Int? = nil) -> ReturnedRegion? {
    target?.giveBack(count: count ?? targetCount)
  }
}

/// An operation under way, to be cancelled: ``Endpoint/cancel(_:)``.
public struct PostedOperation: Hashable, Sendable {
  let entry: UInt
  let generation: UInt64
  let endpoint: UInt64
  let isReceive: Bool
}
