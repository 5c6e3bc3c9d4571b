"""The trade-off between density estimation and sample quality: bits/dim against every metric of the table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.figures.style import figure_style, save_figure, series_colors
from hybridflow.report.tables.columns import ARROWS

MARKERS = "osD^v<>pPX"


def draw_tradeoff(outputs: Iterable[str | Path], table: pd.DataFrame, metrics: Sequence[str]) -> None:
    """One panel per metric that was measured and is in the table; a variant has one colour and marker in all.

    What others report is a cross of the variant's colour, in the panel of the metric that they report.

    Args:
        table: content of ``table1.csv``.
        metrics: names of the chosen ones.
    """
    chosen = [METRICS[name] for name in metrics if METRICS[name].in_table]
    panels = [metric for metric in chosen if (table.bpd.notna() & table[metric.name].notna()).any()]
    markers = [MARKERS[place % len(MARKERS)] for place in range(len(table))]
    shapes = [  # an edge, and a fill that shows what is behind it
        {"ls": "", "color": color, "marker": marker, "ms": 9, "mec": color, "mfc": (*color, 0.4), "mew": 1.4}
        for color, marker in zip(series_colors(len(table)), markers, strict=True)
    ]
    with figure_style():
        width = max(len(panels), 1)
        figure, axes = plt.subplots(1, width, figsize=(4.6 * width, 4.2), squeeze=False, layout="constrained")
        reported = [_draw_panel(ax, table, metric, shapes) for ax, metric in zip(axes.flat, panels, strict=False)]
        if not panels:
            axes[0, 0].set_axis_off()
            axes[0, 0].text(0.5, 0.5, "No variant has both bits/dim and a metric of its samples.", ha="center")
        names = table.variant.where(table.bpd.notna(), table.variant + " (no bits/dim)")
        handles = [Line2D([], [], label=name, **shape) for name, shape in zip(names, shapes, strict=True)]
        if any(reported):
            handles.append(Line2D([], [], ls="", marker="x", ms=8, mew=1.8, color="0.3", label="reference"))
        if panels:
            seeds = f"mean ± sd over {table.seeds.max()} training seeds" if table.seeds.max() > 1 else None
            columns = max(1, int(4.6 * width * 72 / (5 * max(map(len, names)) + 45)))  # 8-point letters
            place = {"loc": "outside lower center", "ncols": min(len(handles), columns), "frameon": False}
            figure.legend(handles=handles, title=seeds, **place)
        save_figure(figure, outputs)


def _draw_panel(ax: Axes, table: pd.DataFrame, metric: Metric, shapes: Sequence[dict[str, Any]]) -> bool:
    """Draws one metric; returns whether it has points of others."""
    reference = f"reference_{metric.name}"
    reported = False
    for row, shape in zip(table.to_dict("records"), shapes, strict=True):
        errors = [None if math.isnan(row[name]) else row[name] for name in ("bpd_sd", f"{metric.name}_sd")]
        ax.errorbar(row["bpd"], row[metric.name], xerr=errors[0], yerr=errors[1], elinewidth=1, capsize=2, **shape)
        if not math.isnan(row.get(reference, math.nan)) and not math.isnan(row["reference_bpd"]):
            ax.plot(row["reference_bpd"], row[reference], **shape | {"marker": "x", "ms": 8, "mew": 1.8})
            reported = True
    arrow = ARROWS[metric.better]
    ax.margins(0.12)
    ax.set(xlabel="BPD ↓ (bits/dim)", ylabel=f"{metric.heading} {arrow}")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    return reported
