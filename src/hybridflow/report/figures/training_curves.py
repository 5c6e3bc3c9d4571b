"""Training curves: bits/dim, the discriminator's scores, the distance and the speed, against the images seen."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hybridflow.report.figures.style import figure_style, lightened, save_figure, series_colors
from hybridflow.report.histories import read_history
from hybridflow.report.stretch import stretch

MARKERS = ("o", "x")  # of the first and second quantity in a panel, for histories of a few steps
DASHES = ("-", "--", ":", "-.")
PANELS = (
    ("bits/dim of the batch", ("bpd",)),
    ("mean score D(image)", ("discriminator_real", "discriminator_fake")),
    ("mean sign of D(real) − D(fake)", ("discriminator_order",)),
    ("Fréchet distance of samples", ("distance",)),
    ("images per second", ("images_per_second",)),
)
"""Label of the axis, and columns of the history."""

WIDTH = 3.2  # inches of a panel
LIGHTEST = 0.6  # share of white in the first variant of a recipe that has several

FAR = 10  # the fastest model's speed over the slowest one's, from which on a linear axis would hide the slow ones


class TrainingCurve(NamedTuple):
    """A model's variant and recipe, its ``training.jsonl``, and whether it started from another variant's weights."""

    variant: str
    recipe: str
    history: str | Path
    further: bool = False


def draw_training_curves(outputs: Iterable[str | Path], models: Sequence[TrainingCurve]) -> None:
    """Draws the panels of :data:`PANELS`, those of models that started from others' weights in a row of their own.

    A recipe has the colour that it has in the frontier, its variants shades of it, from light to full in their order;
    all seeds of a variant look the same. A panel that no history has data for is left out. Long curves are drawn as a
    running median over faint raw values. The histories have been compared with their records.
    """
    looks = _looks(models)
    curves = [(model, read_history(model.history)) for model in models]
    panels = [(title, names) for title, names in PANELS if any(_has(curve, names[0]) for _, curve in curves)]
    rows = [row for row in ([c for c in curves if c[0].further == further] for further in (False, True)) if row]
    with figure_style():
        size = (max(4.2, WIDTH * len(panels)), 0.6 + 2.8 * len(rows))
        figure, axes = plt.subplots(len(rows), len(panels), figsize=size, squeeze=False, layout="constrained")
        for row, across in zip(rows, axes, strict=True):
            for ax, (title, names) in zip(across, panels, strict=True):
                shown = [(looks[model.variant], curve) for model, curve in row if _has(curve, names[0])]
                if shown:
                    _draw_panel(ax, title, names, shown)
                else:
                    ax.set_visible(False)
        handles = [Line2D([], [], color=color, lw=2, ls=dash, label=name) for name, (color, dash) in looks.items()]
        longest = max(len(name) for name in looks)
        fitting = max(1, int(WIDTH * len(panels) * 72 / (5 * longest + 45)))  # by the width of 8-point letters
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(looks), fitting), frameon=False)
        save_figure(figure, outputs)


def _draw_panel(
    ax: Axes, title: str, names: tuple[str, ...], curves: Sequence[tuple[tuple[object, str], pd.DataFrame]]
) -> None:
    for (color, dash), curve in curves:
        for j, name in enumerate(names):
            if _has(curve, name):
                style = DASHES[j] if len(names) > 1 else dash
                _draw_curve(ax, curve.images, curve[name], color, style, MARKERS[j])
    ax.set_xlabel("images seen")
    ax.set_ylabel(title)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(_short_number))
    if names == ("bpd",):
        _limit_bpd(ax, [curve for _, curve in curves])
    elif names == ("distance",):
        ax.margins(y=0.08)
    elif names == ("discriminator_order",):
        ax.set_ylim(min(-0.03, ax.get_ylim()[0]), 1.03)
    elif len(names) == 2:
        ax.set_ylim(-0.03, 1.03)
        few = all(len(curve) < 8 for _, curve in curves)
        kinds = zip(("real", "fake"), DASHES, MARKERS if few else ("", ""), strict=False)
        shown = [Line2D([], [], color="0.3", ls=dash, marker=mark, label=kind) for kind, dash, mark in kinds]
        ax.legend(handles=shown, loc="best", framealpha=0.9)
    else:
        medians = [curve.images_per_second.median() for _, curve in curves]  # the machine's pauses are no model's speed
        if 0 < FAR * min(medians) < max(medians):
            ax.set_yscale("log")
            ax.yaxis.set_major_formatter("{x:g}")
        else:
            ax.set_ylim(bottom=0)


def _looks(models: Sequence[TrainingCurve]) -> dict[str, tuple[object, str]]:
    """Colour and line style of every variant, recipe by recipe; styles tell recipes apart when colours repeat."""
    recipes: dict[str, dict[str, None]] = {}
    for model in models:
        recipes.setdefault(model.recipe, {})[model.variant] = None
    looks: dict[str, tuple[object, str]] = {}
    for number, (color, variants) in enumerate(zip(series_colors(len(recipes)), recipes.values(), strict=True)):
        dash = DASHES[number // 10 % len(DASHES)]
        for place, variant in enumerate(reversed(variants)):
            looks[variant] = (lightened(color, LIGHTEST * place / max(1, len(variants) - 1)), dash)
    return {variant: looks[variant] for variants in recipes.values() for variant in variants}


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
    """Cuts off the first steps of a fresh model, and stretches the axis, where one model would flatten all others."""
    top, bottom, highest = -math.inf, math.inf, -math.inf
    for curve in curves:
        bpd = curve.bpd.dropna()
        late = bpd[len(bpd) // 20 :]  # all of a short history
        top, bottom, highest = max(top, late.max()), min(bottom, bpd.min()), max(highest, bpd.max())
    if bottom > 0 and top > 4 * bottom:
        ax.set_yscale("log")
        ax.set_ylim(bottom / 1.1, top * 1.1)
    elif scale := stretch([curve.bpd.dropna().iloc[-1] for curve in curves]):
        ax.set_yscale("function", functions=(scale.forward, scale.inverse))
        low, high = scale.forward([bottom, top])
        pad = 0.05 * (high - low)
        ax.set_ylim(*scale.inverse([low - pad, high + pad]))
        ax.set_yticks(scale.ticks(*ax.get_ylim()))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.set_ylabel(f"{ax.get_ylabel()} (stretched)")
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
