"""What the machine is, and whether it had anything else to do meanwhile."""

from __future__ import annotations

import os
import platform
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path


def description() -> dict:
  """What somebody needs to know who compares figures of two machines."""
  model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
  return {"cpu": model[1] if model else platform.machine(), "cpus": os.cpu_count(), "kernel": platform.release()}


@dataclass
class Use:
  """CPU seconds since the machine started: of everybody, taken by the host of a virtual machine, and of us."""

  clock: float
  busy: float
  stolen: float
  ours: float


def use() -> Use:
  words = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
  user, nice, system, _, _, interrupts, soft_interrupts, stolen = (int(word) / os.sysconf("SC_CLK_TCK")
                                                                   for word in words)
  ours = sum(usage.ru_utime + usage.ru_stime
             for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
  return Use(time.monotonic(), user + nice + system + interrupts + soft_interrupts, stolen, ours)


@dataclass
class Disturbance:
  """Shares of all CPUs that went elsewhere during the run."""

  others: float
  stolen: float

  def warning(self) -> str:
    """What to tell the user; empty where the machine was quiet."""
    if self.others < 0.03 and self.stolen < 0.01:
      return ""
    return (f"the machine was not quiet: other programs had {self.others:.0%} of its CPUs, its host took "
            f"{self.stolen:.0%}; figures of such a run mean little")


def disturbance(begin: Use, end: Use) -> Disturbance:
  available = (end.clock - begin.clock) * (os.cpu_count() or 1)
  others = (end.busy - begin.busy) - (end.ours - begin.ours)
  return Disturbance(max(0, others / available), max(0, (end.stolen - begin.stolen) / available))
