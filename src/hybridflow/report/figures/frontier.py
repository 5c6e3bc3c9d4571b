"""The frontier: bits/dim against every Frechet distance, a line a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hybridflow.config.metrics import METRICS
from hybridflow.report.figures.labels import label_points
from hybridflow.report.figures.style import figure_style, save_figure, series_colors
from hybridflow.report.recipes import LIKELIHOOD
from hybridflow.report.stretch import stretch

MARKERS = "osD^v<>pP"  # one fewer than colours, so that none comes back with its colour
REFERENCE = {"marker": "x", "ms": 8, "mew": 1.8, "markevery": [0], "ls": ":", "lw": 1.2}
FRONT = {"color": "0.85", "solid_capstyle": "round", "solid_joinstyle": "round"}  # a band behind the lines


def draw_frontier(outputs: Iterable[str | Path], frontier: pd.DataFrame, table: pd.DataFrame) -> None:
    """One panel a distance; points are labelled with their weight, but for those without a discriminator.

    Those on the Pareto front are filled and joined by a grey band. Every recipe's line starts at the models of
    likelihood training alone. What others report is a cross in the panel of the metric that they report, with a dotted
    line to the variant that it is of. Where one variant pays far more bits/dim than most, the axis of bits/dim is
    stretched near the lowest, and its label says so. Bars are the deviation over seeds; along a stretched axis, where
    mean − sd may be far from every seed, they reach from the lowest seed to the highest.

    Args:
        frontier: content of ``frontier.csv``.
        table: content of ``table1.csv``.
    """
    names = list(dict.fromkeys(frontier.recipe))
    recipes = dict(zip(frontier.variant, frontier.recipe, strict=True))
    looks = dict(zip(names, zip(series_colors(len(names)), MARKERS * len(names), strict=False), strict=False))
    panels = list(dict.fromkeys(frontier.metric))
    with figure_style():
        width = max(len(panels), 1)
        figure, axes = plt.subplots(1, width, figsize=(4.6 * width, 4.2), squeeze=False, layout="constrained")
        reported = False
        for ax, metric in zip(axes.flat, panels, strict=False):
            _draw_panel(ax, frontier[frontier.metric == metric], metric, looks)
            colors = {name: looks[recipe][0] for name, recipe in recipes.items()}
            reported |= _draw_references(ax, table, metric, colors)
        if panels:
            handles = [
                Line2D([], [], color=color, marker=marker, ls="" if name.startswith(LIKELIHOOD) else "-", label=name)
                for name, (color, marker) in looks.items()
            ]
            handles.append(Line2D([], [], lw=6, label="Pareto front (filled points)", **FRONT))
            if reported:
                handles.append(Line2D([], [], color="0.3", label="reported by others", **REFERENCE))
            title = f"mean ± sd over {table.seeds.max()} training seeds" if table.seeds.max() > 1 else None
            if title and any(ax.get_xscale() == "function" for ax in axes.flat):
                title += "; bars of BPD: lowest to highest"
            longest = max(len(handle.get_label()) for handle in handles)
            columns = max(1, min(int(width * 2.2), int(4.6 * width / (0.6 + 0.07 * longest))))
            figure.legend(handles=handles, title=title, loc="outside lower center", ncols=columns, frameon=False)
        else:
            axes[0, 0].set_axis_off()
            axes[0, 0].text(0.5, 0.5, "No variant has both bits/dim and a Fréchet distance.", ha="center")
        figure.draw_without_rendering()  # places of labels depend on the layout
        for ax, metric in zip(axes.flat, panels, strict=False):
            rows = frontier[frontier.metric == metric]
            texts = [f"{weight:.3g}" if weight > 0 else None for weight in rows.weight]
            label_points(ax, list(zip(rows.bpd, rows.value, strict=True)), texts)
        save_figure(figure, outputs)


def _draw_panel(ax: Axes, rows: pd.DataFrame, metric: str, looks: dict[str, Any]) -> None:
    plain, scale = rows.recipe.str.startswith(LIKELIHOOD), stretch(rows.bpd.tolist())
    front = rows[rows.on_front].sort_values("bpd")
    ax.plot(front.bpd, front.value, lw=9, zorder=0.5, label="_front", **FRONT)
    for name, points in rows.groupby("recipe", sort=False):
        color, marker = looks[str(name)]
        if not str(name).startswith(LIKELIHOOD):
            line = pd.concat([rows[plain & (rows.family == points.family.iloc[0])].head(1), points])
            ax.plot(line.bpd, line.value, color=color, lw=1.2, alpha=0.7, zorder=1)
        for row in points.itertuples(index=False):
            errors = [None if math.isnan(sd) else sd for sd in (row.bpd_sd, row.value_sd)]
            if scale and errors[0] is not None:
                errors[0] = [[row.bpd - row.bpd_min], [row.bpd_max - row.bpd]]
            fill = color if row.on_front else "white"
            shape = {"marker": marker, "ms": 8, "mec": color, "mfc": fill, "mew": 1.4, "color": color}
            ax.errorbar(row.bpd, row.value, xerr=errors[0], yerr=errors[1], elinewidth=1, capsize=2, ls="", **shape)
    ax.margins(0.14)
    ax.set(xlabel="BPD ↓ (bits/dim)", ylabel=f"{METRICS[metric].heading} ↓")
    ax.xaxis.set_major_locator(MaxNLocator(6))
    if scale:
        ax.set_xscale("function", functions=(scale.forward, scale.inverse))
        ax.margins(0.14)  # of the scale that there is now
        ax.set_xticks(scale.ticks(*ax.get_xlim()))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("BPD ↓ (bits/dim; stretched near the lowest)")


def _draw_references(ax: Axes, table: pd.DataFrame, metric: str, colors: dict[str, Any]) -> bool:
    """Crosses of what others report; returns whether there are any."""
    if f"reference_{metric}" not in table:
        return False
    known = table[table.reference_bpd.notna() & table[f"reference_{metric}"].notna()]
    for row in known.to_dict("records"):  # without a measurement there is only the cross
        bpd, value = (row["reference_bpd"], row["bpd"]), (row[f"reference_{metric}"], row[metric])
        ax.plot(bpd, value, color=colors.get(row["variant"], "0.3"), zorder=3, **REFERENCE)
    return not known.empty
