"""What was measured: rows of cells, each with a sample per round, as they stand in the JSON file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from .plan import METRICS, Column


@dataclass
class Cell:
  """One column's samples of one row, a sample per round."""

  samples: list[float] = field(default_factory=list)
  failed: str = ""
  variant: str = ""  # of the raw program: which way of using UDP this was

  @property
  def median(self) -> float:
    return median(self.samples) if self.samples else math.nan

  def spread(self) -> tuple[float, float]:
    return (min(self.samples), max(self.samples)) if self.samples else (math.nan, math.nan)


@dataclass
class Row:
  """One quantity, with a cell for each column that was measured."""

  network: str
  test: str
  title: str
  size: int
  metric: str
  unit: str
  better: str
  cells: dict[str, Cell] = field(default_factory=dict)

  @property
  def key(self) -> tuple[str, str, int, str]:
    return self.network, self.test, self.size, self.metric

  def median(self, column: str) -> float:
    return self.cells[column].median if column in self.cells else math.nan

  def best(self, columns: list[str]) -> float:
    """The best median of the columns; NaN where none has one."""
    medians = [value for column in columns if not math.isnan(value := self.median(column))]
    if not medians:
      return math.nan
    return min(medians) if self.better == "lower" else max(medians)


@dataclass
class Results:
  """A whole run."""

  about: dict = field(default_factory=dict)  # date, command, machine
  columns: list[Column] = field(default_factory=list)
  rows: dict[tuple, Row] = field(default_factory=dict)

  def row(self, network: str, test: str, size: int, metric: str) -> Row | None:
    return self.rows.get((network, test, size, metric))

  def cell(self, network: str, test: str, title: str, size: int, metric: str, column: str, *, unit: str = "",
           better: str = "") -> Cell:
    """The cell, made where it is new. A metric that the plan does not know brings its unit along."""
    known = METRICS.get(metric)
    row = Row(network, test, title, size, metric, unit or (known.unit if known else ""),
              better or (known.better if known else "lower"))
    return self.rows.setdefault(row.key, row).cells.setdefault(column, Cell())

  def of_kind(self, kind: str) -> list[str]:
    return [column.key for column in self.columns if column.kind == kind]

  def pick_variants(self) -> None:
    """Fills the raw program's columns from its variants, `limit/NAME`: the best, and the ones that targets name."""
    choices = {"limit": lambda name: name != "connected", "limit-gso": lambda name: name.startswith("gso"),
               "limit-connected": lambda name: name == "connected"}
    for row in self.rows.values():
      variants = {key.removeprefix("limit/"): cell for key, cell in row.cells.items() if key.startswith("limit/")}
      for column, wanted in choices.items():
        best = row.best([f"limit/{name}" for name in variants if wanted(name)])
        for name, cell in variants.items():
          if wanted(name) and cell.median == best:
            row.cells[column] = Cell(cell.samples, cell.failed, name)
    self.share_limits()

  def share_limits(self) -> None:
    """What the raw program's stream reaches is the limit of every other way to move messages of that size."""
    for row in self.rows.values():
      if row.metric not in ("rate", "bandwidth") or row.test in ("stream", "cpu"):
        continue
      stream = self.row(row.network, "stream", row.size, row.metric)
      for column in ("limit", "limit-gso"):
        if stream and column in stream.cells:
          row.cells[column] = stream.cells[column]

  def save(self, path: Path) -> None:
    def cell(value: Cell) -> dict:
      samples = [float(f"{sample:.6g}") for sample in value.samples]
      return {name: part for name, part in {**asdict(value), "samples": samples}.items() if part}

    data = {"about": self.about,
            "columns": [{"key": column.key, "title": column.title, "kind": column.kind, "version": column.version}
                        for column in self.columns],
            "rows": [{**{name: value for name, value in vars(row).items() if name != "cells"},
                      "cells": {key: cell(value) for key, value in row.cells.items()}} for row in self.rows.values()]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

  @classmethod
  def load(cls, path: Path) -> Results:
    data = json.loads(path.read_text(encoding="utf-8"))
    results = cls(data["about"], [Column(**column) for column in data["columns"]])
    for entry in data["rows"]:
      cells = {key: Cell(**cell) for key, cell in entry.pop("cells").items()}
      row = Row(**entry, cells=cells)
      results.rows[row.key] = row
    return results
