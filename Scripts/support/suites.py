"""Runs the test suites one after the other and adds up their counts: the work of Scripts/test.

A suite is a command. Most print `N passed, N failed` as their last line (see cases.py) and end with status 77 if
nothing could be tested on this machine; for the others a function here reads the counts from their output.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from cases import SKIPPED

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "build/lib/libfabric-polyfill.so"
LOGS = ROOT / "build/test"


def count_last_line(output):
  """`N passed, N failed` as the last line; None where a runner did not get that far."""
  lines = output.rstrip().splitlines()
  found = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1]) if lines else None
  return (int(found[1]), int(found[2])) if found else None


def count_swift_testing(output):
  """Tests of Swift Testing: its summary has the total, and each failed or skipped one has its own line."""
  total = re.search(r"^. Test run with (\d+) tests? .*(?:passed|failed) after", output, re.MULTILINE)
  if not total:
    return None
  failed = len(re.findall(r"^. Test (?!run with |case ).*failed after", output, re.MULTILINE))
  skipped = len(re.findall(r"^. Test .* skipped", output, re.MULTILINE))
  return int(total[1]) - failed - skipped, failed


def count_files(output):
  """One file is one test: `files: N` has the total, and complaints begin with `FILE:line:`."""
  total = re.search(r"^files: (\d+)$", output, re.MULTILINE)
  failed = set(re.findall(r"^(\S+?):\d+:", output, re.MULTILINE))
  return (int(total[1]) - len(failed), len(failed)) if total else None


@dataclass(frozen=True)
class Suite:
  """A command, how long it may take, and how its counts are read."""

  name: str
  title: str
  command: str
  minutes: float
  count: Callable = count_last_line


SWIFT_SOURCES = "find Package.swift Sources Tests -name '*.swift'"
SHELL_SOURCES = "grep -rlI -e '^#!.*bash' -e '^# shellcheck shell=bash' .ci Scripts Tests"
LINT_SWIFT = "xargs swift format lint --strict --parallel"
LINT_SHELL = "xargs shellcheck --external-sources --source-path=SCRIPTDIR --format=gcc"
SUITES = (
    Suite("build", "the shipped library builds",
          f"Scripts/build && test -e {LIBRARY} && echo 1 passed, 0 failed", 15),
    Suite("format", "swift format lint",
          f'echo "files: $({SWIFT_SOURCES} | wc -l)"; {SWIFT_SOURCES} | {LINT_SWIFT}', 3, count=count_files),
    Suite("scripts", "shellcheck",
          f'echo "files: $({SHELL_SOURCES} | wc -l)"; {SHELL_SOURCES} | {LINT_SHELL}', 1, count=count_files),
    Suite("unit", "swift test (regular mode)",
          "swift test", 15, count=count_swift_testing),
    Suite("abi", "layouts, values, symbols and versions against the facts",
          "Tests/ABITests/run.py", 5),
    Suite("behaviour", "the core calls without a C compiler, and every variable",
          "Tests/ABITests/behaviour/run.py", 3),
    Suite("swift-levels", "the Swift API in programs of each level, the README's example among them",
          "Tests/FabricLevels/run", 15),
    Suite("install", "installed, moved and drop-in trees used by C and C++ programs",
          "Tests/Install/run", 5),
    Suite("native", "beside native libraries that are missing, fail, hang or work",
          "Tests/Native/run", 5),
    Suite("plugin", "a provider that native libfabrics load",
          "Tests/Plugin/run", 5),
    Suite("cli", "the command-line tool, end to end",
          "Scripts/build --tool && Tests/CommandLine/run", 20),
    Suite("conformance", "one set of C programs on every library",
          "Scripts/conformance --library all --document build/CONFORMANCE.md", 25),
    Suite("sanitized", "the same C programs with AddressSanitizer",
          "Scripts/conformance --library polyfill --asan", 15),
    Suite("bad-network", "the same C programs where datagrams are lost, doubled, late and out of order",
          "Scripts/conformance --library polyfill --fault", 15),
    Suite("hot-path", "no allocation and no reference counting per message",
          "Tests/HotPath/run", 3),
    Suite("simulation", "seeded networks",
          "swift run -c release simulator --seeds 10000", 10),
    Suite("fuzz", "the packet parser on its corpus", "Tests/Fuzz/run", 5),
    Suite("demo", "Debian's fi_info and fi_pingpong", "Scripts/demo", 3),
    Suite("programs", "MPI libraries that somebody else built, all data checked", "Tests/Programs/run", 10),
    Suite("two-hosts", "fi_pingpong across network namespaces", "Tests/TwoHosts/run", 10),
)


@dataclass
class Result:
  """What one suite came to."""

  suite: Suite
  passed: int = 0
  failed: int = 0
  skipped: str = ""
  seconds: float = 0


def run_command(suite):
  """(status, output) of a suite's command; its output is shown as it comes and kept in build/test."""
  LOGS.mkdir(parents=True, exist_ok=True)
  lines = []
  with open(LOGS / f"{suite.name}.log", "w", encoding="utf-8") as log:
    # A session of its own, so that at the time limit the command can be ended with everything it started.
    process = subprocess.Popen(["bash", "-c", suite.command], cwd=ROOT, stdin=subprocess.DEVNULL, text=True,
                               errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               start_new_session=True)

    def stop(*_):
      os.killpg(process.pid, signal.SIGTERM)

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(int(suite.minutes * 60))
    try:
      for line in process.stdout:
        lines.append(line)
        log.write(line)
        print("  " + line, end="", flush=True)
      status = process.wait()
    except BaseException:
      stop()
      raise
    finally:
      signal.alarm(0)
  return status, "".join(lines)


def run_suite(suite):
  print(f"\n==> {suite.name}: {suite.title}", flush=True)
  started = time.monotonic()
  status, output = run_command(suite)
  result = Result(suite, seconds=time.monotonic() - started)
  if status == SKIPPED:
    result.skipped = next((line for line in output.splitlines() if line.startswith("skipped: ")), "skipped")
  if counts := suite.count(output):
    result.passed, result.failed = counts
  if status not in (0, SKIPPED) and not result.failed:
    result.failed = 1  # it failed outside of its tests
  if status == 0 and not result.passed:
    result.failed += 1  # a suite without tests proves nothing
  print(f"<== {suite.name}: {describe(result)}", flush=True)
  return result


def describe(result):
  if result.skipped:
    return result.skipped
  return f"{result.passed} passed, {result.failed} failed in {result.seconds:.0f} s"


def main():
  parser = argparse.ArgumentParser(prog="Scripts/test", description="Runs the test suites.")
  parser.add_argument("suites", nargs="*", metavar="SUITE", help="run only these (the library is built first)")
  parser.add_argument("--list", action="store_true", help="list the suites")
  arguments = parser.parse_args()
  if arguments.list:
    print("\n".join(f"{suite.name:12} {suite.title}" for suite in SUITES))
    return 0
  names = [suite.name for suite in SUITES]
  if unknown := set(arguments.suites) - set(names):
    parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(names)}")
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))

  wanted = {"build", *arguments.suites} if arguments.suites else set(names)
  results = [run_suite(suite) for suite in SUITES if suite.name in wanted]
  print("\n==> Summary (logs in build/test)")
  for result in results:
    print(f"  {result.suite.name:12} {describe(result)}")
  passed, failed = (sum(getattr(result, field) for result in results) for field in ("passed", "failed"))
  print(f"{passed} passed, {failed} failed")
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main())
