import Fabric
import Testing

@Suite struct MessageTests {
  @Test func aMessageArrivesWithAllThatIsSaidOfIt() throws {
    let pair = try Pair()
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 64), token: 7)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "hello"), to: pair.rightPeer, token: 8))
    let sent = try pair.success(.left)
    #expect(sent.operation == .send && sent.token == 8 && sent.byteCount == 0)
    #expect(!sent.hadRegion)
    let received = try pair.success(.right)
    #expect(received.operation == .receive && received.token == 7 && received.byteCount == 5)
    #expect(received.peer == pair.leftPeer && received.tag == nil && received.data == nil)
    let region = try received.region()
    #expect(String(region) == "hello" && region.count == 5 && region.capacity == 64)
  }

  @Test func dataTravelsBesideTheMessage() throws {
    let pair = try Pair()
    let region = try pair.domain.sendRegion(copying: "x")
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8))
    try pair.post(pair.left.send(region, to: pair.rightPeer, data: 0xABCD))
    #expect(try pair.success(.right).data == 0xABCD)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), tag: 3)
    try pair.post(pair.left.send(region, to: pair.rightPeer, tag: 3, data: 0x1234))
    let tagged = try pair.success(.right)
    #expect(tagged.data == 0x1234 && tagged.tag == 3)
  }

  @Test(arguments: [0, 1, 4096, 1 << 20])
  func messagesOfAnySizeAreWhole(size: Int) throws {
    let pair = try Pair()
    try pair.right.recv(pair.domain.receiveRegion(byteCount: size + 1))
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: pattern(size)), to: pair.rightPeer))
    let region = try pair.success(.right).region()
    #expect([UInt8](region) == pattern(size))
  }

  @Test func tagsChooseTheReceive() throws {
    let pair = try Pair()
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), tag: 0x11, token: 1)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), tag: 0x200, ignoring: 0xFF, token: 2)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "second"), to: pair.rightPeer, tag: 0x2AB))
    let second = try pair.success(.right)
    #expect(second.token == 2 && second.tag == 0x2AB)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "first"), to: pair.rightPeer, tag: 0x11))
    let first = try pair.success(.right)
    #expect(first.token == 1 && first.tag == 0x11)
  }

  @Test func aReceiveMayNameItsPeer() throws {
    let pair = try Pair()
    let other = try pair.provider.endpoint()
    pair.others = [other]
    let otherPeer = try pair.right.addressVector.insert(other.address)
    let fromOther = try other.addressVector.insert(pair.right.address)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), from: otherPeer, token: 1)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), from: pair.leftPeer, token: 2)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "left"), to: pair.rightPeer))
    let left = try pair.success(.right)
    #expect(left.token == 2 && left.peer == pair.leftPeer)
    try pair.post(other.send(pair.domain.sendRegion(copying: "other"), to: fromOther))
    #expect(try pair.success(.right).token == 1)
  }

  @Test func injectedBytesNeedNoRegion() throws {
    let pair = try Pair()
    try #require(pair.provider.info.injectSize >= 4)
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8))
    try pair.post(pair.left.inject([UInt8]("tiny".utf8).span.bytes, to: pair.rightPeer))
    let region = try pair.success(.right).region()
    #expect(String(region) == "tiny")
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 8), tag: 1)
    try pair.post(pair.left.inject([UInt8]("tagged".utf8).span.bytes, to: pair.rightPeer, tag: 1))
    #expect(try pair.success(.right).byteCount == 6)
    let long = pattern(pair.provider.info.injectSize + 1)
    let error = #expect(throws: FabricError.self) { try pair.left.inject(long.span.bytes, to: pair.rightPeer) }
    #expect(error?.code == .messageTooLong)
  }

  @Test func aMessageTooLongIsCut() throws {
    let pair = try Pair()
    try pair.right.recv(pair.domain.receiveRegion(byteCount: 4))
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "too long"), to: pair.rightPeer))
    let completion = try pair.next(.right)
    #expect(completion.error?.code == .truncated)
    let region = try completion.region()
    #expect(region.capacity == 4)
    // The endpoint goes on.
    #expect(try pair.exchange("fits") == "fits")
  }

  @Test func aCancelledReceiveGivesItsRegionBack() throws {
    let pair = try Pair()
    let operation = try pair.right.recv(pair.domain.receiveRegion(byteCount: 16), tag: 9, token: 5)
    try pair.right.cancel(operation)
    let completion = try pair.next(.right)
    #expect(completion.error?.code == .cancelled && completion.token == 5)
    let region = try completion.region()
    #expect(region.capacity == 16)
    // It is over: nothing to cancel, and nobody else's operation is.
    try pair.right.cancel(operation)
    try pair.right.recv(region, tag: 9)
    try pair.right.cancel(operation)
    try pair.post(pair.left.send(pair.domain.sendRegion(copying: "there"), to: pair.rightPeer, tag: 9))
    #expect(try pair.success(.right).byteCount == 5)
    #expect(throws: FabricError.self) { try pair.left.cancel(operation) }
  }

  @Test func aFullQueueGivesTheRegionBack() throws {
    let pair = try Pair()
    var posted = 0
    var refused: FabricError?
    while refused == nil && posted < 1 << 17 {
      do {
        try pair.right.recv(pair.domain.receiveRegion(byteCount: 32), tag: 1)
        posted += 1
      } catch {
        refused = error
      }
    }
    // Providers may take receives without end.
    guard let refused else { return }
    #expect(refused.code == .tryAgain && posted > 0)
    #expect(refused.takeRegion()?.capacity == 32)
    #expect(refused.takeRegion()?.capacity == nil)
  }

  @Test func receivesCanUseAQueueOfTheirOwn() throws {
    let provider = try selectProvider()
    let receives = try CompletionQueue(provider.domain, capacity: 128)
    let sends = try CompletionQueue(provider.domain)
    let endpoint = try Endpoint(provider.domain, completionQueue: sends, receiveQueue: receives)
    let itself = try endpoint.addressVector.insert(endpoint.address)
    try endpoint.recv(provider.domain.receiveRegion(byteCount: 8))
    try endpoint.retrying(endpoint.send(provider.domain.sendRegion(copying: "self"), to: itself))
    var kinds: [Completion.Operation] = []
    let deadline = ContinuousClock.now + .seconds(20)
    while kinds.count < 2 && ContinuousClock.now < deadline {
      try sends.read { kinds.append($0.operation) }
      try receives.read {
        #expect($0.operation == .receive)
        kinds.append($0.operation)
      }
    }
    #expect(Set(kinds) == [.send, .receive])
  }
}
