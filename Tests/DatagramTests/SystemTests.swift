import CPlatform
import Testing

@testable import Datagram

@Suite struct SystemTests {
  @Test func clockGoesForward() {
    var last = Clock.now()
    #expect(last > 0)
    for _ in 0..<1000 {
      let now = Clock.now()
      #expect(now >= last)
      last = now
    }
  }

  @Test func randomWordsDiffer() throws {
    let words = try Set((0..<64).map { _ in try Random.word() })
    #expect(words.count == 64)
    var bytes = [UInt8](repeating: 0, count: 1000)
    try Random.fill(&bytes, count: 1000)
    #expect(Set(bytes).count > 200)
    var calls = 0
    let hook = SyscallHook { _ in
      calls += 1
      return .limit(100)
    }
    bytes = [UInt8](repeating: 0, count: 1000)
    try hook.run { try Random.fill(&bytes, count: 1000) }
    #expect(calls == 10)
    #expect(Set(bytes[900...]).count > 50)
    let broken = SyscallHook { _ in .fail(ENOSYS) }
    #expect(throws: SystemError(code: ENOSYS)) { try broken.run { try Random.fill(&bytes, count: 1) } }
  }

  @Test func interfacesAreListedBestFirst() throws {
    let list = try InterfaceList()
    #expect(list.count > 0)
    var sawLoopback4 = false
    var text = [CChar](repeating: 0, count: SocketAddress.textCapacity)
    for index in 0..<list.count {
      let interface = list[index]
      let name = interface.withName { String(cString: $0) }
      #expect(!name.isEmpty)
      #expect(interface.index > 0)
      #expect(interface.mtu >= 576)
      #expect(interface.address.port == 0)
      #expect(interface.isLoopback == interface.address.isLoopback)
      #expect(interface.flags & UInt32(IFF_UP) != 0)
      #expect(interface.writeNetwork(to: &text, capacity: text.count) > 0)
      if interface.isLoopback && interface.address.family == .ipv4 {
        sawLoopback4 = true
        #expect(string(text) == "127.0.0.0/8")
      }
      if index > 0 && list[index - 1].isLoopback == interface.isLoopback && list[index - 1].speed == interface.speed {
        #expect(list[index - 1].address.family.rawValue <= interface.address.family.rawValue)
      }
      if index > 0 && list[index - 1].isLoopback { #expect(interface.isLoopback) }
    }
    #expect(sawLoopback4)
  }

  @Test func resolvesNumbersAndNames() throws {
    var found = [SocketAddress](repeating: SocketAddress(), count: 8)
    let numeric = try Resolver.resolve(node: "10.1.2.3", service: "7471", numeric: true, into: &found, capacity: 8)
    #expect(numeric == 1)
    #expect(found[0] == SocketAddress(ipv4: 10, 1, 2, 3, port: 7471))
    let six = try Resolver.resolve(node: "::1", service: nil, numeric: true, into: &found, capacity: 8)
    #expect(six == 1)
    #expect(found[0] == .loopback(.ipv6, port: 0))
    let local = try Resolver.resolve(node: "localhost", service: "5", family: .ipv4, into: &found, capacity: 8)
    #expect(local >= 1)
    #expect(found[0].isLoopback && found[0].port == 5)
    _ = try Resolver.resolve(node: nil, service: "5", family: .ipv4, passive: true, into: &found, capacity: 8)
    #expect(found[0] == .any(.ipv4, port: 5))
    _ = try Resolver.resolve(node: nil, service: "5", family: .ipv6, into: &found, capacity: 8)
    #expect(found[0] == .loopback(.ipv6, port: 5))
  }

  @Test func namesWithoutAddressAreNotFound() {
    var found = [SocketAddress](repeating: SocketAddress(), count: 8)
    #expect(throws: Resolver.Failure.notFound) {
      _ = try Resolver.resolve(node: "localhost", service: nil, numeric: true, into: &found, capacity: 8)
    }
    #expect(throws: Resolver.Failure.notFound) {
      _ = try Resolver.resolve(node: nil, service: nil, into: &found, capacity: 8)
    }
    #expect(throws: Resolver.Failure.notFound) {
      _ = try Resolver.resolve(node: "::1", service: nil, family: .ipv4, numeric: true, into: &found, capacity: 8)
    }
  }

  /// What threads share in the lock test.
  final class Shared {
    let lock = Lock()
    let yields: Bool
    var count = 0
    var inside = false
    var violations = 0

    init(yields: Bool) { self.yields = yields }

    var rounds: Int { yields ? 2000 : 50000 }

    func work() {
      for _ in 0..<rounds {
        lock.lock()
        if inside { violations += 1 }
        inside = true
        count += 1
        // Giving the processor away inside makes the others run out of patience and sleep.
        if yields { Datagram.Thread.yield() }
        inside = false
        lock.unlock()
      }
    }
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true]) func lockExcludes(yields: Bool) throws {
    let shared = Shared(yields: yields)
    let context = Unmanaged.passUnretained(shared).toOpaque()
    let body: @convention(c) (UnsafeMutableRawPointer?) -> Void = {
      Unmanaged<Shared>.fromOpaque($0!).takeUnretainedValue().work()
    }
    let a = try Datagram.Thread(body, context: context)
    let b = try Datagram.Thread(stackSize: 256 << 10, body, context: context)
    let c = try Datagram.Thread(body, context: context)
    a.join()
    b.join()
    c.join()
    #expect(shared.count == 3 * shared.rounds)
    #expect(shared.violations == 0)
  }

  @Test func lockCanBeTried() {
    let lock = Lock()
    let first = lock.tryLock()
    let second = lock.tryLock()
    #expect(first && !second)
    lock.unlock()
    let value = lock.withLock { 5 }
    #expect(value == 5)
    let third = lock.tryLock()
    #expect(third)
    lock.unlock()
  }

  @Test func threadsTakeNoSignals() throws {
    let blocked = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
    blocked.initialize(to: -1)
    defer { blocked.deallocate() }
    let thread = try Datagram.Thread(
      {
        Datagram.Thread.setName("lfp-test")
        var mask = sigset_t()
        pthread_sigmask(SIG_SETMASK, nil, &mask)
        $0!.assumingMemoryBound(to: Int32.self).pointee = sigismember(&mask, SIGUSR1)
      }, context: blocked)
    thread.join()
    #expect(blocked.pointee == 1)
  }
}
