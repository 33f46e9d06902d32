import Transport

/// The contexts of a scalable endpoint by index, of which each is open once at most.
///
/// Messages for a context that was never opened wait for it; once it was closed they are refused, until it is opened
/// again. Protected by the engine's lock, which callers of other functions than `init` hold.
package final class ContextTable {
  package let transmitCount: Int
  package let receiveCount: Int
  /// fi_enable was called for the endpoint itself.
  var isEnabled = false
  private let transmits: UnsafeMutablePointer<Unmanaged<TransmitContext>?>
  private let receives: UnsafeMutablePointer<Receiver>
  private var transmitsOpen = 0
  private var receivesOpen = 0
  /// Closed ones in which something was still arriving.
  private var ending: [Unmanaged<ReceiveContext>] = []
  private var turns: UInt64 = 0

  private struct Receiver {
    /// Where messages meet their receives, once there is a port and reason to have it; retained.
    var context: Unmanaged<ReceiveContext>?
    var isOpen = false
    var wasClosed = false
  }

  init(transmits transmitCount: Int, receives receiveCount: Int) {
    self.transmitCount = transmitCount
    self.receiveCount = receiveCount
    transmits = .allocate(capacity: transmitCount)
    transmits.initialize(repeating: nil, count: transmitCount)
    receives = .allocate(capacity: receiveCount)
    receives.initialize(repeating: Receiver(), count: receiveCount)
  }

  deinit {
    for index in 0..<receiveCount { receives[index].context?.release() }
    for context in ending { context.release() }
    transmits.deallocate()
    receives.deallocate()
  }

  /// Whether contexts are open: such an endpoint cannot be closed.
  var isInUse: Bool { transmitsOpen + receivesOpen != 0 }

  // MARK: Transmit contexts

  /// False when one with that index is open already.
  func add(_ context: TransmitContext) -> Bool {
    guard transmits[context.index] == nil else { return false }
    transmits[context.index] = .passUnretained(context)
    transmitsOpen += 1
    return true
  }

  func remove(_ context: TransmitContext) {
    transmits[context.index] = nil
    transmitsOpen -= 1
  }

  /// The open context that posts under a number; nil for one that is closed.
  func transmit(_ number: UInt64) -> Unmanaged<TransmitContext>? {
    let index = OperationContext.contextIndex(number)
    return index < transmitCount ? transmits[index] : nil
  }

  // MARK: Receive contexts

  /// False when it is open already.
  func openReceiver(_ index: Int) -> Bool {
    if receives[index].isOpen { return false }
    receives[index].isOpen = true
    receivesOpen += 1
    return true
  }

  func closeReceiver(_ index: Int) {
    receives[index].isOpen = false
    receives[index].wasClosed = true
    receivesOpen -= 1
  }

  /// Where messages for a context meet their receives, made if there is nothing yet; nil for an index that the endpoint has
  /// not, and for a context that is closed.
  @inline(never)
  func receiver(_ number: UInt16, of port: Port) -> Unmanaged<ReceiveContext>? {
    let index = Int(number)
    guard index < receiveCount else { return nil }
    if let context = receives[index].context { return context }
    if receives[index].wasClosed && !receives[index].isOpen { return nil }
    turns += 1
    let made = Unmanaged.passRetained(
      ReceiveContext(
        number: number, turn: turns, of: port, messages: port.transport.configuration.inboundTransfers))
    receives[index].context = made
    return made
  }

  /// The context with a name, open or ending: as long as something arrives there, it is one of these.
  func receiver(named name: UInt64) -> Unmanaged<ReceiveContext>? {
    let index = Int(name & 0xFFFF)
    if let context = receives[index].context, context._withUnsafeGuaranteedRef({ $0.name }) == name { return context }
    for context in ending where context._withUnsafeGuaranteedRef({ $0.name }) == name { return context }
    return nil
  }

  /// Calls `body` with all that messages meet their receives in.
  func forEachReceiver(_ body: (ReceiveContext) -> Void) {
    for index in 0..<receiveCount { receives[index].context?._withUnsafeGuaranteedRef(body) }
  }

  /// Leaves a context out that was closed; it stays until nothing arrives in it any more.
  func retire(_ context: Unmanaged<ReceiveContext>) {
    ending.removeAll { ended in
      guard ended._withUnsafeGuaranteedRef({ $0.isQuiet }) else { return false }
      ended.release()
      return true
    }
    receives[context._withUnsafeGuaranteedRef { Int($0.number) }].context = nil
    ending.append(context)
  }
}
