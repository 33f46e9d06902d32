import CFabric

/// Counts operations, for programs that need to know how many are over rather than which.
///
/// Man page: fi_cntr(3)
public final class Counter: @unchecked Sendable {
  let handle: UnsafeMutablePointer<fid_cntr>

  /// What the counter was opened on.
  public let domain: Domain

  /// Opens a counter that stands at 0.
  public init(_ domain: Domain) throws(FabricError) {
    var attributes = fi_cntr_attr()
    attributes.events = FI_CNTR_EVENTS_COMP
    attributes.wait_obj = FI_WAIT_NONE
    var handle: UnsafeMutablePointer<fid_cntr>?
    try check("fi_cntr_open", fi_cntr_open(domain.handle, &attributes, &handle, nil))
    self.handle = handle!
    self.domain = domain
  }

  deinit { fi_close(handle.base) }

  /// Operations that succeeded. Reading makes progress as a ``CompletionQueue`` does.
  public var value: UInt64 { fi_cntr_read(handle) }

  /// Operations that failed.
  public var errorValue: UInt64 { fi_cntr_readerr(handle) }

  /// Adds to ``value``.
  public func add(_ count: UInt64) throws(FabricError) {
    try check("fi_cntr_add", fi_cntr_add(handle, count))
  }

  /// Sets ``value``.
  public func set(to value: UInt64) throws(FabricError) {
    try check("fi_cntr_set", fi_cntr_set(handle, value))
  }

  /// Holds the calling thread until ``value`` is `threshold` or more, up to `milliseconds`; -1 is for ever. It looks again
  /// every 50 µs, and works for the network's queues meanwhile.
  ///
  /// - Throws: ``FabricError/Code/timedOut``, or ``FabricError/Code/errorAvailable`` when an operation fails.
  public func wait(until threshold: UInt64, milliseconds: Int32 = -1) throws(FabricError) {
    let deadline = ContinuousClock.now + .milliseconds(milliseconds)
    let errors = errorValue
    while value < threshold {
      guard errorValue == errors else { throw FabricError(.errorAvailable, in: "counter") }
      guard milliseconds < 0 || ContinuousClock.now < deadline else { throw FabricError(.timedOut, in: "counter") }
      domain.fabric.makeProgress()
      Readiness.pause(Pause.first)
    }
  }
}

/// A counter, and what it counts of an endpoint.
public struct BoundCounter: Sendable {
  /// Kinds of operation that an endpoint's counters count.
  public struct Operations: OptionSet, Hashable, Sendable {
    /// The flags of fi_ep_bind(3).
    public let rawValue: UInt64

    /// Operations from the flags of fi_ep_bind(3).
    public init(rawValue: UInt64) {
      self.rawValue = rawValue
    }

    /// Messages sent. `FI_SEND`
    public static let sends = Operations(rawValue: FI_SEND)
    /// Messages received. `FI_RECV`
    public static let receives = Operations(rawValue: FI_RECV)
    /// Reads of peers' memory. `FI_READ`
    public static let reads = Operations(rawValue: FI_READ)
    /// Writes to peers' memory. `FI_WRITE`
    public static let writes = Operations(rawValue: FI_WRITE)
    /// Reads by peers. `FI_REMOTE_READ`
    public static let remoteReads = Operations(rawValue: FI_REMOTE_READ)
    /// Writes by peers. `FI_REMOTE_WRITE`
    public static let remoteWrites = Operations(rawValue: FI_REMOTE_WRITE)
  }

  /// What counts.
  public let counter: Counter

  /// What is counted.
  public let operations: Operations

  /// Lets `counter` count `operations`.
  public init(_ counter: Counter, counts operations: Operations) {
    self.counter = counter
    self.operations = operations
  }
}
