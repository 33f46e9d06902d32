"""The curves: latency, rate and bandwidth against message size, as SVG and PNG."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .report import size_text
from .results import Column, Results


@dataclass(frozen=True)
class Chart:
  """One picture: a metric of one test on loopback against the size."""

  name: str
  title: str
  test: str
  metric: str
  axis: str
  logarithmic: bool = True


CHARTS = (
    Chart("latency", "Half round trip", "pingpong", "mean_us", "µs"),
    Chart("rate", "Message rate, one stream", "stream", "rate", "million messages a second"),
    Chart("rate-tagged", "Message rate, one tagged stream", "stream_tagged", "rate", "million messages a second"),
    Chart("bandwidth", "Streaming bandwidth", "stream", "bandwidth", "GB/s", False),
    Chart("write", "RMA write bandwidth", "write", "bandwidth", "GB/s", False),
    Chart("read", "RMA read bandwidth", "read", "bandwidth", "GB/s", False),
)

# Colours that are told apart with any colour vision (Okabe and Ito); ours first, the limit black.
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")


def style_of(column: Column, index: int) -> dict:
  if column.kind == "limit":
    return {"color": "black", "linestyle": "--", "linewidth": 1.2}
  if column.kind == "ours":
    return {"color": COLOURS[0], "linewidth": 2.6, "marker": "o", "markersize": 5, "zorder": 3}
  return {"color": COLOURS[index % (len(COLOURS) - 1) + 1], "linewidth": 1.4, "marker": ".", "markersize": 7}


def draw(results: Results, directory: Path) -> list[tuple[str, Path]]:
  """Draws what there are at least two sizes of; answers title and SVG file of each."""
  import matplotlib
  matplotlib.use("Agg")
  matplotlib.rcParams.update({"svg.hashsalt": "fabric", "svg.fonttype": "path", "font.size": 10})
  from matplotlib import pyplot

  directory.mkdir(parents=True, exist_ok=True)
  drawn = []
  for chart in CHARTS:
    rows = sorted((row for row in results.rows.values() if (row.network, row.test, row.metric) ==
                   ("loopback", chart.test, chart.metric)), key=lambda row: row.size)
    if len(rows) < 2:
      continue
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    index = 0
    for column in results.columns:
      points = [(row.size, row.median(column.key), *row.cells[column.key].spread()) for row in rows
                if column.key in row.cells and row.cells[column.key].samples]
      if not points or column.kind == "limit-detail":
        continue
      index += column.kind == "upstream"
      sizes, medians, lows, highs = zip(*points)
      style = style_of(column, index - 1)
      axes.plot(sizes, medians, label=column.title, **style)
      axes.fill_between(sizes, lows, highs, color=style["color"], alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    if chart.logarithmic:
      axes.set_yscale("log")
      axes.yaxis.set_major_formatter("{x:g}")
    else:
      axes.set_ylim(bottom=0)
    axes.set_xticks([row.size for row in rows], [size_text(row.size) for row in rows], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("message size")
    axes.set_ylabel(chart.axis)
    axes.set_title(f"{chart.title} (loopback, two CPUs)", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    figure.tight_layout()
    path = directory / f"{chart.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=150, metadata={"Software": None})
    pyplot.close(figure)
    drawn.append((chart.title, path))
  return drawn
