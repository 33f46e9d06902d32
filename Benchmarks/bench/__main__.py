"""Measures the polyfill, upstream's providers and raw UDP side by side.

    Scripts/bench                    everything: about ten minutes; writes docs/performance and docs/PERFORMANCE.md
    Scripts/bench --quick            fewer sizes, without `sockets`: under two minutes; writes .build/bench
    Scripts/bench --only TEXT        only tests whose network/key or title contains the text, e.g. loopback/stream
    Scripts/bench --upstream DIR     also the providers of another libfabric: DIR holds its libfabric.so.1
    Scripts/bench --report           measures nothing: tables and pictures again from the last results

Every figure is the median of rounds that alternate between the columns; client and server have a CPU each. A provider
that fails or does not end in time leaves a cell that says so. Put nothing else on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import datetime
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from . import extra, machine, plan
from .programs import BUILD, ROOT
from .results import Results
from .run import Runner, find_columns

DOCUMENTS = ROOT / "docs"
ROUNDS = 5


def parse_arguments() -> argparse.Namespace:
  parser = argparse.ArgumentParser(prog="Scripts/bench", description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--quick", action="store_true", help="fewer sizes and providers, shorter measurements")
  parser.add_argument("--only", default="", metavar="TEXT",
                      help="only tests that contain the text; `other` is what other programs measure")
  parser.add_argument("--rounds", type=int, default=0, metavar="N", help=f"{ROUNDS} by default")
  parser.add_argument("--upstream", type=Path, action="append", default=[], metavar="DIR")
  parser.add_argument("--library", type=Path, default=ROOT / "build" / "lib", metavar="DIR",
                      help="the polyfill's, build/lib by default")
  parser.add_argument("--merge", type=Path, action="append", default=[], metavar="FILE",
                      help="rows that another program wrote (see Benchmarks/bench/extra.py)")
  parser.add_argument("--report", action="store_true",
                      help="only tables and pictures, from the results.json of docs/performance or --output")
  parser.add_argument("--output", type=Path, metavar="DIR", help="where JSON and pictures go")
  arguments = parser.parse_args()
  if arguments.rounds < 0:
    parser.error("--rounds must be positive")
  return arguments


def about(arguments: argparse.Namespace, rounds: int, results: Results) -> dict:
  """What somebody needs to know who compares these figures with others."""
  commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True,
                          check=False).stdout.strip()
  words = ["Scripts/bench", *(["--quick"] if arguments.quick else []),
           *(["--only", shlex.quote(arguments.only)] if arguments.only else []),
           *(["--rounds", str(arguments.rounds)] if arguments.rounds else []),
           *(["--upstream DIR"] * len(arguments.upstream))]
  versions = dict.fromkeys(column.version for column in results.columns if column.kind == "upstream")
  return {"date": datetime.date.today().isoformat(), "command": " ".join(words), "rounds": rounds,
          **machine.description(), "commit": commit, "upstream_versions": list(versions)}


def measure(arguments: argparse.Namespace) -> tuple[Results, list[str]]:
  from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

  rounds = arguments.rounds or ROUNDS
  providers = plan.QUICK_PROVIDERS if arguments.quick else plan.UPSTREAM_PROVIDERS
  groups = plan.select(plan.quick_plan() if arguments.quick else plan.full_plan(), arguments.only)
  upstreams = [path.resolve() for path in arguments.upstream]
  results = Results(columns=find_columns(arguments.library.resolve(), upstreams, providers, groups))
  results.about = about(arguments, rounds, results)
  shown = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
           TimeRemainingColumn())
  before = machine.use()
  with Progress(*shown) as progress:
    task = progress.add_task("", total=None)
    last = ""

    def step(text: str) -> None:
      nonlocal last
      progress.update(task, advance=1, description=text)
      if not progress.console.is_terminal and text.split(": round")[0] != last:
        last = text.split(": round")[0]
        print(last, flush=True)

    runner = Runner(results, rounds, step)
    extras = [] if arguments.only not in ("", "other") else runner.extra_runs(arguments.quick)
    progress.update(task, total=runner.pairs(groups) + len(extras))
    runner.run(groups)
    runner.run_extras(extras)
  disturbance = machine.disturbance(before, machine.use())
  results.about |= {"other_programs": round(disturbance.others, 3), "stolen": round(disturbance.stolen, 3)}
  for path in arguments.merge:
    extra.merge_file(results, path)
  results.pick_variants()
  return results, [problem for problem in (disturbance.warning(), *runner.problems) if problem]


def main() -> int:
  arguments = parse_arguments()
  signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # `finally` parts delete the namespaces
  published = DOCUMENTS / "performance"
  rounds = arguments.rounds or ROUNDS
  complete = not arguments.quick and not arguments.only and rounds >= ROUNDS
  output = arguments.output or (published if complete or arguments.report else BUILD)
  problems: list[str] = []
  from . import plot, report
  if arguments.report:
    results = Results.load(output / "results.json")
  else:
    results, problems = measure(arguments)
    results.save(output / "results.json")
  charts = plot.draw(results, output)
  report.print_tables(results, problems)
  parts = {"targets": report.markdown_targets(results), "charts": report.markdown_charts(charts),
           "tables": report.markdown_tables(results)}
  if output == published:
    report.replace_between_markers(DOCUMENTS / "PERFORMANCE.md", parts)
  else:
    (output / "tables.md").write_text("\n\n".join(parts.values()) + "\n", encoding="utf-8")
  print(f"written: {os.path.relpath(output, ROOT)}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
