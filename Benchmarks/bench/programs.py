"""Builds the C programs and runs them: one pair of processes, a server and its client."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .plan import Demand

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "Benchmarks" / "Programs"
BUILD = ROOT / ".build" / "bench"
SHARED = ("bench.c",)
PROGRAMS = {"fabric_bench": ("fabric_bench.c", "fabric.c", "connection.c", "remote.c", "datagrams.c"),
            "udp_limit": ("udp_limit.c",)}


class Failed(Exception):
  """A program could not be built, started, or did not get to its end; the text is one line."""


def build(name: str, sources: tuple[str, ...] | None = None) -> Path:
  """The program, compiled where it is older than its sources.

  Headers are this project's, the library is the system's: it has the oldest symbol versions of all that the program is
  run on, so that the same file runs on each, chosen by LD_LIBRARY_PATH.
  """
  program = BUILD / "programs" / name
  program.parent.mkdir(parents=True, exist_ok=True)
  inputs = [SOURCES / source for source in (*(sources or PROGRAMS[name]), *SHARED)]
  newest = max(path.stat().st_mtime for path in (*inputs, *SOURCES.glob("*.h")))
  if program.exists() and program.stat().st_mtime > newest:
    return program
  command = [os.environ.get("CC", "gcc"), "-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include",
             "-I", SOURCES, *inputs, "-o", program, "-l:libfabric.so.1", "-lm"]
  done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
  if done.returncode:
    raise SystemExit(f"{name} does not compile:\n{done.stderr}")
  return program


def environment(extra: dict[str, str]) -> dict[str, str]:
  """Ours without what would configure a libfabric, and with `extra`."""
  kept = {name: value for name, value in os.environ.items() if not name.startswith(("FI_", "LD_"))}
  return {**kept, "LC_ALL": "C", **extra}


@dataclass
class Side:
  """Where and how one of the two processes runs."""

  address: str
  cpu: int
  prefix: list[str] = field(default_factory=list)  # `ip netns exec NAME`


@dataclass
class Outcome:
  """What a pair of processes printed, and why it ended early if it did."""

  lines: list[dict]
  failure: str = ""


def first_line(process: subprocess.Popen, deadline: float) -> str:
  while time.monotonic() < deadline:
    if select.select([process.stdout], [], [], 0.05)[0]:
      return process.stdout.readline()
    if process.poll() is not None:
      break
  return ""


def reason(log, process: subprocess.Popen, timed_out: bool) -> str:
  """One line that says why a process failed: the last that it wrote, without paths."""
  log.seek(0)
  lines = [line for line in log.read().splitlines() if line.strip()]
  if process.returncode and process.returncode < 0 and process.returncode != -signal.SIGKILL:
    lines.append(f"ended by {signal.Signals(-process.returncode).name}")
  text = lines[-1] if lines else "did not end in time" if timed_out else "no reason given"
  return re.sub(r"\S*/\S*", "…", text)[:100]


def communicate(driver: subprocess.Popen, server: subprocess.Popen, deadline: float) -> tuple[str, bool]:
  """What the client prints, and whether it had to be ended: at the deadline, or soon after its server failed."""
  while True:
    try:
      return driver.communicate(timeout=0.2)[0], False
    except subprocess.TimeoutExpired:
      if server.poll():
        deadline = min(deadline, time.monotonic() + 0.5)
      if time.monotonic() > deadline:
        driver.kill()
        return driver.communicate()[0], True


def run_pair(program: Path, arguments: list[str], server: Side, client: Side, extra: dict[str, str],
             timeout: float, fault: str = "", seed: int = 0) -> Outcome:
  """Runs the program as server, then as client, to the end of the client. No process is left behind.

  A fault is given to both, each with a seed of its own: else both would lose their n-th datagram alike.
  """
  deadline = time.monotonic() + timeout
  processes: list[subprocess.Popen] = []
  logs = []

  def start(side: Side, *more: str) -> subprocess.Popen:
    logs.append(tempfile.TemporaryFile("w+", errors="replace"))
    faults = {"FI_POLYFILL_FAULT": f"{fault},seed={2 * seed + len(processes)}"} if fault else {}
    command = [*side.prefix, str(program), "-a", side.address, "-c", str(side.cpu), *more, *arguments]
    processes.append(subprocess.Popen(command, env=environment({**extra, **faults}), stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=logs[-1], text=True, start_new_session=True))
    return processes[-1]

  try:
    announced = re.match(r"listening (\d+)\n", first_line(start(server), deadline))
    if not announced:
      processes[0].kill()
      processes[0].wait()
      return Outcome([], reason(logs[0], processes[0], True))
    driver = start(client, "-s", server.address, "-P", announced[1])
    output, timed_out = communicate(driver, processes[0], deadline)
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    if driver.returncode == 0:
      return Outcome(lines)
    with suppress(subprocess.TimeoutExpired):
      processes[0].wait(0.3)  # let it say why
    # The server's own reason comes first: the client mostly sees only that the server is gone.
    if processes[0].returncode:
      return Outcome(lines, reason(logs[0], processes[0], False))
    return Outcome(lines, reason(logs[1], driver, timed_out))
  finally:
    for process, log in zip(processes, logs):
      if process.poll() is None:
        with suppress(ProcessLookupError):
          os.killpg(process.pid, signal.SIGKILL)
      process.wait()
      process.stdout.close()
      log.close()


def probe(provider: str, extra: dict[str, str], demand: Demand) -> dict | None:
  """What a library says of a provider: its version, and whether it offers what the tests need."""
  command = [build("fabric_bench"), "-n", "-p", provider, *demand]
  try:
    done = subprocess.run(command, env=environment(extra), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=20, check=False)
  except subprocess.TimeoutExpired:
    return None
  return json.loads(done.stdout) if done.returncode == 0 else None
