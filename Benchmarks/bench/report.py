"""Tables: on the terminal, and as Markdown between the markers of docs/PERFORMANCE.md."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .plan import KIB, METRICS, MIB, Column
from .results import Cell, Results, Row
from .targets import targets


@dataclass
class Section:
  """Rows that belong together."""

  title: str
  rows: list[Row]


SMALL = 16 * KIB  # below, the rate says more; from here on, the bandwidth


def shown(row: Row) -> bool:
  """Whether a row is in the tables; the JSON has all."""
  if row.network == "other":
    return True
  if row.metric == "rate":
    return row.size < SMALL and row.test != "cpu"
  if row.metric == "bandwidth":
    return row.size >= SMALL and row.test != "cpu"
  if row.metric == "cpu_s_per_gb":
    return row.size >= MIB
  if row.metric == "cpu_s_per_million":
    return row.size < MIB
  return row.metric in ("mean_us", "ns_per_message") or (row.network.startswith("veth") and row.metric in METRICS)


def sections(results: Results) -> Iterator[Section]:
  networks = {"loopback": "Loopback", "loopback-msg": "Loopback, FI_EP_MSG", "loopback-dgram": "Loopback, FI_EP_DGRAM",
              "veth-1500": "Two namespaces, MTU 1500", "veth-9000": "Two namespaces, MTU 9000",
              "veth-1500-loss": "Two namespaces, MTU 1500, 1 % loss",
              "veth-9000-loss": "Two namespaces, MTU 9000, 1 % loss", "other": "Scale"}
  for network, title in networks.items():
    rows = [row for row in results.rows.values() if row.network == network and shown(row)]
    if rows:
      yield Section(title, rows)


# ---- words and numbers ------------------------------------------------------------------------------------------------


def size_text(size: int) -> str:
  for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
    if size >= unit and size % unit == 0:
      return f"{size // unit} {name}"
  return f"{size} B"


def number(value: float) -> str:
  """Three significant digits."""
  if math.isnan(value):
    return ""
  if value == 0:
    return "0"
  digits = max(0, 2 - math.floor(math.log10(abs(value))))
  return f"{value:,.{digits}f}" if digits < 5 else f"{value:.2g}"


def ratio(value: float) -> str:
  return f"{number(value)}×" if not math.isnan(value) else ""


def row_title(row: Row) -> str:
  size = f", {row.size:,}" if row.network == "other" and row.size else "" if row.network == "other" else \
      f", {size_text(row.size)}"
  # A test measured in several ways says which.
  detail = f", {METRICS[row.metric].title}" if row.metric in METRICS and row.metric.endswith("_us") and \
      row.network.startswith("veth") else ""
  return f"{row.title}{size}{detail} ({row.unit})"


def cell_text(cell: Cell | None) -> str:
  if cell is None:
    return ""
  if not cell.samples:
    return "failed"
  low, high = cell.spread()
  return number(cell.median) + (f" ({number(low)}–{number(high)})" if len(cell.samples) > 1 else "")


def compared(results: Results, row: Row) -> tuple[float, float]:
  """Ours in relation to the best of upstream's and to the limit."""
  ours = row.median("polyfill")
  return ours / row.best(results.of_kind("upstream")), ours / (row.median("limit") or math.nan)


# ---- terminal ---------------------------------------------------------------------------------------------------------


def used_columns(results: Results, rows: list[Row]) -> list[Column]:
  """Those that have something to say in one of the rows."""
  return [column for column in results.columns if column.kind != "limit-detail"
          and any(cell_text(row.cells.get(column.key)) for row in rows)]


def print_tables(results: Results, problems: list[str]) -> None:
  from rich.console import Console
  from rich.markup import escape
  from rich.table import Table

  console = Console()
  if not console.is_terminal:
    console = Console(width=80 + 25 * len(results.columns))  # a file has no edge
  for section in sections(results):
    table = Table(title=section.title, title_justify="left", header_style="bold")
    columns = used_columns(results, section.rows)
    table.add_column("")
    for column in columns:
      table.add_column(column.title, justify="right")
    table.add_column("to best upstream", justify="right")
    table.add_column("to limit", justify="right")
    for row in section.rows:
      cells = [cell_text(row.cells.get(column.key)) for column in columns]
      table.add_row(*map(escape, (row_title(row), *cells, *map(ratio, compared(results, row)))))
    console.print(table)
  table = Table(title="Targets", title_justify="left", header_style="bold")
  for heading in ("", "measured", "limit", "target", ""):
    table.add_column(heading)
  colours = {"met": "green", "not met": "red", "not measured": "yellow"}
  for *cells, verdict in target_rows(results):
    table.add_row(*map(escape, cells), f"[{colours[verdict]}]{verdict}")
  console.print(table)
  for problem in problems:
    console.print("[yellow]note:[/]", escape(problem))


def target_rows(results: Results) -> list[tuple[str, str, str, str, str]]:
  rows = []
  for target in targets(results):
    unit = target.unit if target.unit == "×" else f" {target.unit}".rstrip()
    value, limit = ("" if math.isnan(figure) else f"{number(figure)}{unit}" for figure in (target.value, target.limit))
    bound = f"{'at most' if target.at_most else 'at least'} {target.bound:g}{unit} {target.how}".strip()
    rows.append((target.what, value, limit, bound, target.verdict))
  return rows


# ---- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_table(heading: list[str], rows: list[list[str]]) -> str:
  lines = [heading, ["---"] + ["---:"] * (len(heading) - 1), *rows]
  return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown_targets(results: Results) -> str:
  rows = [[*cells, f"**{verdict}**" if verdict == "not met" else verdict] for *cells, verdict in target_rows(results)]
  return f"{origin(results)}\n\n" + markdown_table(["", "measured", "limit", "target", ""], rows)


def origin(results: Results) -> str:
  about = results.about
  return (f"`{about['command']}`, {about['date']}: medians of {about['rounds']} alternating rounds on {about['cpu']}, "
          f"{about['cpus']} CPUs, Linux {about['kernel']}; polyfill {about['commit']}, "
          f"libfabric {', '.join(about['upstream_versions'])}.")


def markdown_tables(results: Results) -> str:
  parts = ["Each cell: median (lowest–highest of the rounds). Ratios are ours over theirs: of times and costs a small "
           "one is good, of rates and bandwidths a large one."]
  for section in sections(results):
    columns = used_columns(results, section.rows)
    heading = ["", *(column.title for column in columns), "to best upstream", "to limit"]
    rows = [[row_title(row), *(cell_text(row.cells.get(column.key)) for column in columns),
             *map(ratio, compared(results, row))] for row in section.rows]
    used = [index for index in range(len(heading)) if index == 0 or any(row[index] for row in rows)]
    parts += [f"### {section.title}",
              markdown_table([heading[index] for index in used], [[row[index] for index in used] for row in rows])]
  return "\n\n".join(parts)


def markdown_charts(charts: list[tuple[str, Path]]) -> str:
  return "\n\n".join(f"![{title}](performance/{path.name})" for title, path in charts)


def replace_between_markers(document: Path, parts: dict[str, str]) -> None:
  """Rewrites what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`, and nothing else."""
  text = document.read_text(encoding="utf-8")
  for name, part in parts.items():
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
      raise SystemExit(f"{document.name} has no place for {name}: {begin} … {end}")
    text = pattern.sub(lambda _, body=f"{begin}\n{part}\n{end}": body, text)
  document.write_text(text, encoding="utf-8")
