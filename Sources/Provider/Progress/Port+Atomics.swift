import CFabric
import Packet
import Transport

// Atomic operations: those that this side starts, and those of peers, which are over as soon as they have come.
extension Sender {
  /// Does something to a peer's memory. `operands` are the operands and then the comparands, as the operation has them,
  /// `results` as long as the segments if it returns something. Returns 0 or a negative FI_E value.
  package func atomic(
    _ request: AtomicRequest, _ operands: Pieces, results: Pieces, at segments: UnsafePointer<RemoteSegment>,
    segmentCount: Int, of address: UInt64, data: UInt64, context: UInt, flags: UInt64
  ) -> Int {
    let reported = OperationContext(context: context, flags: request.completionFlags | flags & FI_COMPLETION | number)
    var operation = atomic(request, operands, results, data: data, reported, flags)
    operation.segments = segments
    operation.segmentCount = segmentCount
    return port._withUnsafeGuaranteedRef { $0.start(operation, by: number, to: address, operands, flags) }
  }

  func atomic(
    _ request: AtomicRequest, _ operands: Pieces, _ results: Pieces, data: UInt64, _ reported: OperationContext,
    _ flags: UInt64
  ) -> Operation {
    var operationFlags = operationFlags(flags)
    if request.returnsContents { operationFlags.insert(.fetch) }
    var operation = Operation(
      kind: .atomic, flags: operationFlags, slices: operands.first, sliceCount: operands.count,
      cookie: reported.cookie)
    operation.data = data
    operation.atomic = request.code
    operation.results = results.first
    operation.resultCount = results.count
    return operation
  }
}

extension Port {
  /// A peer's operation on this side's memory.
  @inline(never)
  func atomicArrived(_ event: UnsafePointer<Event>) {
    guard isFromPeer(event) else { return transport.refuse(.accessDenied) }
    guard let request = AtomicRequest(event) else { return transport.refuse(.unsupported) }
    withUnsafeTemporaryAllocation(of: Slice.self, capacity: maximumSlices) { memory in
      let slices = memory.baseAddress!
      var transfer = RegionTransfer()
      let found = resolve(event, request.access, slices, &transfer)
      guard found.status == .ok, let operands = event.pointee.payload else { return transport.refuse(found.status) }
      let length = Int(truncatingIfNeeded: event.pointee.length)
      request.apply(
        to: slices, count: found.sliceCount, operands: operands,
        results: request.returnsContents ? transport.respond(length) : nil, length: length)
      if countsRemotes { count(request, transfer, event.pointee.length) }
      reportAccess(event, request.remoteFlags)
    }
  }

  /// An endpoint counts what returns something as a read; a region, what changes it as a write.
  private func count(_ request: AtomicRequest, _ transfer: RegionTransfer, _ bytes: UInt64) {
    let change: RegionAccess = request.operation == .read ? .read : .write
    if request.returnsContents {
      countRemoteRead(transfer, bytes, as: change)
    } else {
      countRemoteWrite(transfer, bytes)
    }
  }
}
