"""Training curves: bits/dim, the discriminator's scores and the speed, against the images seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hybridflow.report.figures.style import figure_style, save_figure, series_colors
from hybridflow.report.histories import read_history

MARKERS = ("o", "x")  # of the first and second quantity in a panel, for histories of a few steps
DASHES = ("-", "--", ":", "-.")
PANELS = (
    ("bits/dim of the batch", ("bpd",)),
    ("mean score D(image)", ("discriminator_real", "discriminator_fake")),
    ("Fréchet distance of samples", ("distance",)),
    ("images per second", ("images_per_second",)),
)
"""Label of the axis, and columns of the history."""


def draw_training_curves(outputs: Iterable[str | Path], histories: Sequence[tuple[str, str | Path]]) -> None:
    """Draws the panels of :data:`PANELS`.

    A panel that no history has data for is left out. Long curves are drawn as a running median over faint raw values.

    Args:
        histories: (label, ``training.jsonl``) of every model.

    Raises:
        UserError: a history cannot be read.
    """
    curves = [(label, read_history(path)) for label, path in histories]
    panels = [(title, names) for title, names in PANELS if any(_has(curve, names[0]) for _, curve in curves)]
    colors = series_colors(len(curves))
    few = all(len(curve) < 8 for _, curve in curves)
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(max(4.2, 3.6 * len(panels)), 3.4), squeeze=False, layout="constrained"
        )
        for ax, (title, names) in zip(axes.flat, panels, strict=True):
            for i, ((_, curve), color) in enumerate(zip(curves, colors, strict=True)):
                for j, name in enumerate(names):
                    if _has(curve, name):
                        style = DASHES[j] if len(names) > 1 else DASHES[i // 10 % len(DASHES)]
                        _draw_curve(ax, curve.images, curve[name], color, style, MARKERS[j])
            ax.set_xlabel("images seen")
            ax.set_ylabel(title)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(FuncFormatter(_short_number))
            if names == ("bpd",):
                _limit_bpd(ax, [curve for _, curve in curves if _has(curve, "bpd")])
            elif len(names) == 2:
                ax.set_ylim(-0.03, 1.03)
                kinds = zip(("real", "fake"), DASHES, MARKERS if few else ("", ""), strict=False)
                shown = [Line2D([], [], color="0.3", ls=dash, marker=mark, label=kind) for kind, dash, mark in kinds]
                ax.legend(handles=shown, loc="best", framealpha=0.9)
            else:
                ax.set_ylim(bottom=0)
        handles = [
            Line2D([], [], color=color, lw=2, ls=DASHES[i // 10 % len(DASHES)], label=label)
            for i, ((label, _), color) in enumerate(zip(curves, colors, strict=True))
        ]
        longest = max(len(label) for label, _ in curves)
        fitting = max(1, int(3.6 * len(panels) * 72 / (5 * longest + 45)))  # by the width of 8-point letters
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(curves), fitting), frameon=False)
        save_figure(figure, outputs)


def _has(curve: pd.DataFrame, name: str) -> bool:
    return name in curve and bool(curve[name].notna().any())


def _draw_curve(ax: Axes, images: pd.Series, values: pd.Series, color: object, style: str, marker: str) -> None:
    known = values.notna()
    images, values = images[known], values[known]
    if len(values) >= 50:
        ax.plot(images, values, color=color, lw=0.6, alpha=0.25)
        values = values.rolling(max(3, len(values) // 40), center=True, min_periods=1).median()
    ax.plot(images, values, color=color, lw=1.4, ls=style, marker=marker if len(values) < 8 else None, ms=5)


def _limit_bpd(ax: Axes, curves: Sequence[pd.DataFrame]) -> None:
    """Cuts off the first steps of a fresh model, whose bits/dim would flatten everything after them."""
    top, bottom, highest = -math.inf, math.inf, -math.inf
    for curve in curves:
        bpd = curve.bpd.dropna()
        late = bpd[len(bpd) // 20 :]  # all of a short history
        top, bottom, highest = max(top, late.max()), min(bottom, bpd.min()), max(highest, bpd.max())
    if bottom > 0 and top > 4 * bottom:
        ax.set_yscale("log")
        ax.set_ylim(bottom / 1.1, top * 1.1)
    else:
        pad = 0.05 * (top - bottom) or 0.1
        ax.set_ylim(bottom - pad, top + pad)
    if highest > ax.get_ylim()[1]:
        ax.set_title(f"first steps are cut off (up to {highest:.3g})", fontsize=8, color="0.35")


def _short_number(value: float, _: object = None) -> str:
    """1500 -> 1.5k, 2000000 -> 2M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
