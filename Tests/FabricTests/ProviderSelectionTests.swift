import Fabric
import Testing

@Suite struct ProviderSelectionTests {
  @Test func whatIsSelectedWorksAndSaysWhy() throws {
    let provider = try selectProvider()
    #expect(!provider.reason.isEmpty && !provider.info.providerName.isEmpty)
    #expect(provider.info.capabilities.isSuperset(of: .all))
    #expect(provider.info.endpointType == .reliableDatagram)
    #expect(provider.info.maximumMessageSize > 0 && provider.info.transmitQueueSize > 0)
    #expect(try Pair().exchange("works") == "works")
  }

  @Test func whatNobodyOffersIsAnError() {
    let error = #expect(throws: FabricError.self) { try selectProvider(Hints(provider: "nonesuch")) }
    #expect(error?.code == .noData && error?.call == "fi_getinfo")
    #expect(throws: FabricError.self) { try Info.discover(Hints(domainName: "nonesuch0")) }
  }

  @Test func hintsReachTheProvider() throws {
    let provider = try selectProvider(Hints(capabilities: [.messages], completionLevel: .delivered))
    #expect(provider.info.capabilities.contains(.messages))
    #expect(try Pair(Hints(completionLevel: .delivered)).exchange("delivered") == "delivered")
  }

  @Test func errorsReadWell() throws {
    let error = FabricError.Code.tryAgain
    #expect(FabricError.Code(rawValue: -error.rawValue) == error)
    #expect(!error.description.isEmpty)
    let endpoint = try selectProvider().endpoint()
    let refused = #expect(throws: FabricError.self) {
      try endpoint.addressVector.insert(EndpointAddress(bytes: []))
    }
    #expect(refused?.code == .addressNotAvailable && refused?.description.hasPrefix("fi_av_insert: ") == true)
  }

  @Test func addressesCanBePassedOn() throws {
    let pair = try Pair()
    let address = try pair.right.address
    #expect(EndpointAddress(bytes: address.bytes) == address)
    #expect(try pair.left.addressVector.address(of: pair.rightPeer) == address)
    #expect(!pair.left.addressVector.text(of: address).isEmpty)
    try pair.left.addressVector.remove(pair.rightPeer)
  }

  @Test func countersCount() throws {
    let provider = try selectProvider()
    let (sends, receives) = (try Counter(provider.domain), try Counter(provider.domain))
    let endpoint = try Endpoint(
      provider.domain,
      counters: [BoundCounter(sends, counts: .sends), BoundCounter(receives, counts: .receives)])
    let itself = try endpoint.addressVector.insert(endpoint.address)
    for _ in 0..<3 {
      try endpoint.recv(provider.domain.receiveRegion(byteCount: 8))
      try endpoint.retrying(endpoint.send(provider.domain.sendRegion(copying: "x"), to: itself))
    }
    try sends.wait(until: 3, milliseconds: 10_000)
    try receives.wait(until: 3, milliseconds: 10_000)
    #expect(sends.value == 3 && receives.value == 3 && sends.errorValue == 0)
    let error = #expect(throws: FabricError.self) { try sends.wait(until: 4, milliseconds: 10) }
    #expect(error?.code == .timedOut)
    try sends.set(to: 10)
    try sends.add(2)
    let deadline = ContinuousClock.now + .seconds(10)
    while sends.value != 12 && ContinuousClock.now < deadline {}
    #expect(sends.value == 12)
  }
}
