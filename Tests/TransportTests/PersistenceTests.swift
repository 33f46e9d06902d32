import Packet
import SimulationSupport
import Testing
import Transport

/// Writes that are over when their data is persistent.
@Suite struct PersistenceTests {
  private static let sizes = [0, 8, 3_000, 60_000]

  private func segments(_ size: Int) -> [RemoteSegment] {
    [
      RemoteSegment(address: 100, length: UInt64(size / 2), key: 1),
      RemoteSegment(address: 40_000, length: UInt64(size - size / 2), key: 1),
    ]
  }

  /// However a write travels, the target is told where it lies, once it is in place, and whether all before it counts.
  @Test(arguments: sizes, [false, true]) func theTargetIsAsked(size: Int, isFenced: Bool) {
    for eagerLimit in [1_000, 65_536] {
      let bench = Bench { configuration, _ in configuration.eagerLimit = eagerLimit }
      bench.establish()
      let size = min(size, 30_000)
      let plain = bench.post(.write, size: 10, flags: .deliveryComplete)
      let flags: OperationFlags = isFenced ? [.persistent, .fence, .remoteData] : [.persistent, .remoteData]
      let write = bench.post(.write, size: size, flags: flags, data: 7, segments: segments(size))
      bench.network.run(maximumSteps: 100_000)
      #expect(bench.status(plain) == .ok && bench.status(write) == .ok)
      #expect(bench.recorders[1].persisted.count == 1)
      #expect(bench.recorders[1].persisted.first?.places == [100, 40_000])
      #expect(bench.recorders[1].persisted.first?.isAll == isFenced)
      #expect(bench.recorders[1].writes.map(\.data) == [0, 7])
      #expect(bench.isQuiet)
    }
  }

  @Test(arguments: sizes) func failuresAreTold(size: Int) {
    let bench = Bench { configuration, _ in configuration.eagerLimit = 4_000 }
    bench.establish()
    bench.recorders[1].canPersist = false
    let write = bench.post(.write, size: size, flags: [.persistent, .deliveryComplete])
    let plain = bench.post(.write, size: size)
    bench.network.run(maximumSteps: 100_000)
    #expect(bench.status(write) == .notPersistent)
    #expect(bench.status(plain) == .ok)
    #expect(bench.isQuiet)
  }

  /// A write waits for a read, then for its data to be persistent; what is lost on the way changes nothing.
  @Test func behindReadsOnABadNetwork() {
    var conditions = NetworkConditions()
    conditions.loss = 0.1
    let bench = Bench(seed: 3, conditions: conditions)
    let ids = (0..<50).map { index in
      bench.post(index % 2 == 0 ? .read : .write, size: 2_000 + index, flags: index % 2 == 0 ? [] : .persistent)
    }
    bench.network.run(maximumSteps: 1_000_000)
    #expect(ids.allSatisfy { bench.status($0) == .ok })
    #expect(bench.recorders[1].persisted.count == 25)
    #expect(bench.isQuiet)
  }
}
