"""Panels of images: pixels and headings."""

from pathlib import Path

import numpy as np
from PIL import Image

from hybridflow.report.figures.image_panels import ImagePanel, _headings, draw_image_panels
from hybridflow.report.figures.samples import MARGIN, tile_images


def test_images_are_enlarged_by_whole_pixels_without_smoothing(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 32, 32), dtype=np.uint8)
    panels = [ImagePanel("one", images, {0: "a", 1: "b"}), ImagePanel("two", images[::-1], {0: "a", 1: "b"})]
    draw_image_panels([tmp_path / "panels.png"], panels, across=2, scale=3)
    with Image.open(tmp_path / "panels.png") as image:
        picture = np.asarray(image.convert("RGB"))
    grid = tile_images(images.reshape(-1, 3, 32, 32), 2, 3).repeat(3, 0).repeat(3, 1)
    bottom = picture.shape[0] - MARGIN
    first = picture[bottom - len(grid) : bottom, MARGIN : MARGIN + grid.shape[1]]
    assert np.array_equal(first, grid)
    assert picture.shape[1] == 3 * MARGIN + 2 * grid.shape[1]


def test_a_long_heading_is_broken_before_the_next() -> None:
    panel = ImagePanel("", np.zeros((1, 4, 3, 32, 32), np.uint8), {0: "sample", 1: "cifar classifier", 3: "long-name"})
    assert _headings(panel, 4, 70) == {0: "sample", 1: "cifar\nclassifier", 3: "long-\nname"}
