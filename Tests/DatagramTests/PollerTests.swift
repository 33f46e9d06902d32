import CPlatform
import Testing

@testable import Datagram

@Suite struct PollerTests {
  static let millisecond: UInt64 = 1_000_000

  @Test(arguments: [false, true]) func waitsForItsTimeout(portable: Bool) throws {
    let poller = try Poller(portable: portable)
    let start = Clock.now()
    let ready = poller.wait(timeout: 20 * Self.millisecond)
    #expect(!ready)
    #expect(Clock.now() - start >= 20 * Self.millisecond)
    let again = poller.wait(timeout: 0)
    #expect(!again)
  }

  @Test(arguments: Path.all) func wakesForADatagram(path: Path) throws {
    var poller = try Poller(portable: path.portable)
    let a = try Endpoint(path)
    let b = try Endpoint(path)
    try poller.add(b.descriptor)
    #expect(throws: SystemError(code: EEXIST)) { try poller.add(b.descriptor) }
    let before = poller.wait(timeout: 0)
    #expect(!before)
    #expect(a.send([1], to: b.address).stop == .finished)
    let ready = poller.wait(timeout: 2000 * Self.millisecond)
    #expect(ready)
    #expect(b.collect(1).count == 1)
    let after = poller.wait(timeout: 0)
    #expect(!after)
    #expect(a.send([1], to: b.address).stop == .finished)
    try poller.remove(b.descriptor)
    let removed = poller.wait(timeout: Self.millisecond)
    #expect(!removed)
    #expect(throws: SystemError(code: ENOENT)) { try poller.remove(b.descriptor) }
  }

  @Test(arguments: Path.linux) func isQuietOnceErrorsAreRead(path: Path) throws {
    var poller = try Poller()
    let a = try Endpoint(path)
    try poller.add(a.descriptor)
    let dead = try closedPort(path)
    for _ in 0..<4 { #expect(a.send([1], to: dead).stop == .finished) }
    let ready = poller.wait(timeout: 2000 * Self.millisecond)
    #expect(ready)
    let received = a.receive()
    #expect(received == 0)
    #expect(a.errorsPending)
    while a.nextError() != nil {}
    let after = poller.wait(timeout: 0)
    #expect(!after)
  }

  @Test func isItselfADescriptor() throws {
    var poller = try Poller()
    let wake = try WakeDescriptor()
    try poller.add(wake.descriptor)
    var entry = pollfd(fd: poller.descriptor, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 0) == 0)
    wake.signal()
    #expect(poll(&entry, 1, 1000) == 1)
    wake.drain()
    #expect(poll(&entry, 1, 0) == 0)
    #expect(try Poller(portable: true).descriptor == -1)
  }

  @Test(arguments: [false, true]) func wakesForASignalFromAnotherThread(portable: Bool) throws {
    var poller = try Poller(portable: portable)
    let shared = UnsafeMutablePointer<WakeDescriptor>.allocate(capacity: 1)
    shared.initialize(to: try WakeDescriptor(portable: portable))
    defer {
      shared.deinitialize(count: 1)
      shared.deallocate()
    }
    try poller.add(shared.pointee.descriptor)
    let thread = try Datagram.Thread(
      {
        var at = timespec(tv_sec: 0, tv_nsec: 20_000_000)
        nanosleep(&at, nil)
        $0!.assumingMemoryBound(to: WakeDescriptor.self).pointee.signal()
      }, context: shared)
    let ready = poller.wait(timeout: 5000 * Self.millisecond)
    #expect(ready)
    thread.join()
    shared.pointee.drain()
    let after = poller.wait(timeout: 0)
    #expect(!after)
  }

  @Test(arguments: [false, true]) func takesSignalsWithoutEnd(portable: Bool) throws {
    let wake = try WakeDescriptor(portable: portable)
    for _ in 0..<20000 { wake.signal() }
    wake.drain()
    var entry = pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
    #expect(poll(&entry, 1, 0) == 0)
  }

  @Test func portablePollerIsBounded() throws {
    var poller = try Poller(portable: true)
    for descriptor in 0..<Int32(Poller.portableCapacity) { try poller.add(1000 + descriptor) }
    #expect(throws: SystemError(code: ENOSPC)) { try poller.add(5000) }
    try poller.remove(1000)
    try poller.add(5000)
  }

  @Test func interruptedWaitGoesOn() throws {
    let poller = try Poller()
    var calls = 0
    let hook = SyscallHook { _ in
      calls += 1
      return calls < 3 ? .fail(EINTR) : .pass
    }
    let start = Clock.now()
    let ready = hook.run { poller.wait(timeout: 10 * Self.millisecond) }
    #expect(!ready)
    #expect(calls == 3)
    #expect(Clock.now() - start >= 10 * Self.millisecond)
  }

  @Test func timerFires() throws {
    var poller = try Poller()
    var timer = try TimerDescriptor()
    try poller.add(timer.descriptor)
    let deadline = Clock.now() + 10 * Self.millisecond
    timer.arm(at: deadline)
    let early = poller.wait(timeout: 0)
    #expect(!early)
    let fired = poller.wait(timeout: 5000 * Self.millisecond)
    #expect(fired)
    #expect(Clock.now() >= deadline)
    timer.disarm()
    let disarmed = poller.wait(timeout: 0)
    #expect(!disarmed)
    timer.arm(at: 1)
    let past = poller.wait(timeout: 5000 * Self.millisecond)
    #expect(past)
    timer.arm(at: Clock.now() + 3_600_000 * Self.millisecond)
    let rearmed = poller.wait(timeout: 0)
    #expect(!rearmed)
  }
}
