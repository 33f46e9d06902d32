import Packet
import Transport

/// A message that a traffic program sends.
package struct TrafficMessage {
  package var target: Int
  package var size: Int
  /// Not posted before; the message before it is not waited for unless the program's window is full.
  package var notBefore: Instant = 0
  package var posted: Instant = never
  package var completed: Instant = never

  package init(target: Int, size: Int, notBefore: Instant = 0) {
    self.target = target
    self.size = size
    self.notBefore = notBefore
  }
}

/// A program that sends messages in turn, so many at a time, and takes what comes.
package final class TrafficProgram: HostProgram {
  package private(set) var messages: [TrafficMessage] = []
  /// Messages under way at once.
  package let window: Int
  /// Answers each message with one of the same size.
  package let echoes: Bool
  /// Each message waits for the answer to the one before; `completed` is when that came.
  package let awaitsEcho: Bool
  package private(set) var bytesReceived = 0
  /// What was under way failed so often.
  package private(set) var failures = 0
  private var next = 0
  private var underWay = 0
  private var completedCount = 0
  private var echoesDue: [(target: Int, size: Int)] = []
  private let source: UnsafeMutableRawBufferPointer
  private let sink: UnsafeMutableRawBufferPointer
  private static let isEcho: UInt64 = .max

  package init(window: Int = 1, largest: Int, echoes: Bool = false, awaitsEcho: Bool = false) {
    self.window = window
    self.echoes = echoes
    self.awaitsEcho = awaitsEcho
    source = .allocate(byteCount: max(largest, 1), alignment: 16)
    sink = .allocate(byteCount: max(largest, 1), alignment: 16)
    source.initializeMemory(as: UInt8.self, repeating: 0x5A)
    sink.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    source.deallocate()
    sink.deallocate()
  }

  package func add(_ message: TrafficMessage) { messages.append(message) }

  package var isDone: Bool { completedCount == messages.count }

  // MARK: The host's program

  package func nextStep(_ host: SimulatedHost) -> Instant {
    next < messages.count && underWay < window ? messages[next].notBefore : never
  }

  package func step(_ host: SimulatedHost, _ network: SimulatedNetwork) {
    while let echo = echoesDue.first, post(echo.target, echo.size, Self.isEcho, host, network) {
      echoesDue.removeFirst()
    }
    while next < messages.count, underWay < window, messages[next].notBefore <= network.now {
      guard post(messages[next].target, messages[next].size, UInt64(next), host, network) else { return }
      messages[next].posted = network.now
      underWay += 1
      next += 1
    }
  }

  private func post(
    _ target: Int, _ size: Int, _ cookie: UInt64, _ host: SimulatedHost, _ network: SimulatedNetwork
  ) -> Bool {
    var slice = Slice(base: source.baseAddress, count: size)
    return withUnsafePointer(to: &slice) { slice in
      let operation = Operation(kind: .message, flags: [], slices: slice, sliceCount: 1, cookie: Cookies(cookie))
      let connection = host.endpoint.connection(to: SimulatedNetwork.address(target))
      return host.endpoint.post(operation, on: connection) == .queued
    }
  }

  package func handle(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    switch event.kind {
    case .message:
      if event.payload != nil { return received(event, host, network) }
      var slice = Slice(base: sink.baseAddress, count: Int(event.length))
      let cookie = Cookies(UInt64(event.connection))
      withUnsafePointer(to: &slice) { host.endpoint.accept($0, count: 1, cookie: cookie) }
    case .messageReceived: received(event, host, network)
    case .operationCompleted:
      if event.status != .ok { failures += 1 }
      if event.cookie.first != Self.isEcho && !awaitsEcho { complete(Int(event.cookie.first), host, network) }
    default: break
    }
  }

  private func received(_ event: Event, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    bytesReceived += Int(event.length)
    if awaitsEcho { return complete(completedCount, host, network) }
    guard echoes else { return }
    echoesDue.append((SimulatedNetwork.host(host.endpoint.address(of: event.connection)), Int(event.length)))
    step(host, network)
  }

  private func complete(_ index: Int, _ host: SimulatedHost, _ network: SimulatedNetwork) {
    messages[index].completed = network.now
    completedCount += 1
    underWay -= 1
    host.schedule(at: max(nextStep(host), network.now), network)
    if awaitsEcho { step(host, network) }
  }
}
