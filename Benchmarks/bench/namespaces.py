"""Two hosts on one link: a pair of network namespaces joined by veth, made and deleted by the run itself."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from .programs import Failed, Side

LINK = "wire"  # the interface at each end


def ip(*words: str) -> str:
  done = subprocess.run(["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                        check=False)
  if done.returncode:
    raise Failed(f"ip {' '.join(words)}: {done.stderr.strip()}")
  return done.stdout


def wait_until_up(name: str) -> None:
  """The kernel finds out some time later that a link has a carrier."""
  deadline = time.monotonic() + 5
  while "state UP" not in ip("-n", name, "link", "show", LINK):
    if time.monotonic() > deadline:
      raise Failed(f"the link of {name} does not come up")
    time.sleep(0.02)


class Hosts:
  """A context with a server's and a client's side. The link keeps its offloads, as a network card has them."""

  def __init__(self, mtu: int):
    self.mtu = mtu
    self.names = [f"fabric-bench-{os.getpid()}-{which}" for which in ("server", "client")]
    self.addresses = ["10.9.1.1", "10.9.1.2"]

  def __enter__(self) -> tuple[Side, Side]:
    try:
      for name in self.names:
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
      ip("link", "add", LINK, "netns", self.names[0], "type", "veth", "peer", "name", LINK, "netns", self.names[1])
      for name, address in zip(self.names, self.addresses):
        ip("-n", name, "address", "add", f"{address}/24", "dev", LINK)
        ip("-n", name, "link", "set", LINK, "mtu", str(self.mtu), "up")
      for name in self.names:
        wait_until_up(name)
    except BaseException:
      self.__exit__()
      raise
    server, client = (Side(address, cpu, ["ip", "netns", "exec", name])
                      for cpu, (name, address) in enumerate(zip(self.names, self.addresses)))
    return server, client

  def __exit__(self, *_) -> None:
    for name in self.names:
      if Path("/run/netns", name).exists():
        ip("netns", "delete", name)
