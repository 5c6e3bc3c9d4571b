"""The figures: generated samples (the thesis's figure 3.4), the trade-off, and the training curves.

Every function writes each of ``outputs`` (``.png`` at 200 dpi, ``.pdf``) atomically.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hybridflow.data.images import check_array
from hybridflow.report.figures.labels import label_points
from hybridflow.report.figures.style import DPI, figure_style, save_figure, series_colors
from hybridflow.report.histories import read_history
from hybridflow.report.tables.table import load_thesis, read_csv
from hybridflow.runtime.errors import UserError

PANELS_PER_ROW = 4
GAP = 2  # white pixels between two images
PANEL_WIDTH = 500  # least width of a panel of samples, in pixels of the PNG
MARGIN = 24  # around panels, likewise
HALO = [withStroke(linewidth=2.5, foreground="white")]  # keeps text legible on grid lines
MARKERS = ("o", "x")  # of the first and second quantity in a panel, for histories of a few steps
DASHES = ("-", "--", ":", "-.")


class PointLabel(NamedTuple):
    """A point's text, with the end points of its error bars, which no other label may cover."""

    point: tuple[float, float]  # (BPD, distance)
    text: str
    style: dict[str, Any]
    bars: tuple[tuple[float, float], ...] = ()


class SamplePanel(NamedTuple):
    """One panel of the sample figure: a variant's name, its factor, and its ``samples.npy``."""

    title: str
    factor: float
    samples: str | Path


def draw_samples(
    outputs: Iterable[str | Path],
    panels: Sequence[SamplePanel | tuple[str, float, str | Path]],
    rows: int = 8,
    columns: int = 8,
) -> None:
    """The first ``rows * columns`` samples of every model, side by side, by rising factor from left to right.

    Panels of equal factor keep their order; more than four wrap to further rows.

    Raises:
        UserError: there is no panel, or a samples file is not a uint8 array of shape (N, 3, H, W) with N >= 1.
    """
    if not panels:
        raise UserError("figures: there are no samples to draw; give at least one variant.")
    ordered = sorted((SamplePanel(*panel) for panel in panels), key=lambda panel: panel.factor)
    grids = [tile_images(_load_samples(panel.samples, rows * columns), rows, columns) for panel in ordered]
    across = min(len(ordered), PANELS_PER_ROW)
    down = math.ceil(len(ordered) / PANELS_PER_ROW)
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


def _wrap(name: str, width: int = 30) -> str:
    """Breaks a long name, so that titles of neighbouring panels stay apart."""
    return "\n".join(name[i : i + width] for i in range(0, len(name), width)) or name


def _load_samples(path: str | Path, count: int) -> np.ndarray:
    check_array(path)
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"figures: cannot read {path}: {error}; draw the samples again.") from None
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise UserError(
            f"figures: {path} holds {images.dtype} {images.shape}, but uint8 images of shape (N, 3, H, W) are needed; "
            "draw the samples again."
        )
    return np.asarray(images[:count])


def tile_images(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Lays images (N, 3, H, W) row by row on white: (rows * (H + gap) - gap, columns * (W + gap) - gap, 3), uint8."""
    _, channels, height, width = images.shape
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), 255, dtype=np.uint8)
    for i, image in enumerate(images[: rows * columns]):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return canvas


def draw_tradeoff(outputs: Iterable[str | Path], table: str | Path) -> None:
    """Bits/dim against Frechet distance: one panel per distance that was measured.

    The thesis's points share a panel with ours only for FID. When there is no FID of ours they have their own panel,
    because FD-CIFAR is another metric with another scale.

    Args:
        table: the CSV file of :func:`hybridflow.report.tables.table.write_csv`.

    Raises:
        UserError: the table cannot be read.
    """
    ours, thesis = read_csv(table), load_thesis()
    has_fid, has_fd = bool(ours.fid.notna().any()), bool(ours.fd_cifar.notna().any())
    panels: list[tuple[str | None, bool, str, str]] = []  # our column, with the thesis's points, y label, title
    if has_fid:
        panels.append(("fid", True, "FID ↓", "FID"))
    if has_fd:
        panels.append(("fd_cifar", False, "FD-CIFAR ↓", "FD-CIFAR (not FID)"))
    if not has_fid:
        panels.append((None, True, "FID ↓", "FID: the thesis's values only"))
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(4.6 * len(panels), 4.0), squeeze=False, layout="constrained"
        )
        pending = []
        for ax, (column, with_thesis, label, title) in zip(axes.flat, panels, strict=True):
            labelled: list[PointLabel] = []
            if column is not None:
                labelled += _scatter_ours(ax, ours, column)
            if with_thesis:
                labelled += _scatter_thesis(ax, thesis)
            ax.margins(x=0.22, y=0.15)
            ax.set(xlabel="BPD ↓ (bits/dim)", ylabel=label, title=title)
            ax.xaxis.set_major_locator(MaxNLocator(6))
            pending.append((ax, labelled))
        seeds = int(ours.seeds.max())
        ours_label = f"ours (mean ± sd of up to {seeds} seeds)" if seeds > 1 else "ours"
        handles = [Line2D([], [], ls="", marker="o", ms=7, color="0.3", label=ours_label)] * (has_fid or has_fd)
        if any(with_thesis for _, with_thesis, _, _ in panels):
            handles.append(Line2D([], [], ls="", marker="D", ms=6, mfc="none", color="0.3", label="thesis"))
        figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # labels are placed in pixels: nothing may move from here on
        for ax, labelled in pending:
            label_points(
                ax,
                [label.point for label in labelled],
                [label.text for label in labelled],
                obstacles=[tip for label in labelled for tip in label.bars],
                styles=[{"fontsize": 8, "path_effects": HALO, **label.style} for label in labelled],
            )
        save_figure(figure, outputs)


def _scatter_ours(ax: Axes, ours: pd.DataFrame, column: str) -> list[PointLabel]:
    colors = series_colors(len(ours))
    labelled = []
    for row, color in zip(ours.to_dict("records"), colors, strict=True):
        if math.isnan(row[column]):
            continue
        x, y = row["bpd"], row[column]
        dx, dy = (0.0 if math.isnan(row[name]) else row[name] for name in ("bpd_sd", f"{column}_sd"))
        bars = {"elinewidth": 1, "capsize": 2, "xerr": dx or None, "yerr": dy or None}
        ax.errorbar(x, y, fmt="o", ms=7, color=color, mec="white", mew=0.6, zorder=3, **bars)
        tips = ((x - dx, y), (x + dx, y), (x, y - dy), (x, y + dy)) if dx or dy else ()
        dark = tuple(0.65 * channel for channel in color)  # of the point's hue, and legible
        labelled.append(PointLabel((x, y), row["variant"], {"color": dark}, tips))
    return labelled


def _scatter_thesis(ax: Axes, thesis: pd.DataFrame) -> list[PointLabel]:
    ax.plot(thesis.bpd, thesis.fid, ls="", marker="D", ms=6, mfc="none", color="0.3", zorder=4)
    style = {"color": "0.35", "fontstyle": "italic"}
    texts = [f"{kind}, {factor:g}" if factor else "no discriminator" for kind, factor in thesis.iloc[:, :2].values]
    return [
        PointLabel(point, text, style)
        for point, text in zip(zip(thesis.bpd, thesis.fid, strict=True), texts, strict=True)
    ]


def draw_training(outputs: Iterable[str | Path], histories: Sequence[tuple[str, str | Path]]) -> None:
    """Training curves against the images seen: bits/dim, the discriminator's scores, images per second.

    A panel that no history has data for is left out. Long curves are drawn as a running median over faint raw values.

    Args:
        histories: (label, ``training.jsonl``) of every model.

    Raises:
        UserError: there is no history, or one cannot be read.
    """
    if not histories:
        raise UserError("figures: there is no training history to draw; give at least one variant.")
    curves = [(label, read_history(path)) for label, path in histories]
    wanted = (
        ("bits/dim of the batch", ("bpd",)),
        ("mean score D(image)", ("discriminator_real", "discriminator_fake")),
        ("images per second", ("images_per_second",)),
    )
    panels = [(title, names) for title, names in wanted if any(_has(curve, names[0]) for _, curve in curves)]
    if not panels:
        raise UserError(f"figures: {histories[0][1]} has neither 'bpd' nor another column to draw; train again.")
    colors = series_colors(len(curves))
    few = all(len(curve) < 8 for _, curve in curves)
    with figure_style():
        figure, axes = plt.subplots(
            1, len(panels), figsize=(max(4.2, 3.6 * len(panels)), 3.4), squeeze=False, layout="constrained"
        )
        for ax, (title, names) in zip(axes.flat, panels, strict=True):
            for i, ((_, curve), color) in enumerate(zip(curves, colors, strict=True)):
                for j, name in enumerate(names):
                    if _has(curve, name):
                        style = DASHES[j] if len(names) > 1 else DASHES[i // 10 % len(DASHES)]
                        _draw_curve(ax, curve.images, curve[name], color, style, MARKERS[j])
            ax.set_xlabel("images seen")
            ax.set_ylabel(title)
            ax.xaxis.set_major_locator(MaxNLocator(4))
            ax.xaxis.set_major_formatter(FuncFormatter(_short_number))
            if names == ("bpd",):
                _limit_bpd(ax, [curve for _, curve in curves if _has(curve, "bpd")])
            elif len(names) == 2:
                ax.set_ylim(-0.03, 1.03)
                kinds = zip(("real", "fake"), DASHES, MARKERS if few else ("", ""), strict=False)
                shown = [Line2D([], [], color="0.3", ls=dash, marker=mark, label=kind) for kind, dash, mark in kinds]
                ax.legend(handles=shown, loc="best", framealpha=0.9)
            else:
                ax.set_ylim(bottom=0)
        handles = [
            Line2D([], [], color=color, lw=2, ls=DASHES[i // 10 % len(DASHES)], label=label)
            for i, ((label, _), color) in enumerate(zip(curves, colors, strict=True))
        ]
        longest = max(len(label) for label, _ in curves)
        fitting = max(1, int(3.6 * len(panels) * 72 / (5 * longest + 45)))  # by the width of 8-point letters
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(curves), fitting), frameon=False)
        save_figure(figure, outputs)


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
    """Cuts off the first steps of a fresh model, whose bits/dim would flatten everything after them."""
    top, bottom, highest = -math.inf, math.inf, -math.inf
    for curve in curves:
        bpd = curve.bpd.dropna()
        late = bpd[len(bpd) // 20 :]  # all of a short history
        top, bottom, highest = max(top, late.max()), min(bottom, bpd.min()), max(highest, bpd.max())
    if bottom > 0 and top > 4 * bottom:
        ax.set_yscale("log")
        ax.set_ylim(bottom / 1.1, top * 1.1)
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
