import CFabric
import Synchronization

/// The C object behind an endpoint, with all that is bound to it. Memory regions bound to it hold it as well, since they
/// are closed before it.
final class EndpointHandle: @unchecked Sendable {
  let pointer: UnsafeMutablePointer<fid_ep>

  /// Tells this endpoint's operations from others of the same queue.
  let number: UInt64

  let domain: Domain
  let completionQueue: CompletionQueue
  let receiveQueue: CompletionQueue
  let addressVector: AddressVector?
  private let events: EventQueue?
  private let counters: [BoundCounter]
  private var isOpen = true

  init(
    _ domain: Domain, _ info: Info, completionQueue: CompletionQueue, receiveQueue: CompletionQueue,
    addressVector: AddressVector?, events: EventQueue? = nil, counters: [BoundCounter]
  ) throws(FabricError) {
    var pointer: UnsafeMutablePointer<fid_ep>?
    try check("fi_endpoint", fi_endpoint(domain.handle, info.pointer, &pointer, nil))
    self.pointer = pointer!
    self.domain = domain
    self.completionQueue = completionQueue
    self.receiveQueue = receiveQueue
    self.addressVector = addressVector
    self.events = events
    self.counters = counters
    number = EndpointHandle.nextNumber.wrappingAdd(1, ordering: .relaxed).oldValue
    if let addressVector { try bind(addressVector.handle.base, 0) }
    if let events { try bind(events.handle.base, 0) }
    if completionQueue === receiveQueue {
      try bind(completionQueue.handle.base, FI_TRANSMIT | FI_RECV)
    } else {
      try bind(completionQueue.handle.base, FI_TRANSMIT)
      try bind(receiveQueue.handle.base, FI_RECV)
    }
    for bound in counters {
      try bind(bound.counter.handle.base, bound.operations.rawValue)
    }
  }

  deinit { close() }

  /// Closes the object and lets go what its operations hold. Called by the owner's `deinit` and by this one's, so by one
  /// thread at a time. An object that cannot be closed yet may still use its memory: then everything stays.
  func close() {
    guard isOpen && fi_close(pointer.base) == 0 else { return }
    isOpen = false
    completionQueue.operations.discard(operationsOf: number)
    receiveQueue.operations.discard(operationsOf: number)
  }

  private func bind(_ object: UnsafeMutablePointer<fid>, _ flags: UInt64) throws(FabricError) {
    try check("fi_ep_bind", fi_ep_bind(pointer, object, flags))
  }

  private static let nextNumber = Atomic<UInt64>(1)
}
