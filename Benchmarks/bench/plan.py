"""What is measured: the columns (libraries and providers), the tests, and the networks they run over."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

KIB, MIB = 1 << 10, 1 << 20

# Providers of upstream's libfabric that carry endpoints of some type over a network; each is measured where it has what
# the tests need. `net;ofi_rxm` and other stacks of the same parts are left out, and `shm`, which is no network.
UPSTREAM_PROVIDERS = ("tcp;ofi_rxm", "tcp", "net", "udp;ofi_rxd", "udp", "sockets")

# The slowest takes most of the time, and is never the best.
QUICK_PROVIDERS = tuple(name for name in UPSTREAM_PROVIDERS if name != "sockets")

# Progress is made by threads of its own that the program's polling would starve on the same CPU: it sleeps instead.
SLEEPING_PROVIDERS = ("sockets",)


# What a group asks of a provider, as arguments of the program.
Demand = tuple[str, ...]
RELIABLE = ("-e", "rdm")


@dataclass(frozen=True)
class Column:
  """One library and provider, or the raw UDP program."""

  key: str
  title: str
  kind: str  # "ours", "upstream" or "limit"
  version: str = ""
  provider: str = ""
  environment: dict[str, str] = field(default_factory=dict, hash=False)
  faults: bool = False  # whether the library can lose datagrams on purpose
  offers: frozenset[Demand] = field(default_factory=frozenset, hash=False)


@dataclass(frozen=True)
class Network:
  """Where both processes run, on loopback or in two network namespaces joined by a veth pair, and their endpoints."""

  key: str
  title: str
  mtu: int = 0  # 0: loopback
  fault: str = ""  # FI_POLYFILL_FAULT without its seed
  endpoint: str = "rdm"  # or msg, dgram

  @property
  def segment(self) -> int:
    """Payload of one UDP segment of the raw program."""
    return self.mtu - 28 if self.mtu else 1472


@dataclass(frozen=True)
class Test:
  """One test of the programs, at some sizes; `key` names its rows."""

  key: str
  title: str
  program_test: str
  sizes: tuple[int, ...]
  options: tuple[str, ...] = ()  # of the test's word on the command line
  metrics: tuple[str, ...] = ("rate", "bandwidth")
  limit: bool = False  # whether the raw UDP program has it

  @property
  def word(self) -> str:
    return ":".join((self.program_test, ",".join(map(str, self.sizes)), *self.options))

  @property
  def is_atomic(self) -> bool:
    return self.program_test in ("add", "fetch_add")


@dataclass(frozen=True)
class Group:
  """Tests that one pair of processes runs one after the other; rounds alternate between the columns."""

  network: Network
  tests: tuple[Test, ...]
  seconds: float  # of one measurement
  blocking: bool = False
  counters: bool = False  # completions from counters, not from a queue

  @property
  def demand(self) -> Demand:
    """Only the tests of atomics need more than the endpoint."""
    return "-e", self.network.endpoint, *(test.word for test in self.tests if test.is_atomic)


@dataclass(frozen=True)
class Metric:
  """How a measured value is read."""

  unit: str
  scale: float  # what the program's value is multiplied by to have this unit
  better: str  # "lower" or "higher"
  title: str


METRICS = {
    "mean_us": Metric("µs", 1, "lower", "mean"),
    "p50_us": Metric("µs", 1, "lower", "p50"),
    "p99_us": Metric("µs", 1, "lower", "p99"),
    "p999_us": Metric("µs", 1, "lower", "p99.9"),
    "max_us": Metric("µs", 1, "lower", "largest"),
    "rate": Metric("M/s", 1e-6, "higher", "messages"),
    "bandwidth": Metric("GB/s", 1e-9, "higher", "bandwidth"),
    "ns_per_message": Metric("ns", 1, "lower", "per message"),
    "cpu_s_per_gb": Metric("s/GB", 1, "lower", "CPU time"),
    "cpu_s_per_million": Metric("s/million", 1, "lower", "CPU time"),
}

LOOPBACK = Network("loopback", "loopback")
LOOPBACK_MSG = Network("loopback-msg", "loopback, FI_EP_MSG", endpoint="msg")
LOOPBACK_DGRAM = Network("loopback-dgram", "loopback, FI_EP_DGRAM", endpoint="dgram")
LOSS = "loss=0.01"
TAIL = ("p50_us", "p99_us", "p999_us", "max_us")


def veth(mtu: int, fault: str = "") -> Network:
  """Two hosts on one link; with a fault the polyfill's sockets lose datagrams."""
  key = f"veth-{mtu}" + ("-loss" if fault else "")
  return Network(key, f"veth, MTU {mtu}" + (", 1 % loss" if fault else ""), mtu, fault)


def powers(first: int, last: int) -> tuple[int, ...]:
  """first, 4 × first, 16 × first … up to last."""
  sizes = []
  while first <= last:
    sizes.append(first)
    first *= 4
  return tuple(sizes)


def ping(sizes: tuple[int, ...], *options: str) -> Test:
  key, title = ("inject_pingpong", "half round trip, injected") if "inject" in options else \
      ("pingpong", "half round trip")
  return Test(key, title, "pingpong", sizes, options, ("mean_us", *TAIL), limit=not options)


def stream(sizes: tuple[int, ...], *options: str) -> Test:
  key = "_".join(["stream", *(option.replace("=", "_") for option in options)])
  title = ", ".join(["stream", *(option.replace("window=", "window ") for option in options)])
  return Test(key, title, "stream", sizes, options, limit=not options)


def rma(kind: str, sizes: tuple[int, ...]) -> Test:
  return Test(kind, f"RMA {kind}", kind, sizes)


def unexpected(sizes: tuple[int, ...]) -> Test:
  return Test("unexpected", "unexpected messages", "unexpected", sizes, metrics=("ns_per_message",))


def cpu(sizes: tuple[int, ...]) -> Test:
  return Test("cpu", "stream, sleeping while idle", "stream", sizes,
              metrics=("cpu_s_per_gb", "cpu_s_per_million", "rate", "bandwidth"), limit=True)


def transfer(sizes: tuple[int, ...]) -> Test:
  return Test("transfer", "message and reply", "transfer", sizes, metrics=("mean_us", *TAIL))


def counted(test: Test) -> Test:
  """The same test in a group that learns of completions from counters."""
  return replace(test, key=f"counted_{test.key}", title=f"{test.title}, by counters", limit=False)


def unlimited(test: Test) -> Test:
  """The same test without the raw program, which has its figures in the group of FI_EP_RDM."""
  return replace(test, limit=False)


def fetch_add(sizes: tuple[int, ...]) -> Test:
  return Test("fetch_add", "half round trip of a fetching add", "fetch_add", sizes, metrics=("mean_us", *TAIL))


def add(sizes: tuple[int, ...]) -> Test:
  return Test("add", "atomic add", "add", sizes)


def datagrams(sizes: tuple[int, ...]) -> Test:
  return Test("datagrams", "datagrams that arrive", "datagrams", sizes)


def other_groups(small: tuple[int, ...], large: tuple[int, ...], seconds: float) -> list[Group]:
  """Counters, atomics, and the other types of endpoint."""
  connected = tuple(map(unlimited, (ping(small), stream(small + large))))
  return [
      Group(LOOPBACK, tuple(map(counted, (ping(small[:1]), stream(small)))), seconds, counters=True),
      Group(LOOPBACK, (fetch_add((8,)), add((8, 512))), seconds),
      Group(LOOPBACK_MSG, (*connected, rma("write", large)), seconds),
      # Receives stay posted behind the second: each has processes of its own.
      Group(LOOPBACK_DGRAM, (unlimited(ping((64, KIB))),), seconds),
      Group(LOOPBACK_DGRAM, (datagrams((64, KIB)),), seconds),
  ]


def veth_groups(mtus: tuple[int, ...], seconds: float) -> list[Group]:
  """Goodput and completion times between two hosts, without loss and with it right after."""
  tests = (ping((64,)), stream((MIB,)), transfer((MIB,)))
  return [Group(veth(mtu, fault), tests, seconds) for mtu in mtus for fault in ("", LOSS)]


def full_plan() -> list[Group]:
  small, large = powers(64, 4 * KIB), powers(16 * KIB, 16 * MIB)
  short = 0.12
  groups = [
      Group(LOOPBACK, (ping(powers(64, MIB)), ping((64,), "inject")), short),
      Group(LOOPBACK, (stream(small), stream(small, "tagged")), short),
      Group(LOOPBACK, (stream((64, 4 * KIB), "window=1024"), stream((64,), "tagged", "window=1024"),
                       stream((64,), "inject"), unexpected((64, 4 * KIB))), short),
      Group(LOOPBACK, (stream(large),), short),
      Group(LOOPBACK, (stream(large, "tagged"),), short),
      Group(LOOPBACK, (rma("write", powers(64, 16 * MIB)), rma("read", powers(64, 16 * MIB))), short),
      Group(LOOPBACK, (cpu((64, 4 * KIB, MIB)),), 2 * short, blocking=True),
  ]
  return groups + other_groups((64, 4 * KIB), (64 * KIB, MIB), short) + veth_groups((1500, 9000), 0.5)


def quick_plan() -> list[Group]:
  short = 0.03
  groups = [
      Group(LOOPBACK, (ping((64, 64 * KIB)), stream((64, 4 * KIB)), stream((64,), "tagged"),
                       stream((64,), "window=1024"), stream((64,), "tagged", "window=1024"), unexpected((64,))), short),
      Group(LOOPBACK, (stream((MIB,)), rma("write", (MIB,)), rma("read", (MIB,))), short),
      Group(LOOPBACK, (cpu((64, MIB)),), short, blocking=True),
  ]
  return groups + other_groups((64,), (MIB,), short) + veth_groups((1500,), 0.1)


def select(groups: list[Group], pattern: str) -> list[Group]:
  """Those tests whose `network/key` or title contains the text."""
  selected = []
  for group in groups:
    tests = tuple(test for test in group.tests if pattern in f"{group.network.key}/{test.key}" or pattern in test.title)
    if tests:
      selected.append(replace(group, tests=tests))
  return selected
