"""Rows that other programs measure: scale, start-up, incast, allocations.

Such a program prints lines of JSON among whatever else, one for each value:

    {"name": "half round trip known=10000", "value": 4.2, "unit": "us", "least": 4.1, "most": 4.4}

A number behind `=` at the end of the name tells rows of the same name apart. `least` and `most` are there where the
program itself measured in rounds. `"better": "higher"` may be added; lower is better by default. A value of null is a
measurement that was not made. Adding a program is adding an Extra to EXTRAS.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .plan import Column
from .programs import ROOT, SOURCES, build, environment
from .results import Results

NETWORK = "other"  # the `network` of these rows
METRIC = "value"


def json_lines(output: str) -> Iterator[dict]:
  """The lines that are values."""
  for line in output.splitlines():
    if line.startswith("{") and line.rstrip().endswith("}"):
      entry = json.loads(line)
      if "name" in entry and entry.get("value") is not None:
        yield entry


def hot_path_lines(output: str) -> Iterator[dict]:
  """The cases of Tests/HotPath/run as values: heap allocations counted, functions that count references."""
  for line in output.splitlines():
    if case := re.match(r"(ok  |FAIL) heap allocations: (\w+)", line):
      counted = 0 if case[1].strip() == "ok" else 1
      yield {"name": f"heap allocations after warm-up, {case[2]}", "value": counted, "unit": "cases with any"}
    elif case := re.match(r"(ok  |FAIL) reference counting in machine code", line):
      counted = 0 if case[1].strip() == "ok" else 1
      yield {"name": "reference counting in hot functions", "value": counted, "unit": "cases with any"}


@dataclass(frozen=True)
class Extra:
  """A program of Benchmarks/Programs, compiled here and run with `-p PROVIDER`, or any command of the project."""

  name: str
  sources: tuple[str, ...] = ()  # C files besides bench.c
  command: tuple[str, ...] = ()  # instead of sources; relative to the root of the project
  arguments: tuple[str, ...] = ()
  upstream: bool = False  # whether it is run for upstream's columns too
  quick: bool = True  # whether it is part of --quick
  seconds: float = 60  # allowed for one run
  parse: Callable[[str], Iterator[dict]] = json_lines

  @property
  def exists(self) -> bool:
    return all((SOURCES / source).exists() for source in self.sources)


EXTRAS = (
    # Alternates between its cases itself, so one run is enough.
    Extra("scale", ("scale.c",), arguments=("-t", "all", "-r", "7"), quick=False),
    Extra("scale", ("scale.c",), arguments=("-t", "startup", "-r", "1"), upstream=True),
    Extra("collectives", ("collectives.c",), upstream=True),
    Extra("hot path", command=("Tests/HotPath/run",), seconds=180, quick=False, parse=hot_path_lines),
)


def add_line(results: Results, entry: dict, column: str) -> None:
  """One row's cell. Of a program's own rounds it keeps the median and the ends."""
  name, counted, number = re.fullmatch(r"(.*?)(?: (\w+)=(\d+))?", entry["name"]).groups()
  test = f"{name} {counted}" if counted else name
  unit = re.sub(r"\bus\b", "µs", entry["unit"])
  better = entry.get("better", "higher" if unit.endswith("/s") else "lower")
  cell = results.cell(NETWORK, test, test, int(number or 0), METRIC, column, unit=unit, better=better)
  cell.samples = [entry["least"], entry["value"], entry["most"]] if "least" in entry else [entry["value"]]


def run_extra(extra: Extra, column: Column, results: Results) -> str:
  """Runs it for a column; answers why it failed, or nothing."""
  command = [*extra.command, *extra.arguments]
  if extra.sources:
    command = [str(build(extra.name, extra.sources)), "-p", column.provider, *extra.arguments]
  try:
    done = subprocess.run(command, cwd=ROOT, env=environment(column.environment), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=extra.seconds, check=False)
  except subprocess.TimeoutExpired:
    return "did not end in time"
  for entry in extra.parse(done.stdout):
    add_line(results, entry, column.key)
  return f"status {done.returncode}" if done.returncode else ""


def merge_file(results: Results, path: Path) -> None:
  """Adds the values of a file with such lines, measured with the polyfill (`Scripts/bench --merge FILE`)."""
  for entry in json_lines(path.read_text(encoding="utf-8")):
    add_line(results, entry, "polyfill")
