"""Pictures made of images: panels with a title, and headings over their columns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np

from hybridflow.report.figures.samples import GAP, MARGIN, tile_images
from hybridflow.report.figures.style import DPI, figure_style, save_figure

LETTER = 11  # pixels of the PNG, at the size of the headings
LINE = 26  # likewise, between two lines of text


class ImagePanel(NamedTuple):
    """Images in rows and columns.

    Attributes:
        title: over the panel; may be empty.
        images: (rows, columns, 3, H, W) uint8.
        headings: by the column over which it begins; it reaches to the next one.
    """

    title: str
    images: np.ndarray
    headings: Mapping[int, str]


def draw_image_panels(
    outputs: Iterable[str | Path], panels: Sequence[ImagePanel], across: int = 1, scale: int = 3
) -> None:
    """Draws panels of one size, ``across`` in a row; an image pixel is ``scale`` pixels of the PNG wide."""
    rows, columns, _, side_y, side_x = panels[0].images.shape
    step = scale * (side_x + GAP)
    width, height = columns * step - scale * GAP, rows * scale * (side_y + GAP) - scale * GAP
    texts = [_headings(panel, columns, step) for panel in panels]
    lines = max((text.count("\n") + 1 for part in texts for text in part.values()), default=0)
    title = LINE * lines + (LINE + 14) * any(panel.title for panel in panels) + 6
    across = min(across, len(panels))
    down = math.ceil(len(panels) / across)
    full = (MARGIN + across * (width + MARGIN), MARGIN + down * (title + height + MARGIN))
    with figure_style():
        figure = plt.figure(figsize=(full[0] / DPI, full[1] / DPI))
        for i, (panel, headings) in enumerate(zip(panels, texts, strict=True)):
            left = MARGIN + i % across * (width + MARGIN)
            bottom = full[1] - (i // across + 1) * (title + height + MARGIN)
            ax = figure.add_axes((left / full[0], bottom / full[1], width / full[0], height / full[1]))
            ax.set_axis_off()
            grid = tile_images(panel.images.reshape(-1, 3, side_y, side_x), rows, columns)
            ax.imshow(grid, interpolation="nearest", aspect="auto")
            for column, text in headings.items():
                place = (column * step / width, 1 + 6 / height)
                ax.text(*place, text, transform=ax.transAxes, va="bottom", fontsize=7, linespacing=1.0)
            if panel.title:
                ax.text(0, 1 + (LINE * lines + 14) / height, panel.title, transform=ax.transAxes, va="bottom")
        save_figure(figure, outputs)


def _headings(panel: ImagePanel, columns: int, step: int) -> dict[int, str]:
    """The headings, broken where the next one begins."""
    ends = [*list(panel.headings)[1:], columns]
    return {
        column: textwrap.fill(text, max(3, (end - column) * step // LETTER))
        for (column, text), end in zip(panel.headings.items(), ends, strict=False)
    }
