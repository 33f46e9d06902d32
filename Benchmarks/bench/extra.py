"""Rows that other programs measure: scale, start-up, incast, allocations.

Such a program prints lines of JSON among whatever else, one for each value:

    {"row": "peers", "title": "half round trip, peers known", "size": 10000, "value": 4.2, "unit": "µs",
     "better": "lower", "column": "polyfill", "metric": "mean_us"}

`row`, `value` and `unit` are required. `size` is any number that tells rows apart (peers, senders, bytes), 0 by default;
`better` is lower by default; `column` is a column's key, that of the column the program was run for by default.
Adding a program is adding an Extra to EXTRAS.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .plan import Column
from .programs import ROOT, SOURCES, build, environment
from .results import Results

NETWORK = "other"  # the `network` of these rows


@dataclass(frozen=True)
class Extra:
  """A program of Benchmarks/Programs (compiled here), or any command of the project."""

  name: str
  sources: tuple[str, ...] = ()  # C files besides bench.c
  command: tuple[str, ...] = ()  # instead of sources; relative to the root of the project
  arguments: tuple[str, ...] = ()
  quick_arguments: tuple[str, ...] | None = None  # for --quick; None: not run then
  upstream: bool = False  # whether it is run for upstream's columns too, each with `-p PROVIDER`
  rounds: int = 5
  seconds: float = 60  # allowed for one run

  @property
  def exists(self) -> bool:
    return all((SOURCES / source).exists() for source in self.sources)


EXTRAS: tuple[Extra, ...] = ()


def lines_of(output: str) -> list[dict]:
  """The lines that are rows."""
  rows = []
  for line in output.splitlines():
    if line.startswith("{") and line.rstrip().endswith("}"):
      entry = json.loads(line)
      if "row" in entry:
        rows.append(entry)
  return rows


def add_line(results: Results, entry: dict, column: str) -> None:
  """One more sample of a row."""
  results.cell(NETWORK, entry["row"], entry.get("title", entry["row"]), entry.get("size", 0),
               entry.get("metric", "value"), entry.get("column", column), unit=entry["unit"],
               better=entry.get("better", "lower")).samples.append(entry["value"])


def run_extra(extra: Extra, column: Column, quick: bool, results: Results) -> str:
  """Runs it once for a column; answers why it failed, or nothing."""
  arguments = list(extra.quick_arguments if quick and extra.quick_arguments is not None else extra.arguments)
  if extra.sources:
    program = build(extra.name, extra.sources)
    command = [str(program), "-p", column.provider, *arguments]
  else:
    command = [*extra.command, *arguments]
  try:
    done = subprocess.run(command, cwd=ROOT, env=environment(column.environment), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=extra.seconds, check=False)
  except subprocess.TimeoutExpired:
    return "did not end in time"
  for entry in lines_of(done.stdout):
    add_line(results, entry, column.key)
  return f"status {done.returncode}" if done.returncode else ""


def merge_file(results: Results, path: Path) -> None:
  """Adds the rows of a file with such lines (`Scripts/bench --merge FILE`)."""
  for entry in lines_of(path.read_text(encoding="utf-8")):
    add_line(results, entry, entry.get("column", "polyfill"))
