import CFabric
import Synchronization

/// Where connections tell what becomes of them.
///
/// Man page: fi_eq(3)
public final class EventQueue: @unchecked Sendable {
  let handle: UnsafeMutablePointer<fid_eq>
  let waitDescriptor: Int32?

  /// What the queue was opened on.
  public let fabric: Fabric

  /// Opens an empty queue.
  public init(_ fabric: Fabric) throws(FabricError) {
    var attributes = fi_eq_attr()
    attributes.wait_obj = FI_WAIT_FD
    var handle: UnsafeMutablePointer<fid_eq>?
    if fi_eq_open(fabric.handle, &attributes, &handle, nil) != 0 {
      attributes.wait_obj = FI_WAIT_NONE
      try check("fi_eq_open", fi_eq_open(fabric.handle, &attributes, &handle, nil))
    }
    self.handle = handle!
    self.fabric = fabric
    waitDescriptor = attributes.wait_obj == FI_WAIT_FD ? EventQueue.descriptor(of: handle!.base) : nil
  }

  deinit { fi_close(handle.base) }
}

extension EventQueue: Waitable {
  var network: Fabric { fabric }
  var object: UnsafeMutablePointer<fid> { handle.base }
}

extension EventQueue {
  /// The oldest event; nil if there is none.
  public func read() throws(FabricError) -> ConnectionEvent? {
    var found: ConnectionEvent?
    let result = withUnsafeTemporaryAllocation(
      byteCount: EventQueue.entrySize, alignment: MemoryLayout<fi_eq_cm_entry>.alignment
    ) { buffer in
      var event: UInt32 = 0
      let length = fi_eq_read(handle, &event, buffer.baseAddress, buffer.count, 0)
      if length >= MemoryLayout<fi_eq_cm_entry>.size {
        let data = buffer[MemoryLayout<fi_eq_cm_entry>.size..<length]
        found = ConnectionEvent(event, buffer.load(as: fi_eq_cm_entry.self), data: Array(data))
      }
      return length
    }
    if result == -Int(FI_EAVAIL) { return readFailed() }
    guard result < 0 && result != -Int(FI_EAGAIN) else { return found }
    throw FabricError(FabricError.Code(rawValue: Int32(clamping: result)), in: "fi_eq_read")
  }

  /// Waits for an event in the calling thread, up to `milliseconds`; nil when time is up. Completion
  /// queues are worked for meanwhile. In tasks, use ``events``.
  public func wait(milliseconds: Int32) throws(FabricError) -> ConnectionEvent? {
    let deadline = ContinuousClock.now + .milliseconds(milliseconds)
    while true {
      if let event = try read() { return event }
      let left = ContinuousClock.now.duration(to: deadline)
      guard left > .zero else { return nil }
      let isAlone = fabric.makeProgress() == 0
      try block(isAlone ? left : min(left, Pause.longest))
    }
  }

  /// The queue's events as they come, until the task is cancelled.
  public var events: EventSequence { EventSequence(queue: self) }

  private func readFailed() -> ConnectionEvent? {
    withUnsafeTemporaryAllocation(byteCount: EventQueue.entrySize, alignment: 1) { buffer in
      var entry = fi_eq_err_entry()
      entry.err_data = buffer.baseAddress
      entry.err_data_size = buffer.count
      guard fi_eq_readerr(handle, &entry, 0) > 0 else { return nil }
      let data = entry.err_data.map { UnsafeRawBufferPointer(start: $0, count: entry.err_data_size) }
      let error = FabricError(
        FabricError.Code(rawValue: entry.err), in: "connection", providerCode: entry.prov_errno)
      return ConnectionEvent(failed: entry.fid, error, data: data.map { Array($0) } ?? [])
    }
  }

  /// An event with the most data that any provider passes on.
  private static let entrySize = 1024
}

/// What became of a connection.
public struct ConnectionEvent: Sendable {
  /// What can become of one.
  public enum Kind: Hashable, Sendable {
    /// A peer wants to connect to a ``PassiveEndpoint``: see ``ConnectionEvent/request``.
    case requested
    /// The endpoint is connected; messages may be sent.
    case connected
    /// The peer has ended the connection, or is gone.
    case ended
    /// It did not come about: see ``ConnectionEvent/error``.
    case failed
    /// Something else, by its number in fi_eq(3).
    case other(UInt32)
  }

  /// What happened.
  public let kind: Kind

  /// What the peer gave to its call.
  public let data: [UInt8]

  /// Who wants to connect, to be accepted or rejected.
  public let request: ConnectionRequest?

  /// Why it failed.
  public let error: FabricError?

  private let object: UInt

  /// Whether the event is about this endpoint.
  public func concerns(_ endpoint: Endpoint) -> Bool {
    object == UInt(bitPattern: endpoint.handle.pointer.base)
  }

  init(_ event: UInt32, _ entry: fi_eq_cm_entry, data: [UInt8]) {
    switch Int(event) {
    case Int(FI_CONNREQ): kind = .requested
    case Int(FI_CONNECTED): kind = .connected
    case Int(FI_SHUTDOWN): kind = .ended
    default: kind = .other(event)
    }
    self.data = data
    let isRequest = kind == .requested
    request = isRequest ? entry.info.map { ConnectionRequest(InfoList($0).entries[0]) } : nil
    error = nil
    object = UInt(bitPattern: entry.fid)
  }

  init(failed object: UnsafeMutablePointer<fid>?, _ error: FabricError, data: [UInt8]) {
    kind = .failed
    self.data = data
    request = nil
    self.error = error
    self.object = UInt(bitPattern: object)
  }
}

/// A peer that wants to connect. It waits for its one answer: ``Endpoint/init(accepting:on:events:data:)`` or
/// ``PassiveEndpoint/reject(_:data:)``.
public final class ConnectionRequest: Sendable {
  /// What the peer asks for.
  public let info: Info

  private let isAnswered = Atomic(false)

  init(_ info: Info) {
    self.info = info
  }

  /// Takes the right to answer, which there is once.
  func answer(_ call: String) throws(FabricError) {
    guard !isAnswered.exchange(true, ordering: .relaxed) else { throw FabricError(.invalidArgument, in: call) }
  }
}

/// The events of a queue as they come: ``EventQueue/events``.
public struct EventSequence: AsyncSequence, Sendable {
  /// What is iterated over.
  public typealias Element = ConnectionEvent
  /// What is wrong with the queue itself.
  public typealias Failure = FabricError

  let queue: EventQueue

  /// Begins to iterate.
  public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(queue: queue) }

  /// Waits for the next event.
  public struct AsyncIterator: AsyncIteratorProtocol {
    let queue: EventQueue

    /// The next event; nil once the task is cancelled.
    public mutating func next() async throws(FabricError) -> ConnectionEvent? {
      try await next(isolation: nil)
    }

    /// The next event; nil once the task is cancelled.
    public mutating func next(isolation actor: isolated (any Actor)?) async throws(FabricError) -> ConnectionEvent? {
      var pause = Pause()
      while !Task.isCancelled {
        if let event = try queue.read() { return event }
        try await queue.suspend(&pause)
      }
      return nil
    }
  }
}
