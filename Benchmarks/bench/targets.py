"""The targets of the project for speed and scale, each computed from the rows of one run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .plan import KIB, MIB
from .results import Results

OURS = "polyfill"
UNCONNECTED, BEST = "limit/unconnected", "limit"


@dataclass
class Target:
  """One demand: a figure, the bound it must keep, and how it was computed."""

  what: str
  value: float
  bound: float
  at_most: bool
  how: str
  unit: str = "×"
  limit: float = math.nan  # the same with raw UDP in the library's place, or without loss where that is compared

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

  def over_upstream(self, network: str, test: str, size: int, metric: str, only: str = "", column: str = OURS) -> float:
    """A column divided by the best of upstream's, or by the best of those whose name begins with `only`."""
    row = self.results.row(network, test, size, metric)
    if not row:
      return math.nan
    return row.median(column) / row.best([name for name in self.upstream if name.startswith(only)])

  def beside_upstream(self, what: str, row: tuple[str, str, int, str], bound: float, at_most: bool, how: str,
                      only: str = "", limit: str = BEST) -> Target:
    """A demand on what `over_upstream` computes, with what the raw program would reach."""
    return Target(what, self.over_upstream(*row, only), bound, at_most, how,
                  limit=self.over_upstream(*row, only, column=limit))

  def over(self, network: str, test: str, size: int, metric: str, column: str) -> float:
    return self.value(network, test, size, metric) / self.value(network, test, size, metric, column)


def targets(results: Results) -> list[Target]:
  figures = Figures(results)
  return [*latency(figures), *rates(figures), *bandwidth(figures), *loss(figures), *scale(figures), *cost(figures)]


def latency(figures: Figures) -> list[Target]:
  row = ("loopback", "pingpong", 64, "mean_us")
  what = "64 B half round trip"
  return [
      Target(what, figures.over(*row, column=UNCONNECTED), 1.15, True, "of raw unconnected UDP's"),
      figures.beside_upstream(what, row, 0.75, True, "of the best upstream provider's", limit=UNCONNECTED),
  ]


def rates(figures: Figures) -> list[Target]:
  best = "the best upstream provider's"

  def demand(what: str, test: str, size: int, bound: float) -> Target:
    return figures.beside_upstream(what, ("loopback", test, size, "rate"), bound, False, best)

  return [
      demand("64 B message rate, 1024 outstanding, untagged", "stream_window_1024", 64, 40),
      demand("64 B message rate, 1024 outstanding, tagged", "stream_tagged_window_1024", 64, 40),
      demand("64 B message rate, 64 outstanding, untagged", "stream", 64, 40),
      demand("64 B message rate, 64 outstanding, tagged", "stream_tagged", 64, 40),
      demand("4 KiB message rate", "stream", 4 * KIB, 5),
  ]


def bandwidth(figures: Figures) -> list[Target]:
  rows = []
  for test, title in (("stream", "1 MiB streaming"), ("write", "1 MiB RMA write")):
    row = ("loopback", test, MIB, "bandwidth")
    rows += [
        Target(title, figures.over(*row, column="limit-gso"), 0.8, False, "of the raw GSO stream's"),
        figures.beside_upstream(title, row, 2, False, "the best upstream provider's"),
        figures.beside_upstream(title, row, 20, False, "udp;ofi_rxd's", only="udp;ofi_rxd"),
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
      usual = figures.value(whole, test, size, "p999_us")
      rows.append(
          Target(f"1 % loss, MTU {mtu}: latest completion, {title}",
                 figures.largest(lossy, test, size, "max_us") / usual, 20, True, "the lossless p99.9",
                 limit=figures.largest(whole, test, size, "max_us") / usual))
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
  row = ("loopback", "cpu", MIB, "cpu_s_per_gb")
  return [figures.beside_upstream("CPU time per GB, 1 MiB messages", row, 0.6, True, "of the best upstream provider's")]
