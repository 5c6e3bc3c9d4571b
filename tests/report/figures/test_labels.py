"""Labels of points hide nothing and stay inside the axes."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from hybridflow.report.figures.labels import label_points


def labelled(points: list[tuple[float, float]], texts: list[str]) -> Axes:
    figure, ax = plt.subplots(figsize=(4, 4))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    label_points(ax, points, texts)
    return ax


def test_a_label_is_inside_also_at_the_edges():
    ax = labelled([(0.99, 0.5), (0.01, 0.99), (0.5, 0.01)], ["2.35e-05", "long enough", "below"])
    frame = ax.get_window_extent()
    for text in ax.texts:
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1, text
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1, text
    plt.close(ax.figure)


def test_labels_of_a_crowd_hide_neither_points_nor_each_other():
    points = [(0.5, 0.5), (0.58, 0.5), (0.5, 0.58), (0.58, 0.58)]
    ax = labelled(points, ["0.5"] * 4)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    marks = ax.transData.transform(points)
    assert not any(box.contains(*mark) for box in boxes for mark in marks)
    plt.close(ax.figure)


def test_a_label_does_not_hide_a_point_that_has_none():
    points = [(0.5, 0.5), (0.54, 0.53)]
    ax = labelled(points, ["0.5", None])
    (label,) = ax.texts
    assert not label.get_window_extent().contains(*ax.transData.transform(points[1]))
    plt.close(ax.figure)


def test_nothing_to_label():
    ax = labelled([], [])
    assert not ax.texts
    plt.close(ax.figure)
