import Packet
import SimulationSupport
import Testing
import Transport

/// Messages that name the receive context they are for.
@Suite struct ContextTests {
  /// Whatever way a message travels, its context is told when it starts.
  @Test(arguments: [0, 5, 3_000, 60_000, 200_000], [false, true])
  func everyWayCarriesTheContext(size: Int, holds: Bool) {
    let bench = Bench()
    bench.establish()
    var contexts: [UInt16] = []
    bench.recorders[1].onMessage = { contexts.append($0.context) }
    bench.recorders[1].holds = holds
    for context in [0, 1, 0x00FF, 0xFFFE, 0xFFFF] as [UInt16] {
      for flags in [[], .tagged, .remoteData, [.tagged, .remoteData, .deliveryComplete]] as [OperationFlags] {
        bench.post(size: size, flags: flags, tag: 7, data: 9, context: context)
      }
    }
    bench.network.run(for: milliseconds(1_000))
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(maximumSteps: 100_000)
    #expect(contexts == [0, 1, 0x00FF, 0xFFFE, 0xFFFF].flatMap { [UInt16](repeating: $0, count: 4) })
    #expect(bench.recorders[1].messages.dropFirst().allSatisfy { $0.bytes == Bench.pattern(size) })
    #expect(bench.recorders[1].messages.count == 21)
    #expect(bench.isQuiet)
  }

  /// Frames that come before their turn keep it.
  @Test func stagedMessagesKeepTheContext() {
    let bench = Bench()
    bench.establish()
    var contexts: [UInt16] = []
    bench.recorders[1].onMessage = { contexts.append($0.context) }
    var isFirst = true
    bench.network.filter = { source, _, datagram in
      guard source == 0, isFirst, datagram[DataHeader.size] == FrameType.message.rawValue else { return true }
      isFirst = false
      return false
    }
    bench.post(size: 10, context: 1)
    bench.network.run(for: microseconds(50))
    for context in 2...5 { bench.post(size: 10, context: UInt16(context)) }
    bench.network.run(maximumSteps: 100_000)
    #expect(contexts == [1, 2, 3, 4, 5])
    #expect(bench.host(1).statistics.stagedFrames > 0)
    #expect(bench.isQuiet)
  }

  /// A message for a context that there is not is dropped; who waits for its end is told.
  @Test(arguments: [0, 5, 3_000, 60_000, 200_000])
  func messagesWithoutContextAreGivenUp(size: Int) {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].missingContext = 3
    let silent = bench.post(size: size, context: 3)
    let told = bench.post(size: size, flags: .deliveryComplete, context: 3)
    let matched = bench.post(size: size, flags: .matchComplete, context: 3)
    let other = bench.post(size: size, flags: .deliveryComplete, context: 4)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(silent) == (size > 65_536 ? .aborted : .ok))
    #expect(bench.status(told) == .aborted && bench.status(matched) == .aborted)
    #expect(bench.status(other) == .ok)
    #expect(bench.recorders[1].messages.count == 2)
    #expect(bench.isQuiet)
  }

  /// What is dropped gives its credit back: any number of such messages may come.
  @Test func givenUpMessagesCostNoCredit() {
    let bench = Bench { configuration, _ in
      configuration.creditWindow = 64 * 1024
      configuration.eagerLimit = 16 * 1024
      configuration.operationWindow = 100
      configuration.transmitQueueSize = 1_024
    }
    bench.establish()
    bench.recorders[1].missingContext = 3
    for _ in 0..<500 { #expect(bench.post(size: 5_000, context: 3) != nil) }
    let last = bench.post(size: 5_000, flags: .deliveryComplete)
    bench.network.run(maximumSteps: 1_000_000)
    #expect(bench.status(last) == .ok)
    #expect(bench.isQuiet)
  }
}
