import Glibc
import SimulationSupport
import Synchronization

/// Runs many seeds on a few threads.
final class SeedLoop: Sendable {
  private struct Totals {
    var passed = 0
    var failed = 0
    var completions = 0
    var virtualTime: UInt64 = 0
    var network = NetworkStatistics()
    var slowest: (seed: UInt64, steps: Int) = (0, 0)
    var printed = 0
  }

  private let first: UInt64
  private let count: Int
  private let jobs: Int
  private let maximumFailures: Int
  private let next = Atomic<Int>(0)
  private let totals = Mutex(Totals())
  private let began = SeedLoop.clock()

  init(first: UInt64, count: Int, jobs: Int, maximumFailures: Int) {
    self.first = first
    self.count = count
    self.jobs = jobs
    self.maximumFailures = maximumFailures
  }

  /// Returns whether all seeds passed.
  func run(_ printsStatistics: Bool) -> Bool {
    var threads: [pthread_t] = []
    for job in 1..<max(jobs, 1) {
      var thread = pthread_t()
      let context = Unmanaged.passRetained(Job(loop: self, index: job))
      let result = pthread_create(
        &thread, nil,
        { context in
          let job = Unmanaged<Job>.fromOpaque(context!).takeRetainedValue()
          job.loop.work(job.index)
          return nil
        }, context.toOpaque())
      precondition(result == 0, "no thread could be made")
      threads.append(thread)
    }
    work(0)
    for thread in threads { pthread_join(thread, nil) }
    return totals.withLock { totals in
      let seconds = Self.clock() - began
      print(
        "\(Self.rounded(Double(totals.passed + totals.failed) / seconds)) seeds/s, \(totals.completions) operations")
      if printsStatistics {
        print("\(totals.network)")
        print("virtual time \(totals.virtualTime / 1_000_000_000) s, longest seed \(totals.slowest)")
      }
      print("\(totals.passed) passed, \(totals.failed) failed")
      return totals.failed == 0
    }
  }

  private final class Job: Sendable {
    let loop: SeedLoop
    let index: Int
    init(loop: SeedLoop, index: Int) {
      self.loop = loop
      self.index = index
    }
  }

  private func work(_ job: Int) {
    while true {
      let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
      guard index < count else { return }
      let seed = first &+ UInt64(index)
      SeedRegister.begin(job: job, seed: seed)
      let result = simulate(seed: seed)
      SeedRegister.end(job: job)
      account(result)
    }
  }

  private func account(_ result: SimulationResult) {
    totals.withLock { totals in
      if let failure = result.failure {
        totals.failed += 1
        print("seed \(result.seed) failed: \(failure)\n\(result.scenario.description)")
        print("again: simulator --seed \(result.seed) --trace")
        if totals.failed == maximumFailures { next.store(count, ordering: .relaxed) }
      } else {
        totals.passed += 1
      }
      totals.completions += result.completions
      totals.virtualTime += result.duration
      totals.network.add(result.statistics)
      if result.steps > totals.slowest.steps { totals.slowest = (result.seed, result.steps) }
      let done = totals.passed + totals.failed
      if done - totals.printed >= max(count / 10, 100) && done < count {
        totals.printed = done
        print("\(done) of \(count) seeds, \(totals.failed) failed")
      }
      fflush(nil)
    }
  }

  private static func clock() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private static func rounded(_ value: Double) -> Int { Int(value.rounded()) }
}
