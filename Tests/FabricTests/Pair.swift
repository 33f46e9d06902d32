import Fabric
import Testing

/// Two endpoints that know each other, on whatever level the tests run.
///
/// Nothing is asked of the provider's progress: whoever waits for one side also reads the other's queue.
final class Pair {
  enum Side: Int {
    case left
    case right
  }

  let provider: TransportProvider
  let left: Endpoint
  let right: Endpoint
  let leftPeer: Peer
  let rightPeer: Peer
  private var waiting: [[Completion]] = [[], []]

  /// Further endpoints that tests have to do with.
  var others: [Endpoint] = []

  init(_ hints: Hints = Hints()) throws {
    provider = try selectProvider(hints)
    left = try provider.endpoint()
    right = try provider.endpoint()
    rightPeer = try left.addressVector.insert(right.address)
    leftPeer = try right.addressVector.insert(left.address)
  }

  var domain: Domain { provider.domain }

  /// The next completion of a side; a test fails that waits longer than any of this takes.
  func next(_ side: Side) throws -> Completion {
    let deadline = ContinuousClock.now + .seconds(20)
    while waiting[side.rawValue].isEmpty {
      try poll()
      try #require(ContinuousClock.now < deadline, "no completion on the \(side)")
    }
    return waiting[side.rawValue].removeFirst()
  }

  /// The next completion of a side, which must have succeeded.
  func success(_ side: Side) throws -> Completion {
    let completion = try next(side)
    if let error = completion.error { throw error }
    return completion
  }

  /// Reads both queues once, and lets others work.
  func poll() throws(FabricError) {
    try left.completionQueue.read { waiting[Side.left.rawValue].append($0) }
    try right.completionQueue.read { waiting[Side.right.rawValue].append($0) }
    for other in others { other.completionQueue.makeProgress() }
  }

  /// Evaluates `body`, which posts an operation, until there is room for it.
  func post<Result>(_ body: @autoclosure () throws(FabricError) -> Result) throws(FabricError) {
    let deadline = ContinuousClock.now + .seconds(20)
    while true {
      do {
        _ = try body()
        return
      } catch  where error.code == .tryAgain && ContinuousClock.now < deadline {
        try poll()
      }
    }
  }

  /// Sends `text` from left to right and returns what arrives.
  func exchange(_ text: String) throws -> String {
    try right.recv(domain.receiveRegion(byteCount: 64))
    try post(left.send(domain.sendRegion(copying: text), to: rightPeer))
    _ = try success(.left)
    return String(try success(.right).region())
  }
}

extension Completion {
  /// The region that it gives back, which there must be.
  func region() throws -> ReceiveRegion {
    if let region = takeRegion() { return region }
    throw NoRegion()
  }

  /// Whether there is a region to take, which is gone then.
  var hadRegion: Bool { takeRegion() != nil }
}

struct NoRegion: Error {}

/// Bytes that differ from their neighbours and from those of other seeds.
func pattern(_ count: Int, seed: Int = 0) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: ($0 + seed) &* 31 &+ $0 >> 8) }
}
