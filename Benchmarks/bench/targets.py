"""The targets of the project for speed and scale, each computed from the rows of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .plan import KIB, MIB
from .results import Results

OURS = "polyfill"


@dataclass
class Target:
  """One demand: a figure, the bound it must keep, and how it was computed."""

  what: str
  value: float
  bound: float
  at_most: bool
  how: str
  unit: str = "×"

  @property
  def verdict(self) -> str:
    if math.isnan(self.value):
      return "not measured"
    return "met" if (self.value <= self.bound if self.at_most else self.value >= self.bound) else "not met"


class Figures:
  """Medians of the run, and their ratios."""

  def __init__(self, results: Results):
    self.results = results
    self.upstream = results.of_kind("upstream")

  def value(self, network: str, test: str, size: int, metric: str, column: str = OURS) -> float:
    row = self.results.row(network, test, size, metric)
    return row.median(column) if row else math.nan

  def largest(self, network: str, test: str, size: int, metric: str) -> float:
    row = self.results.row(network, test, size, metric)
    cell = row.cells.get(OURS) if row else None
    return max(cell.samples) if cell and cell.samples else math.nan

  def over_upstream(self, network: str, test: str, size: int, metric: str, only: str = "") -> float:
    """Ours divided by the best of upstream's, or of those whose name begins with `only`."""
    row = self.results.row(network, test, size, metric)
    if not row:
      return math.nan
    return row.median(OURS) / row.best([column for column in self.upstream if column.startswith(only)])

  def over(self, network: str, test: str, size: int, metric: str, column: str) -> float:
    return self.value(network, test, size, metric) / self.value(network, test, size, metric, column)


def targets(results: Results) -> list[Target]:
  figures = Figures(results)
  return [*latency(figures), *rates(figures), *bandwidth(figures), *loss(figures), *scale(figures), *cost(figures)]


def latency(figures: Figures) -> list[Target]:
  row = ("loopback", "pingpong", 64, "mean_us")
  unconnected = figures.value(*row) / figures.value(*row, column="limit/unconnected")
  return [
      Target("64 B half round trip", unconnected, 1.15, True, "of raw unconnected UDP's"),
      Target("64 B half round trip", figures.over_upstream(*row), 0.75, True, "of the best upstream provider's"),
  ]


def rates(figures: Figures) -> list[Target]:
  best = "the best upstream provider's"
  return [
      Target("64 B message rate, untagged", figures.over_upstream("loopback", "stream", 64, "rate"), 40, False, best),
      Target("64 B message rate, tagged", figures.over_upstream("loopback", "stream_tagged", 64, "rate"), 40, False,
             best),
      Target("64 B message rate, 1024 outstanding",
             figures.over_upstream("loopback", "stream_window_1024", 64, "rate"), 40, False, best),
      Target("4 KiB message rate", figures.over_upstream("loopback", "stream", 4 * KIB, "rate"), 5, False, best),
  ]


def bandwidth(figures: Figures) -> list[Target]:
  rows = []
  limit = figures.value("loopback", "stream", MIB, "bandwidth", "limit-gso")
  for test, title in (("stream", "1 MiB streaming"), ("write", "1 MiB RMA write")):
    row = ("loopback", test, MIB, "bandwidth")
    rows += [
        Target(title, figures.value(*row) / limit, 0.8, False, "of the raw GSO stream's"),
        Target(title, figures.over_upstream(*row), 2, False, "the best upstream provider's"),
        Target(title, figures.over_upstream(*row, only="udp;ofi_rxd"), 20, False, "udp;ofi_rxd's"),
    ]
  read = figures.value("loopback", "read", MIB, "bandwidth") / figures.value("loopback", "write", MIB, "bandwidth")
  return [*rows, Target("1 MiB RMA read", read, 0.9, False, "of RMA write's")]


def loss(figures: Figures) -> list[Target]:
  rows = []
  for mtu in (1500, 9000):
    whole, lossy = f"veth-{mtu}", f"veth-{mtu}-loss"
    goodput = figures.value(lossy, "stream", MIB, "bandwidth") / figures.value(whole, "stream", MIB, "bandwidth")
    rows.append(Target(f"1 % loss, MTU {mtu}: goodput at 1 MiB", goodput, 0.7, False, "of the lossless"))
    for test, size, title in (("pingpong", 64, "64 B ping-pong"), ("transfer", MIB, "1 MiB transfer")):
      last = figures.largest(lossy, test, size, "max_us") / figures.value(whole, test, size, "p999_us")
      rows.append(Target(f"1 % loss, MTU {mtu}: latest completion, {title}", last, 20, True, "the lossless p99.9"))
  return rows


def scale(figures: Figures) -> list[Target]:
  def other(test: str, number: int = 0) -> float:
    return figures.value("other", test, number, "value")

  def memory(state: str, number: int) -> float:
    """What malloc was asked for, or what the process grew by, whichever is more."""
    return max(other(f"heap {state}", number), other(f"rss {state}", number))

  latency_ratio = other("half round trip known", 10_000) / other("half round trip known", 1)
  hot = [row.median(OURS) for row in figures.results.rows.values() if row.test.startswith("heap allocations after")]
  return [
      Target("10,000 known peers: latency", latency_ratio, 1.1, True, "of that with one"),
      Target("memory of a known idle peer, of 10,000", memory("known", 10_000), 256, True, "", "B"),
      Target("memory of a connected peer, of 1,000", memory("connected", 1000), 4 * KIB, True, "", "B"),
      Target("ways of moving a message that allocate after warm-up", sum(hot) if hot else math.nan, 0, True, "", ""),
      Target("hot functions that count references", other("reference counting in hot functions"), 0, True, "", ""),
  ]


def cost(figures: Figures) -> list[Target]:
  ratio = figures.over_upstream("loopback", "cpu", MIB, "cpu_s_per_gb")
  return [Target("CPU time per GB, 1 MiB messages", ratio, 0.6, True, "of the best upstream provider's")]
