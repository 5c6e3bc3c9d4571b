"""How every figure looks, and how it reaches the disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import seaborn
from matplotlib.figure import Figure

from hybridflow.io.files import atomic_path
from hybridflow.runtime.errors import UserError

matplotlib.use("Agg")  # jobs have no display

DPI = 200
SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "figure.titlesize": 11,
    "pdf.fonttype": 42,  # embeds TrueType, so that text in the PDF stays text
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
}


@contextmanager
def figure_style() -> Iterator[None]:
    """Applies the look to the figures made in the block only."""
    with plt.rc_context({**seaborn.axes_style("whitegrid"), **SETTINGS}):
        yield


def series_colors(count: int) -> list[tuple[float, float, float]]:
    """Colours that colour-blind readers can tell apart, for ten series; more repeat (line styles then differ)."""
    palette = seaborn.color_palette("colorblind", 10)
    return [palette[i % 10] for i in range(count)]


def lightened(color: tuple[float, float, float], white: float) -> tuple[float, float, float]:
    """The colour with a share of white, from 0 (none) to 1."""
    red, green, blue = (part + white * (1 - part) for part in color)
    return red, green, blue


def save_figure(figure: Figure, outputs: Iterable[str | Path]) -> None:
    """Writes the figure atomically to every path, in the format of its suffix, and closes it.

    The files hold no date, so that the same data give the same bytes.

    Raises:
        UserError: a suffix is neither .png nor .pdf.
    """
    try:
        for path in map(Path, outputs):
            if path.suffix not in (".png", ".pdf"):
                raise UserError(f"figures: {path} must end in .png or .pdf; give one of these outputs.")
            kind = path.suffix[1:]
            metadata = {"CreationDate": None} if kind == "pdf" else {}
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
    finally:
        plt.close(figure)
