import Fabric
import Testing

/// A listener, and what clients of it need. All share one queue of events, since a provider may leave it to the reader of a
/// queue to make a connection progress.
private final class Service {
  let domain: Domain
  let events: EventQueue
  let listener: PassiveEndpoint
  private var waiting: [ConnectionEvent] = []

  /// The ways to be connected; native providers may have none.
  static let offers = (try? Info.discover(Hints(capabilities: [.messages], endpointType: .connected))) ?? []

  init() throws {
    let info = Service.offers[0]
    domain = try Domain(info)
    events = try EventQueue(domain.fabric)
    listener = try PassiveEndpoint(info, events: events)
  }

  func connect(_ data: [UInt8] = []) throws -> Endpoint {
    try Endpoint(connectingTo: listener.address, on: domain, events: events, data: data)
  }

  /// The request of a client.
  func request() throws -> ConnectionEvent { try next { $0.request != nil } }

  /// The next event about an endpoint.
  func next(_ endpoint: Endpoint) throws -> ConnectionEvent { try next { $0.concerns(endpoint) } }

  private func next(_ isWanted: (ConnectionEvent) -> Bool) throws -> ConnectionEvent {
    while true {
      if let index = waiting.firstIndex(where: isWanted) { return waiting.remove(at: index) }
      waiting.append(try #require(try events.wait(milliseconds: 20_000)))
    }
  }
}

@Suite(.enabled(if: !Service.offers.isEmpty)) struct ConnectionTests {
  @Test(.timeLimit(.minutes(1))) func aConnectionCarriesMessagesBothWays() throws {
    let service = try Service()
    let client = try service.connect([1, 2, 3])
    let asked = try service.request()
    #expect(asked.kind == .requested && asked.data.starts(with: [1, 2, 3]))
    let request = try #require(asked.request)
    let server = try Endpoint(accepting: request, on: service.domain, events: service.events, data: [4])
    let told = try service.next(client)
    #expect(told.kind == .connected && told.data.starts(with: [4]) && !told.concerns(server))
    #expect(try service.next(server).kind == .connected)
    for (from, to) in [(client, server), (server, client)] {
      try to.recv(service.domain.receiveRegion(byteCount: 16))
      try from.retrying(from.send(service.domain.sendRegion(copying: "connected"), to: .connected))
      var completion = try #require(try to.completionQueue.wait(milliseconds: 20_000) as Completion?)
      if completion.operation == .send {
        completion = try #require(try to.completionQueue.wait(milliseconds: 20_000) as Completion?)
      }
      #expect(String(try completion.region()) == "connected")
    }
    try client.disconnect()
    #expect(try service.next(server).kind == .ended)
  }

  @Test(.timeLimit(.minutes(1))) func aRejectionSaysWhy() throws {
    let service = try Service()
    let client = try service.connect()
    let request = try #require(try service.request().request)
    #expect(request.info.endpointType == .connected)
    try service.listener.reject(request, data: [9, 9])
    #expect(throws: FabricError.self) { try service.listener.reject(request) }
    #expect(throws: FabricError.self) {
      try Endpoint(accepting: request, on: service.domain, events: service.events)
    }
    let refused = try service.next(client)
    #expect(refused.kind == .failed && refused.error?.code == .connectionRefused && refused.data.starts(with: [9, 9]))
  }

  @Test(.timeLimit(.minutes(1))) func requestsComeAsASequence() async throws {
    let service = try Service()
    let (events, listener) = (service.events, service.listener)
    let task = Task {
      var (requests, refusals) = (0, 0)
      for try await event in events.events {
        if let request = event.request {
          try listener.reject(request)
          requests += 1
        }
        if event.kind == .failed { refusals += 1 }
        if refusals == 3 { break }
      }
      // Cancellation ends it.
      withUnsafeCurrentTask { $0?.cancel() }
      for try await _ in events.events { requests += 1 }
      return requests
    }
    let clients = try (0..<3).map { _ in try service.connect() }
    #expect(try await task.value == 3)
    withExtendedLifetime(clients) {}
  }

  @Test func whoDoesNotListenIsNotConnectedTo() throws {
    let service = try Service()
    #expect(throws: FabricError.self) {
      try Endpoint(connectingTo: EndpointAddress(bytes: []), on: service.domain, events: service.events)
    }
  }
}
