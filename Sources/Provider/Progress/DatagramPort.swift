import CFabric
import CPlatform
import Datagram
import Transport

/// An enabled datagram endpoint as the progress engine sees it: a UDP socket, the receives posted on it, and what
/// completions need. What is sent is one datagram with nothing but the program's bytes, as upstream's `udp` provider has
/// it; what is received goes from the socket straight into the memory of the oldest receive.
///
/// A datagram without a receive stays in the socket, and is lost when that has no more room. As with ``Port``, references
/// are unmanaged and everything is protected by the engine's lock.
package final class DatagramPort {
  let binding: Port.Binding
  package let options: EndpointOptions
  var socket: UDPSocket
  var input = DatagramInput()
  var receiver: ScatterReceiver
  var receives: DatagramReceives
  /// Index of the interface that groups are joined on.
  let interface: UInt32
  /// By number; nil for one that was left.
  var groups: [MulticastGroup?] = []

  /// Sleepers watch the descriptors.
  private var isWatched = false
  private let reportsSources: Bool
  // The peer that was looked up last.
  private var lastPeer = SocketAddress()
  private var lastSource: UInt64 = 0
  private var lastGeneration: UInt32 = 0

  package init(
    binding: Port.Binding, options: EndpointOptions, socket: consuming UDPSocket, interface: UInt32, portable: Bool
  ) {
    self.binding = binding
    self.options = options
    self.interface = interface
    reportsSources = options.capabilities & FI_SOURCE != 0
    self.socket = socket
    receiver = ScatterReceiver(batch: Self.batch, portable: portable)
    receives = DatagramReceives(capacity: options.receiveQueueSize)
  }

  package var localAddress: SocketAddress { socket.localAddress }

  /// Receives that may still be posted.
  package var receivesLeft: Int {
    lock()
    defer { unlock() }
    return receives.available
  }

  /// When to pump although no descriptor says so.
  package var nextTimeout: Instant {
    if receives.isEmpty { return .max }
    var next = socket.nextDelivery
    for index in 0..<groups.count { next = min(next, groups[index]?.nextDelivery ?? .max) }
    return next
  }

  /// Whether a pump has something to do that no descriptor and no timer will tell of.
  package var hasWork: Bool {
    if receives.isEmpty { return false }
    if !input.isEmpty { return true }
    for index in 0..<groups.count where !(groups[index]?.input.isEmpty ?? true) { return true }
    return false
  }

  // MARK: References

  @inline(__always)
  func lock() { binding.engine._withUnsafeGuaranteedRef { $0.lock() } }
  @inline(__always)
  func unlock() { binding.engine._withUnsafeGuaranteedRef { $0.unlock() } }

  /// The entry of the address vector that a datagram comes from, or FI_ADDR_NOTAVAIL.
  @inline(__always)
  func source(of peer: SocketAddress) -> UInt64 {
    guard reportsSources else { return unavailableAddress }
    let generation = binding.generation.pointee
    if peer == lastPeer && generation == lastGeneration { return lastSource }
    lastPeer = peer
    lastGeneration = generation
    lastSource = binding.addresses?._withUnsafeGuaranteedRef { $0.source(peer) } ?? unavailableAddress
    return lastSource
  }

  // MARK: Sleeping

  /// Has sleepers watch the descriptors exactly while receives wait: a datagram that nobody wants must not keep them
  /// awake.
  func updateWatch(_ waiter: Waiter) {
    let isWanted = !receives.isEmpty
    if isWanted != isWatched { changeWatch(waiter, isWanted) }
  }

  private func changeWatch(_ waiter: Waiter, _ isWanted: Bool) {
    isWatched = isWanted
    change(waiter, socket.descriptor, isWanted)
    for index in 0..<groups.count {
      if let descriptor = groups[index]?.descriptor, descriptor >= 0 { change(waiter, descriptor, isWanted) }
    }
  }

  private func change(_ waiter: Waiter, _ descriptor: Int32, _ isWanted: Bool) {
    if !isWanted { return waiter.remove(descriptor) }
    // Without room to watch one more, sleepers look again soon.
    do throws(SystemError) { try waiter.add(descriptor) } catch { isWatched = false }
  }

  /// Takes the descriptors from what sleepers watch: some are about to come or go.
  func stopWatching(_ waiter: Waiter?) {
    guard isWatched, let waiter else { return }
    changeWatch(waiter, false)
  }

  /// Whether somebody who sleeps does not watch although a receive waits.
  @inline(__always)
  var isUnwatched: Bool { !isWatched && !receives.isEmpty }

  // MARK: Ending

  /// Gives up the room that was set aside for completions which will not come (fi_close discards them silently).
  package func releaseReservations() {
    for _ in 0..<receives.count { binding.receiveQueue._withUnsafeGuaranteedRef { $0.unreserve() } }
  }

  /// Datagrams of one system call.
  @inline(__always) static var batch: Int { 16 }
}

/// Where the datagrams that a socket with a fault plan keeps in its own buffers are being worked on.
struct DatagramInput {
  var count = 0
  var index = 0

  @inline(__always)
  var isEmpty: Bool { index >= count }
}
