"""The trade-off of the page: an SVG panel a distance, whose points show their samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex
from matplotlib.ticker import MaxNLocator

from hybridflow.config.experiment import ReferenceSettings
from hybridflow.config.metrics import METRICS
from hybridflow.report.figures.style import series_colors
from hybridflow.report.stretch import Stretch, stretch
from hybridflow.report.tables.frontier import LIKELIHOOD

LEFT, RIGHT, TOP, BOTTOM = 50, 390, 10, 255  # of the plot in the panel's 400 x 300 units


class _Axis:
    """Maps values to a part of the panel, with ticks at round numbers or at those of a scale."""

    def __init__(self, values: Sequence[float], start: float, end: float, scale: Stretch | None = None) -> None:
        self.scale = scale
        low, high = self._place(min(values)), self._place(max(values))
        pad = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
        self.low, self.high, self.start, self.end = low - pad, high + pad, start, end
        if scale is None:
            ticks = np.round(MaxNLocator(5).tick_values(self.low, self.high), 10)
        else:
            ticks = scale.ticks(*scale.inverse([self.low, self.high]))
        self.ticks = [
            {"at": self.at(tick), "label": f"{tick:g}"} for tick in ticks if self.low <= self._place(tick) <= self.high
        ]

    def _place(self, value: float) -> float:
        return value if self.scale is None else float(self.scale.forward(value))

    def at(self, value: float) -> float:
        share = (self._place(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def recipe_colors(frontier: pd.DataFrame) -> dict[str, str]:
    """A colour for every recipe, those of the frontier figure.

    Args:
        frontier: content of ``frontier.csv``.
    """
    recipes = list(dict.fromkeys(frontier.recipe))
    return dict(zip(recipes, map(to_hex, series_colors(len(recipes))), strict=True))


def tradeoff_panels(frontier: pd.DataFrame, references: Mapping[str, ReferenceSettings]) -> list[dict[str, Any]]:
    """What the template draws, a panel a distance.

    Args:
        frontier: content of ``frontier.csv``.
        references: what others report, by variant.
    """
    colors = recipe_colors(frontier)
    return [_panel(str(name), rows, colors, references) for name, rows in frontier.groupby("metric", sort=False)]


def _panel(
    metric: str, rows: pd.DataFrame, colors: Mapping[str, str], references: Mapping[str, ReferenceSettings]
) -> dict[str, Any]:
    found = ((row, references.get(row.variant)) for row in rows.itertuples())
    reported = [(row, one.bpd, getattr(one, metric, None)) for row, one in found if one]
    reported = [(row, bpd, value) for row, bpd, value in reported if bpd is not None and value is not None]
    scale = stretch(rows.bpd.tolist())
    x = _Axis([*rows.bpd, *(bpd for _, bpd, _ in reported)], LEFT, RIGHT, scale)
    y = _Axis([*rows.value, *(value for _, _, value in reported)], BOTTOM, TOP)
    heading, digits = METRICS[metric].heading, METRICS[metric].digits
    plain = rows[rows.recipe.str.startswith(LIKELIHOOD)]
    lines = []
    for recipe, points in rows.groupby("recipe", sort=False):
        if not str(recipe).startswith(LIKELIHOOD):
            start = plain[plain.family == points.family.iloc[0]].head(1)
            line = pd.concat([start, points])
            path = " ".join(f"{x.at(row.bpd)},{y.at(row.value)}" for row in line.itertuples())
            lines.append({"points": path, "color": colors[str(recipe)]})
    points = [
        {
            "x": x.at(row.bpd),
            "y": y.at(row.value),
            "color": colors[row.recipe],
            "fill": colors[row.recipe] if row.on_front else "#fff",
            "variant": row.variant,
            "label": f"{row.variant}: BPD {row.bpd:.3f}, {heading} {row.value:.{digits}f}",
        }
        for row in rows.itertuples()
    ]
    crosses = [
        {
            "x": x.at(bpd),
            "y": y.at(value),
            "to": f"{x.at(row.bpd)},{y.at(row.value)}",
            "color": colors[row.recipe],
            "label": f"{row.variant} as others report it: BPD {bpd:g}, {heading} {value:g}",
        }
        for row, bpd, value in reported
    ]
    ticks = {"x_ticks": x.ticks, "y_ticks": y.ticks}
    return {
        "heading": heading,
        "stretched": scale is not None,
        **ticks,
        "lines": lines,
        "points": points,
        "crosses": crosses,
    }
