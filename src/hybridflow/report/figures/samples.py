"""The sample figure (the thesis's figure 3.4): the first samples of every variant, by rising factor."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from hybridflow.data.images import load_images
from hybridflow.report.figures.style import DPI, figure_style, save_figure

PANELS_PER_ROW = (4, 3)  # the first of those that leave the fewest places empty
GAP = 2  # white pixels between two images
PANEL_WIDTH = 500  # least width of a panel, in pixels of the PNG
MARGIN = 24  # around panels, likewise


class SamplePanel(NamedTuple):
    """A variant's name, its factor, and its ``samples.npy``."""

    title: str
    factor: float
    samples: str | Path


def draw_samples(
    outputs: Iterable[str | Path],
    panels: Sequence[SamplePanel],
    rows: int = 8,
    columns: int = 8,
) -> None:
    """The first ``rows * columns`` samples of every model, side by side, by rising factor from left to right.

    Panels of equal factor keep their order; more than four wrap to further rows, of four or three.

    Raises:
        UserError: a samples file is missing, damaged or something else.
    """
    ordered = sorted(panels, key=lambda panel: panel.factor)
    grids = [tile_images(load_images(panel.samples)[: rows * columns], rows, columns) for panel in ordered]
    across = len(ordered) if len(ordered) <= 4 else min(PANELS_PER_ROW, key=lambda places: -len(ordered) % places)
    down = math.ceil(len(ordered) / across)
    # Panels are laid out in pixels, so that every image pixel becomes a whole number of pixels of the PNG.
    scale = math.ceil(PANEL_WIDTH / grids[0].shape[1])
    width, height = scale * grids[0].shape[1], scale * grids[0].shape[0]
    titles = [f"{_wrap(panel.title)}\nfactor {panel.factor:g}" for panel in ordered]
    title = 20 + 34 * max(text.count("\n") + 1 for text in titles)
    full = (MARGIN + across * (width + MARGIN), down * (title + height + MARGIN))
    with figure_style():
        figure = plt.figure(figsize=(full[0] / DPI, full[1] / DPI))
        for i, (text, grid) in enumerate(zip(titles, grids, strict=True)):
            left = MARGIN + i % across * (width + MARGIN)
            bottom = full[1] - (i // across + 1) * (title + height + MARGIN) + MARGIN
            ax = figure.add_axes((left / full[0], bottom / full[1], width / full[0], height / full[1]))
            ax.set_axis_off()
            ax.imshow(grid, interpolation="nearest", aspect="auto")
            ax.set_title(text, pad=4)
        save_figure(figure, outputs)


def _wrap(name: str) -> str:
    """Breaks a long name, so that titles of neighbouring panels stay apart."""
    return "\n".join(name[i : i + 30] for i in range(0, len(name), 30)) or name


def tile_images(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Lays images (N, 3, H, W) row by row on white: (rows * (H + gap) - gap, columns * (W + gap) - gap, 3), uint8."""
    _, channels, height, width = images.shape
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=np.uint8)
    for i, image in enumerate(images[: rows * columns]):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return canvas
