"""Runs the plan: rounds that alternate between the columns, each failure a cell and not an end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import extra
from .namespaces import Hosts
from .plan import METRICS, RELIABLE, SLEEPING_PROVIDERS, Column, Demand, Group, Network, Test
from .programs import Failed, Outcome, Side, build, probe, run_pair
from .results import Results

LIMIT = Column("limit", "raw UDP", "limit")
OF_LIMIT = (LIMIT, Column("limit-gso", "raw UDP, GSO stream", "limit-detail"),
            Column("limit-connected", "raw UDP, connected", "limit-detail"))

Progress = Callable[[str], None]  # called after each pair of processes, with what it did


def find_columns(library: Path, upstreams: list[Path], providers: tuple[str, ...],
                 groups: list[Group]) -> list[Column]:
  """The polyfill, what the system's libfabric offers, what other builds of it offer, and raw UDP."""
  demands = dict.fromkeys((RELIABLE, *(group.demand for group in groups)))
  ours = find_column("polyfill", {"LD_LIBRARY_PATH": str(library / "dropin")}, demands, "ours")
  if not ours:
    raise SystemExit("the polyfill does not answer; was it built? (Scripts/build)")
  places = [{"LD_LIBRARY_PATH": str(directory)} if directory else {} for directory in (None, *upstreams)]
  found = (find_column(provider, where, demands, "upstream") for where in places for provider in providers)
  return [ours, *(column for column in found if column), *OF_LIMIT]


def find_column(provider: str, where: dict[str, str], demands: Iterable[Demand], kind: str) -> Column | None:
  """The column of a provider; none where it offers nothing that is asked for."""
  answers = {demand: answer for demand in demands if (answer := probe(provider, where, demand)) and answer["offered"]}
  if not answers:
    return None
  answer = next(iter(answers.values()))
  title = provider if kind == "ours" else f"{provider} {answer['version']}"
  return Column(title, title, kind, answer["version"], provider, where, answer["faults"], frozenset(answers))


class Runner:
  """Fills the results, one pair of processes at a time."""

  def __init__(self, results: Results, rounds: int, progress: Progress):
    self.results = results
    self.rounds = rounds
    self.progress = progress
    self.given_up: dict[tuple[str, str, str], str] = {}  # (network, test, column) that failed: not tried again
    self.problems: list[str] = []

  def columns_for(self, group: Group) -> list[Column]:
    """Loss is made by the polyfill's own socket layer: there is none for the others."""
    columns = [column for column in self.results.columns if column.kind == "limit" or group.demand in column.offers]
    return [column for column in columns if column.kind == "ours"] if group.network.fault else columns

  def pairs(self, groups: list[Group]) -> int:
    return sum(self.rounds * len(self.columns_for(group)) for group in groups)

  def run(self, groups: list[Group]) -> None:
    for network, own in by_network(groups):
      try:
        with sides(network) as (server, client):
          for group in own:
            self.run_group(group, server, client)
      except Failed as failure:
        self.problems.append(f"{network.title}: {failure}")

  def run_group(self, group: Group, server: Side, client: Side) -> None:
    for round_number in range(self.rounds):
      for column in self.columns_for(group):
        self.run_column(group, column, server, client, round_number)
        titles = ", ".join(dict.fromkeys(test.title for test in group.tests))
        self.progress(f"{group.network.title}: {titles}: round {round_number + 1}, {column.title}")

  def run_column(self, group: Group, column: Column, server: Side, client: Side, round_number: int) -> None:
    """One column's turn in a round. What comes behind a test that failed is tried again without it."""
    tests = [test for test in group.tests if (group.network.key, test.key, column.key) not in self.given_up
             and (test.limit or column.kind != "limit")]
    if group.network.fault and not column.faults:
      for test in tests:
        self.give_up(group, test, column, "the library has no FI_POLYFILL_FAULT")
      return
    while tests:
      outcome = self.run_tests(group, tests, column, server, client, round_number)
      for line in outcome.lines:
        self.record(group, tests[line["test"]], column, line)
      if not outcome.failure:
        return
      broken = max((line["test"] for line in outcome.lines), default=0)
      if outcome.lines and outcome.lines[-1]["size"] == tests[broken].sizes[-1] and broken + 1 < len(tests):
        broken += 1
      self.give_up(group, tests[broken], column, outcome.failure)
      tests = tests[broken + 1:]

  def run_tests(self, group: Group, tests: list[Test], column: Column, server: Side, client: Side,
                round_number: int) -> Outcome:
    limit = column.kind == "limit"
    program = build("udp_limit" if limit else "fabric_bench")
    arguments = ["-d", str(group.seconds), "-e", group.network.endpoint]
    if limit:
      arguments += ["-g", str(group.network.segment)] + ([] if group.network.mtu else ["-F"])
    else:
      arguments += ["-p", column.provider] + (["-k"] if group.counters else [])
    if group.blocking or column.provider in SLEEPING_PROVIDERS:
      arguments.append("-b")
    measurements = sum(len(test.sizes) for test in tests) * (10 if limit else 1)
    timeout = 6 + measurements * (4 * group.seconds + 1)
    return run_pair(program, arguments + [test.word for test in tests], server, client,
                    column.environment, timeout, group.network.fault, round_number)

  def record(self, group: Group, test: Test, column: Column, line: dict) -> None:
    for metric in test.metrics:
      key = f"limit/{line['variant']}" if column.kind == "limit" else column.key
      cell = self.results.cell(group.network.key, test.key, test.title, line["size"], metric, key)
      if "failed" in line:
        cell.failed = line["failed"]
      elif metric in line["values"]:
        cell.samples.append(line["values"][metric] * METRICS[metric].scale)

  def give_up(self, group: Group, test: Test, column: Column, reason: str) -> None:
    self.given_up[group.network.key, test.key, column.key] = reason
    self.problems.append(f"{group.network.title}: {test.title}: {column.title}: {reason}")
    if column.kind == "limit":
      return
    for size in test.sizes:
      for metric in test.metrics:
        cell = self.results.cell(group.network.key, test.key, test.title, size, metric, column.key)
        cell.failed = cell.failed or reason

  def extra_runs(self, quick: bool) -> list[tuple[extra.Extra, Column]]:
    """Which other programs are run, each for which columns."""
    return [(program, column) for program in extra.EXTRAS if program.exists and (program.quick or not quick)
            for column in self.results.columns
            if column.kind == "ours" or (program.upstream and RELIABLE in column.offers)]

  def run_extras(self, runs: list[tuple[extra.Extra, Column]]) -> None:
    for program, column in runs:
      if reason := extra.run_extra(program, column, self.results):
        self.problems.append(f"{program.name}: {column.title}: {reason}")
      self.progress(f"{program.name}: {column.title}")


def by_network(groups: list[Group]) -> Iterator[tuple[Network, list[Group]]]:
  for network in dict.fromkeys(group.network for group in groups):
    yield network, [group for group in groups if group.network == network]


def sides(network: Network) -> contextlib.AbstractContextManager[tuple[Side, Side]]:
  """Server and client, each on a CPU of its own."""
  if network.mtu:
    return Hosts(network.mtu)
  cpus = sorted(os.sched_getaffinity(0))
  return contextlib.nullcontext((Side("127.0.0.1", cpus[0]), Side("127.0.0.1", cpus[min(1, len(cpus) - 1)])))
