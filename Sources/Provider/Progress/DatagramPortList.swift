import Containers
import Transport

/// The datagram ports of a domain, for its engine, which serializes.
struct DatagramPortList: ~Copyable {
  private var ports: UnsafeMutablePointer<Unmanaged<DatagramPort>>
  private var capacity = 4
  private(set) var count = 0

  init() { ports = .allocate(capacity: capacity) }

  deinit { ports.deallocate() }

  /// The caller keeps the port alive until `remove`.
  mutating func append(_ port: DatagramPort) {
    if count == capacity { doubleCapacity(of: &ports, count: count, &capacity) }
    (ports + count).initialize(to: .passUnretained(port))
    count += 1
  }

  mutating func remove(_ port: DatagramPort) {
    for index in 0..<count where ports[index].toOpaque() == Unmanaged.passUnretained(port).toOpaque() {
      count -= 1
      ports[index] = ports[count]
      return
    }
  }

  /// Calls `body` with each port.
  func forEach(_ body: (DatagramPort) -> Void) {
    for index in 0..<count { ports[index]._withUnsafeGuaranteedRef(body) }
  }

  /// Pumps each port once. Returns whether any socket had anything.
  func pump(_ now: Instant) -> Bool {
    var isEmpty = true
    for index in 0..<count {
      if ports[index]._withUnsafeGuaranteedRef({ $0.pump(now) }) { isEmpty = false }
    }
    return !isEmpty
  }

  /// Has `waiter` watch what ports wait for. Returns when to look at them although no descriptor says so.
  func prepareToSleep(_ waiter: Waiter) -> Instant {
    var deadline = Instant.max
    for index in 0..<count {
      ports[index]._withUnsafeGuaranteedRef {
        $0.updateWatch(waiter)
        deadline = min(deadline, $0.hasWork ? 0 : $0.nextTimeout)
      }
    }
    return deadline
  }
}
