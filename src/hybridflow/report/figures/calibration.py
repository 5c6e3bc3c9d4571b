"""The calibration figure: what corruptions do to every Frechet distance, and what the number of images does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.calibration import CLEAN
from hybridflow.evaluation.corruptions import LADDER
from hybridflow.report.figures.style import figure_style, save_figure, series_colors

MARKERS = "osD^v<>pPX"


def draw_calibration(outputs: Iterable[str | Path], table: pd.DataFrame) -> None:
    """Two panels: each distance against strength, as a multiple of the clean images' value, and against N.

    Args:
        table: content of ``calibration.csv``.
    """
    shown = [name for name in table.columns if name in METRICS and METRICS[name].needs == "moments"]
    with figure_style():
        figure, (ladder, numbers) = plt.subplots(1, 2, figsize=(9.2, 3.8), width_ratios=(1.5, 1), layout="constrained")
        if shown:
            _draw_ladder(ladder, table, shown)
            _draw_numbers(numbers, table, shown)
            handles, labels = numbers.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=len(shown), frameon=False)
        else:
            for ax in (ladder, numbers):
                ax.set_axis_off()
            ladder.text(0.5, 0.5, "No distance was calibrated.", ha="center")
        save_figure(figure, outputs)


def _draw_ladder(ax: Axes, table: pd.DataFrame, shown: Sequence[str]) -> None:
    places = {(step.kind, step.strength): place for place, step in enumerate(LADDER)}
    corrupted = table[[key in places for key in zip(table.kind, table.strength, strict=True)]]
    clean = table[table.kind == CLEAN].set_index("count")
    for name, color, marker in zip(shown, series_colors(len(shown)), MARKERS, strict=False):
        for _, rows in corrupted.groupby("kind", sort=False):  # a line a kind: between kinds there is nothing
            x = [places[key] for key in zip(rows.kind, rows.strength, strict=True)]
            floor = clean.loc[rows["count"], name].to_numpy()
            ax.plot(x, rows[name] / floor, color=color, marker=marker, ms=5, lw=1.2)
    ax.axhline(1, color="0.4", lw=1, ls="--")
    ax.set_yscale("log")
    ax.set_xticks(range(len(LADDER)), [step.label for step in LADDER], rotation=30)
    number = corrupted["count"].max()
    ax.set(title=f"corrupted test images, N = {number:,.0f}", ylabel="distance / that of undisturbed images")


def _draw_numbers(ax: Axes, table: pd.DataFrame, shown: Sequence[str]) -> None:
    clean = table[table.kind == CLEAN]
    for name, color, marker in zip(shown, series_colors(len(shown)), MARKERS, strict=False):
        values = clean.dropna(subset=[name]).sort_values("count")
        ax.plot(values["count"], values[name], color=color, marker=marker, ms=5, lw=1.2, label=METRICS[name].heading)
    ax.set(xscale="log", yscale="log", xlabel="N", title="undisturbed test images", ylabel="distance")
    ax.set_xticks(clean["count"], [f"{number:,}" for number in clean["count"]], rotation=30)
    ax.xaxis.set_minor_formatter(NullFormatter())
