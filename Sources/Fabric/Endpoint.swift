import CFabric

/// Where messages go out and come in, and operations on the memory of peers.
///
/// An endpoint of ``TransportProvider/endpoint()`` is ready for use. One that is opened here shares the queues and the
/// address vector it is given with others. Letting it go closes it: operations under way end without a completion, and
/// their memory is freed.
///
/// Calls that find a queue full, or a connection not made yet, throw ``FabricError/Code/tryAgain``: read completions, and
/// call again, or let ``retrying(for:_:)`` do so.
///
/// Man page: fi_endpoint(3)
public final class Endpoint: @unchecked Sendable {
  let handle: EndpointHandle

  /// What the endpoint was opened on.
  public var domain: Domain { handle.domain }

  /// The peers it talks to. A connected endpoint has one, ``Peer/connected``, and must not be asked for more.
  public var addressVector: AddressVector {
    guard let vector = handle.addressVector else { preconditionFailure("a connected endpoint has no address vector") }
    return vector
  }

  /// Where its operations complete.
  public var completionQueue: CompletionQueue { handle.completionQueue }

  /// Where its receives complete: the same queue, unless it was opened with another.
  public var receiveQueue: CompletionQueue { handle.receiveQueue }

  /// Opens an endpoint and makes it ready for use.
  ///
  /// - Parameters:
  ///   - domain: The interface to open it on.
  ///   - completionQueue: Where operations complete; nil opens one.
  ///   - receiveQueue: Where receives complete; nil is the same as the other operations.
  ///   - addressVector: The peers; nil opens an empty vector.
  ///   - counters: What counts its operations.
  public init(
    _ domain: Domain, completionQueue: CompletionQueue? = nil, receiveQueue: CompletionQueue? = nil,
    addressVector: AddressVector? = nil, counters: [BoundCounter] = []
  ) throws(FabricError) {
    let completionQueue = if let completionQueue { completionQueue } else { try CompletionQueue(domain) }
    let addressVector = if let addressVector { addressVector } else { try AddressVector(domain) }
    handle = try EndpointHandle(
      domain, domain.info, completionQueue: completionQueue, receiveQueue: receiveQueue ?? completionQueue,
      addressVector: addressVector, counters: counters)
    try check("fi_enable", fi_enable(handle.pointer))
  }

  /// Opens an endpoint to be connected.
  init(_ domain: Domain, _ info: Info, _ events: EventQueue) throws(FabricError) {
    let queue = try CompletionQueue(domain)
    handle = try EndpointHandle(
      domain, info, completionQueue: queue, receiveQueue: queue, addressVector: nil, events: events, counters: [])
    try check("fi_enable", fi_enable(handle.pointer))
  }

  // Regions bound to the endpoint may hold its handle a while longer; operations end now.
  deinit { handle.close() }
}

extension Endpoint {
  /// Where peers reach this endpoint.
  public var address: EndpointAddress {
    get throws(FabricError) {
      try EndpointAddress("fi_getname") { fi_getname(handle.pointer.base, $0, $1) }
    }
  }

  /// Memory that peers reach through this endpoint, all zero.
  public func memoryRegion(
    byteCount: Int, access: MemoryRegion.Access = [.read, .write]
  ) throws(FabricError) -> MemoryRegion {
    guard byteCount > 0 && !access.isEmpty else {
      throw FabricError(.invalidArgument, in: "region of \(byteCount) bytes for peers")
    }
    let memory = try RegisteredMemory(
      domain, byteCount: byteCount, access: access.rawValue,
      endpoint: domain.registers(FI_MR_ENDPOINT) ? handle : nil)
    return MemoryRegion(memory, virtualAddresses: domain.registers(FI_MR_VIRT_ADDR))
  }

  /// Asks for the end of an operation, which then completes with ``FabricError/Code/cancelled`` if it had not begun. An
  /// operation that is over is left alone. Receives can always be cancelled while no message has matched them.
  public func cancel(_ operation: PostedOperation) throws(FabricError) {
    guard operation.endpoint == handle.number else {
      throw FabricError(.invalidArgument, in: "cancelling an operation of another endpoint")
    }
    let queue = operation.isReceive ? receiveQueue : completionQueue
    let result = queue.operations.withContext(of: operation) { fi_cancel(handle.pointer.base, $0) }
    guard let result, result < 0 && result != -Int(FI_ENOENT) else { return }
    throw FabricError(FabricError.Code(rawValue: Int32(clamping: result)), in: "fi_cancel")
  }
}

extension Endpoint {
  /// Posts an operation whose context keeps what it uses. If the call is refused nothing is kept, and the error has the
  /// region that was to be written.
  @inline(__always)
  func post(
    _ operation: Completion.Operation, _ call: String, token: UInt64, source: RegisteredMemory? = nil,
    comparand: RegisteredMemory? = nil, target: RegisteredMemory? = nil, targetCount: Int = 0,
    _ body: (UnsafeMutableRawPointer) -> Int
  ) throws(FabricError) -> PostedOperation {
    let queue = operation == .receive ? receiveQueue : completionQueue
    let entry = queue.operations.take(handle.number)
    entry.pointee.operation = operation
    entry.pointee.token = token
    entry.pointee.source = source
    entry.pointee.comparand = comparand
    entry.pointee.target = target
    entry.pointee.targetCount = targetCount
    let posted = PostedOperation(
      entry: UInt(bitPattern: entry), generation: entry.pointee.generation, endpoint: handle.number,
      isReceive: operation == .receive)
    let result = body(entry)
    if result != 0 { throw refuse(entry, queue, call, result) }
    return posted
  }

  @inline(never)
  private func refuse(
    _ entry: OperationTable.Entry, _ queue: CompletionQueue, _ call: String, _ result: Int
  ) -> FabricError {
    let ended = queue.operations.end(entry)
    return FabricError(
      FabricError.Code(rawValue: Int32(clamping: result)), in: call, returned: ended?.giveBack())
  }
}
