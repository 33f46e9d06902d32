import CFabric
import Datagram

/// A completion as it lies in the ring. It begins with the fields of `struct fi_cq_tagged_entry`, so that every format
/// is a prefix of it.
package struct Completion: BitwiseCopyable {
  package var context: UInt
  package var flags: UInt64
  /// Bytes received.
  package var length: Int
  package var buffer: UInt
  package var data: UInt64
  package var tag: UInt64
  /// The peer, or FI_ADDR_NOTAVAIL.
  package var source: UInt64
  /// Details are in the ring's list of errors.
  package var isError: Bool = false

  @inline(__always)
  package init(
    context: UInt, flags: UInt64, length: Int = 0, buffer: UInt = 0, data: UInt64 = 0, tag: UInt64 = 0,
    source: UInt64 = UInt64.max
  ) {
    self.context = context
    self.flags = flags
    self.length = length
    self.buffer = buffer
    self.data = data
    self.tag = tag
    self.source = source
  }
}

/// What `err_data` of an error entry points at: nothing, or an address.
package struct ErrorData: BitwiseCopyable {
  /// A sockaddr_in or sockaddr_in6.
  package private(set) var bytes: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
  package private(set) var count = 0

  package init() {}

  package init(_ address: SocketAddress) {
    count = withUnsafeMutableBytes(of: &bytes) { address.store(to: $0.baseAddress!, capacity: $0.count) }
  }
}

/// What an error entry has beyond a completion.
package struct CompletionError: BitwiseCopyable {
  /// Bytes that did not fit.
  package var overflow: Int
  /// The error number, positive.
  package var code: Int32
  /// The provider's own number.
  package var providerCode: Int32
  package var data: ErrorData

  package init(code: Int32, providerCode: Int32, overflow: Int = 0, data: ErrorData = ErrorData()) {
    self.code = code
    self.providerCode = providerCode
    self.overflow = overflow
    self.data = data
  }
}

/// Completions in the order in which operations ended, errors among them.
///
/// Room is set aside when an operation is posted, so that its completion always finds a place; entries occupy it until
/// they are read. Memory is reserved at initialization and by `grow`, never by a completion. Not thread-safe.
package struct CompletionRing: ~Copyable {
  /// Entries that may be set aside or queued at once.
  package private(set) var capacity: Int
  /// Entries queued.
  package private(set) var count = 0
  /// Entries queued or set aside.
  package private(set) var used = 0

  private var entries: UnsafeMutablePointer<Completion>
  private var mask: Int
  private var head = 0
  private var errors: ErrorList

  package init(capacity: Int) {
    self.capacity = capacity
    let size = Self.size(for: capacity)
    entries = .allocate(capacity: size)
    mask = size - 1
    errors = ErrorList()
  }

  deinit { entries.deallocate() }

  /// Whether the oldest entry is an error.
  @inline(__always)
  package var isErrorFirst: Bool { count > 0 && entries[head & mask].isError }

  /// Whether any entry is an error.
  package var hasErrors: Bool { errors.count > 0 }

  /// Sets room for one completion aside; false when the ring is full.
  @inline(__always)
  package mutating func reserve() -> Bool {
    if used >= capacity { return false }
    used &+= 1
    return true
  }

  /// Gives up room that was set aside.
  @inline(__always)
  package mutating func unreserve(_ entries: Int = 1) {
    assert(used >= count + entries)
    used &-= entries
  }

  /// Queues a completion into room that was set aside for it.
  @inline(__always)
  package mutating func push(_ completion: Completion) {
    assert(count < used)
    entries[(head &+ count) & mask] = completion
    count &+= 1
  }

  /// Queues an error entry into room that was set aside for it. `completion` need not be marked.
  package mutating func push(_ completion: Completion, _ error: CompletionError) {
    var completion = completion
    completion.isError = true
    errors.append(error, limit: capacity)
    push(completion)
  }

  /// Takes up to `limit` completions and stores them as `Entry`, one of the C structures whose fields are a prefix of
  /// ``Completion``. Stops before an error. Returns how many were taken.
  @inline(__always)
  package mutating func read<Entry: BitwiseCopyable>(
    _: Entry.Type, into buffer: UnsafeMutableRawPointer?, limit: Int, sources: UnsafeMutablePointer<UInt64>?
  ) -> Int {
    let available = min(limit, count)
    guard available > 0, let buffer else { return 0 }
    var taken = 0
    while taken < available {
      let entry = entries + ((head &+ taken) & mask)
      if entry.pointee.isError { break }
      let target = buffer + taken &* MemoryLayout<Entry>.stride
      target.storeBytes(of: UnsafeRawPointer(entry).load(as: Entry.self), as: Entry.self)
      if let sources { sources[taken] = entry.pointee.source }
      taken &+= 1
    }
    remove(taken)
    return taken
  }

  /// Takes the oldest entry if it is an error.
  package mutating func readError() -> (Completion, CompletionError)? {
    guard let (completion, error) = oldest, let error else { return nil }
    removeFirst()
    return (completion, error)
  }

  /// The oldest entry, with its details if it is an error; nil when there is none.
  package var oldest: (completion: Completion, error: CompletionError?)? {
    guard count > 0 else { return nil }
    let completion = entries[head & mask]
    return (completion, completion.isError ? errors.first : nil)
  }

  /// Takes the oldest entry, of which there must be one.
  package mutating func removeFirst() {
    if isErrorFirst { errors.removeFirst() }
    remove(1)
  }

  /// Drops everything that is queued.
  package mutating func removeAll() {
    while errors.count > 0 { errors.removeFirst() }
    remove(count)
  }

  /// Adds room for `additional` completions.
  package mutating func grow(by additional: Int) {
    capacity += additional
    let size = Self.size(for: capacity)
    guard size > mask + 1 else { return }
    let larger = UnsafeMutablePointer<Completion>.allocate(capacity: size)
    for index in 0..<count { (larger + index).initialize(to: entries[(head &+ index) & mask]) }
    entries.deallocate()
    entries = larger
    mask = size - 1
    head = 0
  }

  @inline(__always)
  private mutating func remove(_ number: Int) {
    count &-= number
    used &-= number
    // An empty ring begins anew, so that a program which keeps up stays in a few cache lines of a large ring.
    head = count == 0 ? 0 : (head &+ number) & mask
  }

  private static func size(for capacity: Int) -> Int {
    var size = 16
    while size < capacity { size *= 2 }
    return size
  }
}

/// The errors among the completions, in order. Errors are rare, so memory for them is taken when they come; never for
/// more than the ring has entries.
private struct ErrorList: ~Copyable {
  private var base: UnsafeMutablePointer<CompletionError>?
  private var capacity = 0
  private var head = 0
  private(set) var count = 0

  init() {}

  deinit { base?.deallocate() }

  mutating func append(_ error: CompletionError, limit: Int) {
    precondition(count < limit)
    if count == capacity { grow() }
    (base.unsafelyUnwrapped + (head + count) % capacity).initialize(to: error)
    count += 1
  }

  var first: CompletionError {
    precondition(count > 0)
    return base.unsafelyUnwrapped[head]
  }

  mutating func removeFirst() {
    precondition(count > 0)
    head = (head + 1) % capacity
    count -= 1
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<CompletionError>.allocate(capacity: max(capacity * 2, 8))
    if let base {
      for index in 0..<count { (larger + index).initialize(to: base[(head + index) % capacity]) }
      base.deallocate()
    }
    base = larger
    capacity = max(capacity * 2, 8)
    head = 0
  }
}
