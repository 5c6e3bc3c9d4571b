"""The sample figure: order of the panels, and pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from recorded import save_array

from hybridflow.report.figures.samples import GAP, MARGIN, PANEL_WIDTH, SamplePanel, draw_samples, tile_images
from hybridflow.runtime.errors import UserError


def save_flat(path: Path, level: int) -> Path:
    return save_array(path, np.full((4, 3, 32, 32), level, dtype=np.uint8))


def test_panels_are_ordered_by_factor_and_keep_their_order_when_equal(tmp_path: Path, drawn: list[Figure]) -> None:
    factors = [("c", 1.0), ("a" * 40, 0.0), ("b2", 0.5), ("b1", 0.5), ("z", 0.75)]
    panels = [SamplePanel(name, factor, save_flat(tmp_path / f"{name}.npy", 10)) for name, factor in factors]
    draw_samples([tmp_path / "figure.png", tmp_path / "figure.pdf"], panels, rows=2, columns=2)
    titles = [ax.get_title() for ax in drawn[0].axes]
    long = f"{'a' * 30}\n{'a' * 10}\nfactor 0"  # or it would reach into the next panel
    assert titles == [long, "b2\nfactor 0.5", "b1\nfactor 0.5", "z\nfactor 0.75", "c\nfactor 1"]
    corners = [ax.get_position() for ax in drawn[0].axes]
    assert corners[0].x0 < corners[1].x0 < corners[2].x0
    assert corners[3].x0 == corners[0].x0  # rows of three leave one place empty, of four three
    assert corners[3].y1 < corners[0].y0


def test_samples_are_enlarged_by_whole_pixels_without_smoothing(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    save_array(tmp_path / "s.npy", images)
    draw_samples([tmp_path / "figure.png"], [SamplePanel("a", 0.0, tmp_path / "s.npy")], rows=2, columns=2)
    with Image.open(tmp_path / "figure.png") as image:
        picture = np.asarray(image.convert("RGB"))
    grid = tile_images(images, 2, 2)
    scale = -(-PANEL_WIDTH // grid.shape[1])
    expected = grid.repeat(scale, 0).repeat(scale, 1)
    bottom = picture.shape[0] - MARGIN
    panel = picture[bottom - len(expected) : bottom, MARGIN : MARGIN + expected.shape[1]]
    assert np.array_equal(panel, expected)


def test_images_are_laid_row_by_row_on_white() -> None:
    images = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 5), np.uint8)
    grid = tile_images(images, 2, 2)
    assert grid.shape == (2 * 4 + GAP, 2 * 5 + GAP, 3)
    assert (grid[:4, 5 + GAP :] == 1).all()
    assert (grid[4 + GAP :, :5] == 2).all()
    assert (grid[4 + GAP :, 5 + GAP :] == 255).all()


def test_samples_that_are_something_else_are_refused(tmp_path: Path) -> None:
    save_array(tmp_path / "s.npy", np.zeros((4, 3, 32, 32), np.float32))
    with pytest.raises(UserError, match=r"s.npy holds float32"):
        draw_samples([tmp_path / "figure.png"], [SamplePanel("a", 0.0, tmp_path / "s.npy")])
    assert not list(tmp_path.glob("figure*"))
