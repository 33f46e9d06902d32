import ArgumentParser
import SimulationSupport

/// Runs seeds of the protocol's simulation.
@main
struct SimulatorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "simulator",
    abstract: "Runs transport endpoints over a simulated network, a function of a seed.",
    discussion: "Ends with `N passed, N failed`. A seed that failed runs again with `--seed N --trace`.")

  @Option(help: "How many seeds to run.")
  var seeds = 1_000

  @Option(help: "The first seed.")
  var start: UInt64 = 1

  @Option(help: "Runs this seed alone.")
  var seed: UInt64?

  @Option(help: "Threads that run seeds.")
  var jobs = 2

  @Option(help: "Stops after so many failures.")
  var maximumFailures = 10

  @Flag(help: "Prints everything that happens; with --seed.")
  var trace = false

  @Flag(help: "Prints what the seeds went through.")
  var statistics = false

  @Flag(help: "Prints what 64 senders to one receiver come to, against an ideal receiver, as JSON lines.")
  var incast = false

  @Flag(help: "Prints the goodput of a stream under random loss, against that without, as JSON lines.")
  var lossGoodput = false

  @Flag(help: "Prints the completion times of round trips under random loss, as JSON lines.")
  var lossTail = false

  @Flag(help: "Prints how streams share the port of a switch, as JSON lines.")
  var fairness = false

  func validate() throws {
    if seeds < 1 || jobs < 1 || jobs > SeedRegister.maximumJobs {
      throw ValidationError("--seeds and --jobs are at least 1, --jobs at most \(SeedRegister.maximumJobs)")
    }
    if trace && seed == nil { throw ValidationError("--trace needs --seed") }
  }

  func run() throws {
    if incast || lossGoodput || lossTail || fairness {
      if incast { Measurements.incast() }
      if lossGoodput { Measurements.lossGoodput() }
      if lossTail { Measurements.lossTail() }
      if fairness { Measurements.fairness() }
      return
    }
    SeedRegister.install()
    let passed: Bool
    if let seed {
      passed = runOne(seed)
    } else {
      passed = SeedLoop(first: start, count: seeds, jobs: jobs, maximumFailures: maximumFailures).run(statistics)
    }
    if !passed { throw ExitCode.failure }
  }

  private func runOne(_ seed: UInt64) -> Bool {
    SeedRegister.begin(job: 0, seed: seed)
    let result = simulate(seed: seed, trace: trace ? { print($0) } : nil)
    print(result.scenario.description)
    print("\(result.completions) operations completed in \(result.duration / 1_000) us, \(result.steps) steps")
    print(result.statistics)
    if let failure = result.failure { print("seed \(seed) failed: \(failure)") }
    print(result.failure == nil ? "1 passed, 0 failed" : "0 passed, 1 failed")
    return result.failure == nil
  }
}
