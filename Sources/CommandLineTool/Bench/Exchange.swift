import Fabric

/// The patterns of messages that are measured, each side of each.
extension PeerLink {
  // MARK: The client's side

  /// Sends `count` messages of `size` bytes one after the other, each when the one before has come back.
  ///
  /// - Returns: Half of each round trip, in nanoseconds.
  func pingPong(size: Int, count: Int, isReady: () throws -> Void) throws -> [Double] {
    let payload = try payload(size: size)
    var receives = try ReceiveSupply(self, size: size, count: count, depth: 2)
    var samples: [Double] = []
    samples.reserveCapacity(count)
    try isReady()
    var unfinished = 0
    for _ in 0..<count {
      let began = ContinuousClock.now
      if try transmit(payload) { unfinished += 1 }
      try receives.take { unfinished -= 1 }
      samples.append((ContinuousClock.now - began) / .nanoseconds(2))
      try receives.refill()
    }
    for _ in 0..<unfinished { _ = try next() }
    return samples
  }

  /// Sends `count` messages of `size` bytes as fast as they go, until the peer says that it has them all.
  ///
  /// - Returns: Seconds.
  func stream(size: Int, count: Int, isReady: () throws -> Void) throws -> Double {
    let payload = try payload(size: size)
    var answer = try ReceiveSupply(self, size: 0, count: 1, depth: 1)
    try isReady()
    let window = PeerLink.window(size: size, queue: provider.info.transmitQueueSize)
    let began = ContinuousClock.now
    var (sent, unfinished) = (0, 0)
    while sent < count {
      while sent < count && unfinished < window {
        try send(payload)
        (sent, unfinished) = (sent + 1, unfinished + 1)
      }
      _ = try next()
      unfinished -= 1
    }
    try answer.take { unfinished -= 1 }
    let seconds = (ContinuousClock.now - began) / .seconds(1)
    for _ in 0..<unfinished { _ = try next() }
    return seconds
  }

  // MARK: The server's side

  /// Sends `count` messages of `size` bytes back.
  func echo(size: Int, count: Int, isReady: () throws -> Void) throws {
    let payload = try payload(size: size)
    var receives = try ReceiveSupply(self, size: size, count: count, depth: 2)
    try isReady()
    var unfinished = 0
    for _ in 0..<count {
      try receives.take { unfinished -= 1 }
      if try transmit(payload) { unfinished += 1 }
      try receives.refill()
    }
    for _ in 0..<unfinished { _ = try next() }
  }

  /// Receives `count` messages of `size` bytes and answers with an empty one.
  func absorb(size: Int, count: Int, isReady: () throws -> Void) throws {
    let answer = try payload(size: 0)
    let depth = 2 * PeerLink.window(size: size, queue: provider.info.receiveQueueSize / 2)
    var receives = try ReceiveSupply(self, size: size, count: count, depth: depth)
    try isReady()
    for _ in 0..<count {
      try receives.take {}
      try receives.refill()
    }
    if try transmit(answer) { _ = try next() }
  }

  /// Messages under way at once: enough to fill a network, and not more memory than anybody has.
  static func window(size: Int, queue: Int) -> Int {
    let fitting = windowBytes / max(size, 1)
    return max(1, min(fitting, queue / 2, 64))
  }

  private static let windowBytes = 16 << 20
}

/// Posts receives ahead, as many as are needed in all, so that none is left over.
struct ReceiveSupply {
  private let link: PeerLink
  private var left: Int
  private var spare: Completion?

  /// Posts the first `depth` of `count` receives of `size` bytes.
  init(_ link: PeerLink, size: Int, count: Int, depth: Int) throws {
    self.link = link
    left = count
    for _ in 0..<min(depth, count) {
      try link.receive(link.provider.domain.receiveRegion(byteCount: size))
      left -= 1
    }
  }

  /// Waits for the next message. Calls `sent` for each send that completes meanwhile.
  mutating func take(_ sent: () -> Void) throws {
    while true {
      let completion = try link.next()
      if completion.operation == .receive {
        spare = completion
        return
      }
      sent()
    }
  }

  /// Posts the region of the message that was taken last, if there are more to come.
  mutating func refill() throws {
    guard left > 0, let region = spare?.takeRegion() else { return }
    spare = nil
    left -= 1
    try link.receive(region)
  }
}
