import CPlatform
import Testing

@testable import Datagram

@Suite struct ErrorTests {
  @Test(arguments: Path.linux) func aClosedPortIsReported(path: Path) throws {
    let a = try Endpoint(path)
    let dead = try closedPort(path)
    #expect(a.send(pattern(64), to: dead).stop == .finished)
    let errors = a.errors()
    #expect(errors == [PeerError(destination: dead, kind: .portUnreachable, isLocal: false)])
    #expect(!a.errorsPending)
  }

  /// Without an error queue it takes asking twice; who is there is never taken for gone.
  @Test(arguments: Path.portable) func aClosedPortIsFoundOutByAsking(path: Path) throws {
    let a = try Endpoint(path)
    #expect(a.asksWhoIsSilent)
    let dead = try closedPort(path)
    var b = try Endpoint(path)
    while RefusalProbes.slot(b.address) == RefusalProbes.slot(dead) { b = try Endpoint(path) }
    #expect(!a.isRefused(dead))
    for _ in 0..<5 {
      #expect(a.isRefused(dead))
      #expect(!a.isRefused(b.address))
    }
    // What asks brings nothing.
    #expect(a.send(pattern(50), to: b.address).stop == .finished)
    #expect(b.collect(6).map(\.bytes) == Array(repeating: pattern(0), count: 5) + [pattern(50)])
  }

  @Test func moreSilentPeersThanProbesLeaveNoDescriptor() throws {
    let path = Path.portable[0]
    var opened: Set<Int32> = []
    let hook = SyscallHook { record in
      if record.name == .connect { opened.insert(record.descriptor) }
      return .pass
    }
    try hook.run {
      let a = try Endpoint(path)
      for number in 0..<100 { _ = a.isRefused(a.address.with(port: UInt16(40_000 + number))) }
    }
    #expect(opened.count > 1)
    #expect(Set(hook.closed).isSuperset(of: opened))
  }

  @Test(arguments: Path.linux) func errorsOfOthersLoseNothing(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let dead = try closedPort(path)
    var expected: [Payload] = []
    for round in 0..<20 {
      let bytes = pattern(100, seed: UInt64(round))
      expected.append(bytes)
      #expect(a.send(pattern(10), to: dead).stop == .finished)
      #expect(a.send(bytes, to: b.address) == SendOutcome(sent: 1, segments: 0, stop: .finished))
    }
    #expect(b.collect(20).map(\.bytes) == expected)
    #expect(a.errorsPending)
    let errors = a.errors()
    #expect(errors.count == 20)
    #expect(errors.allSatisfy { $0.destination == dead && $0.kind == .portUnreachable })
  }

  @Test(arguments: Path.linux) func errorsInABatchLoseNothingAndAreNoticed(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let dead = try closedPort(path)
    let entries = (0..<40).map {
      (bytes: pattern(100, seed: UInt64($0)), destination: $0 % 2 == 0 ? dead : b.address)
    }
    #expect(a.send(entries) == SendOutcome(sent: 40, segments: 0, stop: .finished))
    #expect(b.collect(20).map(\.bytes) == stride(from: 1, to: 40, by: 2).map { entries[$0].bytes })
    #expect(a.errorsPending)
    #expect(a.errors().count == 20)
  }

  @Test(arguments: Path.linux) func receivingStepsOverErrors(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    let dead = try closedPort(path)
    #expect(b.send(pattern(50), to: a.address).stop == .finished)
    #expect(a.send(pattern(64), to: dead).stop == .finished)
    let received = a.receive()
    #expect(received == 1)
    #expect(a.errorsPending)
    #expect(a.errors().count == 1)
  }

  @Test(arguments: Path.all) func aDatagramBeyondTheLimitIsTooBig(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    #expect(a.send(pattern(65536), to: b.address) == SendOutcome(sent: 0, segments: 0, stop: .tooBig))
    // The entries before it are out, it is named, and the rest goes on request.
    let outcome = a.send([pattern(10), pattern(65536), pattern(20)], to: b.address)
    #expect(outcome == SendOutcome(sent: 1, segments: 0, stop: .tooBig))
    #expect(a.send(pattern(20), to: b.address).stop == .finished)
    #expect(b.collect(2).map(\.bytes) == [pattern(10), pattern(20)])
  }

  @Test func aDatagramBeyondTheMTUIsReportedWithTheMTU() throws {
    // Loopback's MTU is 65536: an IPv6 datagram can be larger than that allows, an IPv4 one cannot.
    let path = Path.linux[1]
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    #expect(a.send(pattern(65500), to: b.address).stop == .tooBig)
    let errors = a.errors()
    #expect(errors.first == PeerError(destination: b.address, kind: .messageTooBig(mtu: 65536), isLocal: true))
  }

  @Test(arguments: [
    (ENOBUFS, SendStop.noBuffers), (ENOMEM, .noBuffers), (EAGAIN, .wouldBlock), (EMSGSIZE, .tooBig),
    (EHOSTUNREACH, .unreachable), (ENETUNREACH, .unreachable), (ENETDOWN, .unreachable), (ECONNREFUSED, .refused),
    (EPERM, .other(EPERM)), (EINVAL, .other(EINVAL)),
  ])
  func persistentErrorsAreNamed(code: Int32, stop: SendStop) throws {
    for path in Path.all {
      let a = try Endpoint(path)
      let b = try Endpoint(path)
      let hook = SyscallHook { $0.name == .sendmsg || $0.name == .sendmmsg ? .fail(code) : .pass }
      #expect(hook.run { a.send([pattern(1), pattern(2)], to: b.address) }.stop == stop)
      #expect(hook.trace.count <= 10)
      #expect(a.send([pattern(1), pattern(2)], to: b.address).stop == .finished)
      #expect(b.collect(2).map(\.bytes) == [pattern(1), pattern(2)])
    }
  }

  @Test(arguments: [EHOSTUNREACH, EMSGSIZE, ECONNREFUSED, EPROTO]) func aPassingErrorCostsNothing(code: Int32) throws {
    for path in Path.all {
      let a = try Endpoint(path)
      let b = try Endpoint(path)
      var failed = false
      let hook = SyscallHook { _ in
        defer { failed = true }
        return failed ? .pass : .fail(code)
      }
      #expect(hook.run { a.send(pattern(9), to: b.address) } == SendOutcome(sent: 1, segments: 0, stop: .finished))
      #expect(b.collect(2, patience: 20).map(\.bytes) == [pattern(9)])
      #expect(a.statistics.pendingErrors == 1)
    }
  }

  @Test(arguments: Path.all) func interruptedCallsAreRepeated(path: Path) throws {
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    var calls = 0
    let hook = SyscallHook { _ in
      calls += 1
      return calls % 3 == 0 ? .pass : .fail(EINTR)
    }
    #expect(hook.run { a.send(pattern(9), to: b.address) }.stop == .finished)
    #expect(hook.run { b.collect(1) }.map(\.bytes) == [pattern(9)])
    #expect(a.statistics.sendCalls == 1)
  }

  @Test(arguments: Path.all) func errorsWithoutEndDoNotHang(path: Path) throws {
    let a = try Endpoint(path)
    let hook = SyscallHook { _ in .fail(EHOSTUNREACH) }
    #expect(hook.run { a.receive() } == 0)
    #expect(hook.trace.count <= 16)
  }

  @Test func aMissingFeatureIsNoError() throws {
    let path = Path.linux[0]
    let hook = SyscallHook { $0.name == .socketOption ? .fail(ENOPROTOOPT) : .pass }
    let a = try hook.run { try Endpoint(path) }
    #expect(a.maximumSegments == 1)
    #expect(!a.reportsErrors)
    #expect(!a.forbidsFragmentation)
    let b = try Endpoint(path)
    #expect(a.send(pattern(5000), to: b.address, segmentSize: 1000).stop == .finished)
    #expect(b.collect(5).map(\.bytes) == split(pattern(5000), every: 1000))
  }

  @Test func aFailedOpenClosesItsDescriptor() throws {
    for name in [SyscallName.bind, .socketName] {
      var descriptor: Int32 = -1
      let hook = SyscallHook { record in
        if record.descriptor >= 0 { descriptor = record.descriptor }
        return record.name == name ? .fail(ENOBUFS) : .pass
      }
      #expect(throws: SystemError(code: ENOBUFS)) { try hook.run { _ = try Endpoint(Path.linux[0]) } }
      try #require(descriptor >= 0)
      // Looking at the descriptor itself would find another test that got its number.
      #expect(hook.closed == [descriptor])
    }
  }
}
