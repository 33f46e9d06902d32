import Transport

/// What a run came to.
package struct SimulationResult {
  package var seed: UInt64
  /// What went wrong; nil when nothing did.
  package var failure: String?
  package var scenario: Scenario
  package var statistics: NetworkStatistics
  package var steps: Int
  /// How long the run took on its own clock.
  package var duration: UInt64
  package var completions: Int
}

/// Runs a scenario to its end and checks it.
///
/// `trace` is called with a line for everything that happens.
package func simulate(_ scenario: Scenario, trace: ((String) -> Void)? = nil) -> SimulationResult {
  let start = milliseconds(1) + mix(scenario.seed) % (1 << 40)
  let network = SimulatedNetwork(seed: ~scenario.seed, conditions: scenario.conditions, start: start)
  network.trace = trace
  let checker = Checker(scenario: scenario, network: network)
  let programs = scenario.configurations.indices.map { WorkloadProgram(host: $0, checker: checker, start: start) }
  for (index, program) in programs.enumerated() {
    let host = network.attach(scenario.configurations[index], program: program)
    host.habits = scenario.habits[index]
  }
  for host in network.hosts { host.schedule(at: start, network) }
  for disturbance in scenario.disturbances { arrange(disturbance, network, checker, programs, start) }
  network.run(maximumSteps: scenario.stepLimit) { network.now - start < 4_000_000_000_000 }
  if network.failure == nil && !network.clock.isEmpty { network.fail("still running after an hour: a livelock?") }
  if network.failure != nil && trace != nil {
    for host in network.hosts { network.note("\(host.index): \(host.endpoint.usage) \(host.endpoint.statistics)") }
    for record in checker.records where record.completion == nil { network.note(record.description) }
  }
  if network.failure == nil { checker.checkEnd() }
  if network.failure == nil && scenario.closes { close(network, checker) }
  return SimulationResult(
    seed: scenario.seed, failure: network.failure, scenario: scenario, statistics: network.statistics,
    steps: network.steps, duration: network.now - start, completions: checker.completions)
}

/// Runs the scenario of a seed.
package func simulate(seed: UInt64, trace: ((String) -> Void)? = nil) -> SimulationResult {
  simulate(ScenarioGenerator.scenario(seed: seed), trace: trace)
}

/// Closes all endpoints, one after the other or at once, and waits for silence.
private func close(_ network: SimulatedNetwork, _ checker: Checker) {
  checker.closing()
  for host in network.hosts {
    network.note("\(host.index) closes")
    host.endpoint.close(now: network.now)
    host.schedule(at: network.now, network)
    if network.random.chance(0.5) { network.run(maximumSteps: checker.scenario.stepLimit + 100_000) }
  }
  network.run(maximumSteps: checker.scenario.stepLimit + 100_000) { network.now < never / 2 }
  if network.failure == nil { checker.checkEnd() }
}

private func arrange(
  _ disturbance: Disturbance, _ network: SimulatedNetwork, _ checker: Checker, _ programs: [WorkloadProgram],
  _ start: Instant
) {
  switch disturbance {
  case .partition(let alone, let time, let duration):
    network.schedule(at: start + time) { [unowned network] in separate(alone, true, network) }
    network.schedule(at: start + time + duration) { [unowned network] in separate(alone, false, network) }
  case .pathLimit(let left, let right, let bytes, let time):
    network.schedule(at: start + time) { [unowned network] in
      network.note("the path between \(left) and \(right) now carries \(bytes) bytes")
      network.limit(bytes, between: left, and: right)
    }
  case .restart(let index, let time, let downFor):
    network.schedule(at: start + time) { [unowned network] in
      let host = network.hosts[index]
      guard !host.isDown else { return }
      host.stop(network)
      checker.stopped(host)
      network.schedule(at: network.now + downFor) { [unowned network] in
        programs[index].restart()
        network.hosts[index].restart(network, seed: network.random.next())
      }
    }
  case .pause(let index, let time, let duration):
    network.schedule(at: start + time) { [unowned network] in
      network.note("\(index) pauses for \(duration)ns")
      network.hosts[index].pausedUntil = network.now + duration
      network.hosts[index].schedule(at: network.now, network)
    }
  }
}

private func separate(_ alone: Set<Int>, _ isCut: Bool, _ network: SimulatedNetwork) {
  network.note("\(alone.sorted()) \(isCut ? "cut off" : "reachable again")")
  for left in network.hosts.indices where alone.contains(left) {
    for right in network.hosts.indices where !alone.contains(right) { network.cut(isCut, between: left, and: right) }
  }
}
