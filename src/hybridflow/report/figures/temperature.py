"""Metrics against the temperature of the samples: a panel a metric, a line a variant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from hybridflow.config.metrics import METRICS
from hybridflow.report.figures.style import figure_style, save_figure, series_colors
from hybridflow.report.tables.columns import ARROWS

MARKERS = "osD^v<>pPX"
COLUMNS = 3


def draw_temperature(outputs: Iterable[str | Path], table: pd.DataFrame, metrics: Sequence[str]) -> None:
    """Bars are standard errors over images, where the metric knows them.

    Args:
        table: content of ``temperature.csv``.
        metrics: names of those to draw.
    """
    names = list(dict.fromkeys(table.variant))
    width = max(min(len(metrics), COLUMNS), 1)
    height = max(-(-len(metrics) // width), 1)
    with figure_style():
        size = (3.6 * width, 3.0 * height + 0.5)
        figure, axes = plt.subplots(height, width, figsize=size, squeeze=False, layout="constrained")
        for ax in axes.flat[len(metrics) :]:
            ax.set_axis_off()
        for ax, metric in zip(axes.flat, metrics, strict=False):
            for place, (name, color) in enumerate(zip(names, series_colors(len(names)), strict=True)):
                rows = table[(table.metric == metric) & (table.variant == name)]
                shape = {"color": color, "marker": MARKERS[place % len(MARKERS)], "ms": 5, "lw": 1.2}
                ax.errorbar(rows.temperature, rows.value, rows.se.fillna(0), label=name, capsize=2, **shape)
            ax.set(xlabel="temperature", ylabel=f"{METRICS[metric].heading} {ARROWS[METRICS[metric].better]}")
            ax.set_xticks(sorted(table.temperature.unique()))
        if len(metrics):
            handles, labels = axes.flat[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=2 * width, frameon=False)
        save_figure(figure, outputs)
