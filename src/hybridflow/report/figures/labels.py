"""Labels beside the points of a scatter plot, where they hide no point and no other label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox

SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1))
"""Where a label may be, the first choice first: right is (1, 0), above (0, 1). Diagonals miss the error bars."""

GAP = 7.0  # points between the middle of a mark and its label


def label_points(ax: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str | None]) -> None:
    """Writes a text beside every point that has one, on the side where it overlaps least and stays inside the axes.

    One after the other; an optimum is not looked for. To be called last, when the scale and the limits of the axes are
    final, in a figure that has been laid out (``figure.draw_without_rendering()``).
    """
    gap = GAP * ax.figure.dpi / 72
    pixels = ax.transData.transform(np.asarray(points, float).reshape(-1, 2))
    taken = [Bbox.from_extents(x - gap / 2, y - gap / 2, x + gap / 2, y + gap / 2) for x, y in pixels]
    inside = ax.get_window_extent()
    for point, text in zip(points, texts, strict=True):
        if text is None:
            continue
        label = ax.annotate(text, point, (0, 0), textcoords="offset points", va="center", fontsize=8, color="0.2")

        def cost(side: tuple[int, int], label=label) -> float:
            across, up = side
            label.set(position=(GAP * across, GAP * up), ha=("center", "left", "right")[across])
            box = label.get_window_extent()
            hidden = sum(_area(box, other) for other in taken)
            return hidden + box.width * box.height - _area(box, inside)

        best = min(SIDES, key=cost)
        cost(best)  # leaves the label there
        taken.append(label.get_window_extent())


def _area(a: Bbox, b: Bbox) -> float:
    common = Bbox.intersection(a, b)
    return 0.0 if common is None else common.width * common.height
