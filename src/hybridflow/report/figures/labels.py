"""Places labels beside points so that they cover neither each other nor other points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Directions to try, nearest reading position first: (dx, dy, horizontal, vertical alignment).
DIRECTIONS = (
    (1, 0, "left", "center"),
    (-1, 0, "right", "center"),
    (0, 1, "center", "bottom"),
    (0, -1, "center", "top"),
    (0.7, 0.7, "left", "bottom"),
    (-0.7, 0.7, "right", "bottom"),
    (0.7, -0.7, "left", "top"),
    (-0.7, -0.7, "right", "top"),
    (0.9, 0.4, "left", "center"),
    (0.9, -0.4, "left", "center"),
    (-0.9, 0.4, "right", "center"),
    (-0.9, -0.4, "right", "center"),
)
DISTANCES = (7, 14, 24, 36, 50, 66, 84)  # points
TEXT_WEIGHT = 20.0  # covering another label, or leaving the axes, is that much worse than covering a marker
LEADER = 14  # from this distance on a thin line connects label and point


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    labels: Sequence[str],
    *,
    obstacles: Sequence[tuple[float, float]] = (),
    marker_size: float = 10.0,
    styles: Sequence[Mapping[str, Any]] | None = None,
) -> list[Annotation]:
    """Annotates each point with its label at the nearest free place inside the axes.

    Call it last, with the limits set and the layout done: places are found in pixels.

    Args:
        axes: where the points are drawn.
        points: (x, y) in data units, one for each label.
        obstacles: further points to keep free, in data units.
        marker_size: side of the square kept free around every point, in typographic points.
        styles: text properties of each label.
    """
    figure = axes.figure
    renderer = figure.canvas.get_renderer()
    inside = axes.get_window_extent(renderer)
    half = marker_size / 2 * figure.dpi / 72
    taken = []
    for x, y in (axes.transData.transform(point) for point in (*points, *obstacles)):
        taken.append(Bbox.from_extents(x - half, y - half, x + half, y + half))
    placed: list[Annotation] = []
    texts: list[Bbox] = []
    for point, label, text in zip(points, labels, styles or [{}] * len(labels), strict=True):
        annotation = axes.annotate(label, point, (0, 0), textcoords="offset points", **text)
        best: tuple[float, int, int] | None = None
        for i, distance in enumerate(DISTANCES):
            for j in range(len(DIRECTIONS)):
                box = _move(annotation, distance, j, renderer)
                outside = box.width * box.height - _overlap(box, inside)
                covered = sum(_overlap(box, other) for other in taken)
                covered += TEXT_WEIGHT * (outside + sum(_overlap(box, other) for other in texts))
                if distance >= LEADER:
                    crossed = [_overlap(dot, other) for dot in _leader(axes, point, annotation) for other in texts]
                    covered += TEXT_WEIGHT * sum(crossed)
                if best is None or covered < best[0]:
                    best = (covered, i, j)
                if covered < 1e-6:  # free, but for rounding
                    break
            if best is not None and best[0] < 1e-6:
                break
        assert best is not None
        _, i, j = best
        if DISTANCES[i] >= LEADER:
            annotation.remove()
            line = {"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkA": 0, "shrinkB": marker_size / 2}
            annotation = axes.annotate(label, point, (0, 0), textcoords="offset points", arrowprops=line, **text)
        texts.append(_move(annotation, DISTANCES[i], j, renderer))
        if DISTANCES[i] >= LEADER:
            taken += _leader(axes, point, annotation)
        placed.append(annotation)
    return placed


def _move(annotation: Annotation, distance: float, direction: int, renderer: object) -> Bbox:
    """Puts the label at a distance (points) in a direction; returns the box of its text in pixels."""
    dx, dy, horizontal, vertical = DIRECTIONS[direction]
    annotation.set_position((dx * distance, dy * distance))
    annotation.set_horizontalalignment(horizontal)
    annotation.set_verticalalignment(vertical)
    annotation.update_positions(renderer)
    return Bbox(super(Annotation, annotation).get_window_extent(renderer).get_points())


def _leader(axes: Axes, point: tuple[float, float], annotation: Annotation) -> list[Bbox]:
    """The line from a point to its label as small boxes in pixels, without its two ends."""
    x, y = axes.transData.transform(point)
    dx, dy = (offset * axes.figure.dpi / 72 for offset in annotation.get_position())
    steps = 12
    centres = [(x + dx * k / steps, y + dy * k / steps) for k in range(2, steps - 1)]
    return [Bbox.from_extents(cx - 1, cy - 1, cx + 1, cy + 1) for cx, cy in centres]


def _overlap(a: Bbox, b: Bbox) -> float:
    """Area that two boxes share."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)
