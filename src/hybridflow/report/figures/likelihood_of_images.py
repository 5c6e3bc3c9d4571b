"""How likely images of several kinds are under every model: a histogram a model, and a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from hybridflow.report.figures.style import figure_style, save_figure, series_colors

LIMIT = 12.0
"""Bits/dim at which the axis ends; random levels cost 8 by the best code. What is beyond is in the last bin."""

Measured = Mapping[str, np.ndarray]
"""Bits/dim of the images of every kind; one is ``test``."""


def likelihood_table(models: Sequence[tuple[str, int, Measured]]) -> pd.DataFrame:
    """One row a model (variant, seed) and kind of image; ``more_likely`` is a share, against the median test image."""
    rows = []
    for variant, seed, kinds in models:
        median = np.median(kinds["test"])
        rows += [
            {
                "variant": variant,
                "seed": seed,
                "kind": kind,
                "images": len(bits),
                "bpd": bits.mean(),
                "bpd_sd": bits.std(ddof=1),
                "bpd_median": np.median(bits),
                "more_likely": (bits < median).mean(),
            }
            for kind, bits in kinds.items()
        ]
    return pd.DataFrame(rows)


def draw_likelihoods(outputs: Iterable[str | Path], models: Sequence[tuple[str, Measured]]) -> None:
    """A panel a model, (title, bits/dim by kind), all with one axis; every histogram is scaled to the same height."""
    across = min(3, len(models))
    down = math.ceil(len(models) / across)
    bins = np.linspace(0, LIMIT, 61)
    with figure_style():
        size = (3.2 * across, 1.9 * down + 0.6)
        figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharex=True, layout="constrained")
        for ax, (title, kinds) in zip(axes.flat, models, strict=False):
            for (kind, bits), color in zip(kinds.items(), series_colors(len(kinds)), strict=True):
                # What is not a number is beyond all limits
                shown = np.clip(np.nan_to_num(bits, nan=LIMIT), 0, LIMIT - 1e-9)
                counts, _ = np.histogram(shown, bins)
                ax.stairs(counts / counts.max(), bins, color=color, fill=True, alpha=0.3)
                ax.stairs(counts / counts.max(), bins, color=color, label=kind)
            ax.set_title(title)
            ax.set_yticks([])
        for ax in list(axes.flat)[len(models) :]:
            ax.set_axis_off()
        figure.supxlabel(f"bits/dim (right end: {LIMIT:g} and more); less is more likely", fontsize=9)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 2 * across), frameon=False)
        save_figure(figure, outputs)
