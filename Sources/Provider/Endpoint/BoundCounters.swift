import CFabric

/// The counters that an endpoint's operations move, one for each kind at most. They are retained, and unmanaged so that
/// the data path never is what retains them.
///
/// Man page: fi_endpoint(3), fi_ep_bind
package struct BoundCounters: BitwiseCopyable {
  /// FI_SEND: messages sent; FI_RECV: messages received.
  package private(set) var send: Unmanaged<Counter>?
  package private(set) var receive: Unmanaged<Counter>?
  /// FI_READ: reads and fetching atomics; FI_WRITE: writes, other atomics and collective operations.
  package private(set) var read: Unmanaged<Counter>?
  package private(set) var write: Unmanaged<Counter>?
  /// FI_REMOTE_READ and FI_REMOTE_WRITE: the same by peers.
  package private(set) var remoteRead: Unmanaged<Counter>?
  package private(set) var remoteWrite: Unmanaged<Counter>?

  package init() {}

  /// Flags that a binding may have.
  package static var flags: UInt64 { FI_SEND | FI_RECV | FI_READ | FI_WRITE | FI_REMOTE_READ | FI_REMOTE_WRITE }

  /// Whether operations that this side starts are counted.
  package var countTransmits: Bool { send != nil || read != nil || write != nil }
  package var countRemotes: Bool { remoteRead != nil || remoteWrite != nil }
  package var isEmpty: Bool { !countTransmits && receive == nil && !countRemotes }

  /// Whether one of the kinds in `flags` has its counter already.
  package func overlaps(_ flags: UInt64) -> Bool {
    flags & FI_SEND != 0 && send != nil || flags & FI_RECV != 0 && receive != nil
      || flags & FI_READ != 0 && read != nil || flags & FI_WRITE != 0 && write != nil
      || flags & FI_REMOTE_READ != 0 && remoteRead != nil || flags & FI_REMOTE_WRITE != 0 && remoteWrite != nil
  }

  /// Counts the kinds in `flags` at `counter` from now on. The engine's lock is held.
  package mutating func bind(_ counter: Counter, flags: UInt64) {
    if flags & FI_SEND != 0 { send = Self.retain(counter) }
    if flags & FI_RECV != 0 { receive = Self.retain(counter) }
    if flags & FI_READ != 0 { read = Self.retain(counter) }
    if flags & FI_WRITE != 0 { write = Self.retain(counter) }
    if flags & FI_REMOTE_READ != 0 { remoteRead = Self.retain(counter) }
    if flags & FI_REMOTE_WRITE != 0 { remoteWrite = Self.retain(counter) }
  }

  /// Lets all counters go. The engine's lock is held.
  package mutating func unbindAll() {
    Self.release(send)
    Self.release(receive)
    Self.release(read)
    Self.release(write)
    Self.release(remoteRead)
    Self.release(remoteWrite)
    self = BoundCounters()
  }

  private static func retain(_ counter: Counter) -> Unmanaged<Counter> {
    counter.addBinding()
    return .passRetained(counter)
  }

  private static func release(_ counter: Unmanaged<Counter>?) {
    guard let counter else { return }
    counter._withUnsafeGuaranteedRef { $0.removeBinding() }
    counter.release()
  }

  /// The counter for an operation of this side, by the flags of its completion.
  @inline(__always)
  package func counter(of flags: UInt64) -> Unmanaged<Counter>? {
    flags & FI_SEND != 0 ? send : flags & FI_READ != 0 ? read : write
  }
}
