import Packet
import SimulationSupport
import Testing
import Transport

/// Operations that wait until all before them have ended.
@Suite struct FenceTests {
  private static let kinds: [OperationKind] = [.message, .write, .read]

  /// Whatever comes before, of whatever size, is over when a fenced operation starts, and what comes behind waits too.
  @Test(arguments: kinds, [0, 8, 3_000, 60_000, 200_000])
  func startsWhenAllBeforeHaveEnded(kind: OperationKind, size: Int) {
    let bench = Bench()
    bench.establish()
    // As much as the region holds.
    let size = kind == .message ? size : min(size, 65_536)
    let before = (0..<5).map { bench.post(kind, size: size, flags: kind == .message ? .buffered : [], tag: UInt64($0)) }
    let fenced = bench.post(size: 8, flags: [.tagged, .fence], tag: 100)
    let behind = bench.post(size: 8, flags: [.tagged], tag: 101)
    var tags: [UInt64] = []
    bench.recorders[1].onMessage = { event in
      guard event.flags.contains(.tagged) else { return }
      tags.append(event.tag)
      #expect(before.allSatisfy { bench.status($0) == .ok })
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(tags == [100, 101])
    #expect(bench.status(fenced) == .ok && bench.status(behind) == .ok)
    #expect(bench.isQuiet)
  }

  /// Messages that would be over once they were sent must have arrived before a fence lets anything pass, those already
  /// sent included.
  @Test(arguments: [false, true]) func runsAreWaitedFor(sentBefore: Bool) {
    let bench = Bench()
    bench.establish()
    bench.network.filter = { source, _, _ in source == 0 }
    for tag in 0..<40 { bench.post(size: 40, flags: [.buffered, .tagged], tag: UInt64(tag)) }
    if sentBefore { bench.network.run(for: microseconds(300)) }
    let fenced = bench.post(size: 40, flags: [.buffered, .tagged, .fence], tag: 40)
    let behind = bench.post(size: 40, flags: [.buffered, .tagged], tag: 41)
    bench.network.run(for: milliseconds(2))
    #expect(bench.recorders[1].messages.count == 41)
    bench.network.filter = nil
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.recorders[1].messages.dropFirst().map(\.tag) == (0..<42).map { UInt64($0) })
    #expect(bench.status(fenced) == .ok && bench.status(behind) == .ok)
    #expect(bench.isQuiet)
  }

  /// A message that the target's program does not ask for keeps the fence closed, and no other peer's.
  @Test func oneConnectionIsHeldUp() {
    let bench = Bench(hosts: 3)
    bench.establish(0, 1)
    bench.establish(0, 2)
    bench.recorders[1].holds = true
    let unmatched = bench.post(to: 1, size: 200_000)
    let fenced = bench.post(.write, to: 1, size: 8, flags: .fence)
    let other = bench.post(.write, to: 2, size: 8, flags: .fence)
    bench.network.run(for: milliseconds(100))
    #expect(bench.status(unmatched) == nil && bench.status(fenced) == nil && bench.status(other) == .ok)
    #expect(bench.recorders[1].writes.isEmpty)
    bench.recorders[1].acceptHeld(bench.host(1), bench.network)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(unmatched) == .ok && bench.status(fenced) == .ok)
    #expect(bench.isQuiet)
  }

  /// What ends badly is over as well.
  @Test func failuresOpenTheFence() {
    let bench = Bench()
    bench.establish()
    bench.recorders[1].refusal = .accessDenied
    let refused = bench.post(.write, size: 3_000)
    let fenced = bench.post(size: 8, flags: .fence)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(refused) == .accessDenied)
    #expect(bench.status(fenced) == .ok)
    #expect(bench.isQuiet)
  }

  /// A row of fenced operations costs a round trip each; nothing else is lost by it, on a bad network neither.
  @Test(arguments: [0, 0.2]) func allFenced(loss: Double) {
    var conditions = NetworkConditions()
    conditions.loss = loss
    let bench = Bench(seed: 7, conditions: conditions)
    let ids = (0..<100).map { index in
      bench.post(Self.kinds[index % 3], size: index * 100, flags: index % 3 == 0 ? [.fence, .buffered] : .fence)
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(ids.allSatisfy { bench.status($0) == .ok })
    #expect(bench.recorders[0].completions.map(\.id) == ids.map { $0! })
    #expect(bench.isQuiet)
  }

  /// The session ends with fences waiting; the next one has none left over.
  @Test func aFailureRemovesFences() {
    let bench = Bench { configuration, _ in configuration.maximumSilence = 1_000 }
    bench.establish()
    bench.network.filter = { _, _, _ in false }
    let ids = (0..<4).map { _ in bench.post(size: 8, flags: .fence) }
    bench.network.run(for: milliseconds(10_000))
    #expect(ids.allSatisfy { bench.status($0) == .timedOut })
    bench.network.filter = nil
    let again = bench.post(size: 8)
    let fenced = bench.post(size: 8, flags: .fence)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(again) == .ok && bench.status(fenced) == .ok)
    #expect(bench.isQuiet)
  }
}
