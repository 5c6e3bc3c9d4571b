"""Kinds of images that a likelihood is asked about."""

import numpy as np
import pytest
import torch
from pictures import IMAGES

from hybridflow.config.generators import RealNVPSettings
from hybridflow.evaluation.likelihood import image_bounds
from hybridflow.evaluation.other_images import bits_of_images, image_kinds, smoothed
from hybridflow.models.generators.registry import build_generator


def test_every_kind_is_what_it_says() -> None:
    kinds = image_kinds(IMAGES[:40], IMAGES[40:], 20, seed=0)
    assert all(images.shape == (20, 3, 32, 32) and images.dtype == np.uint8 for images in kinds.values())
    assert np.array_equal(kinds["train"], IMAGES[:20])
    assert np.array_equal(kinds["test"], IMAGES[40:60])
    assert np.array_equal(kinds["flipped"][..., 0], kinds["test"][..., -1])
    assert (kinds["constant"] == kinds["constant"][:, :, :1, :1]).all()
    assert len(np.unique(kinds["constant"][:, :, 0, 0], axis=0)) == 20
    shares = np.bincount(kinds["noise"].ravel(), minlength=256) / kinds["noise"].size
    assert shares == pytest.approx(1 / 256, rel=0.4)
    assert kinds["smoothed"].std() < kinds["test"].std()


def test_smoothing_takes_means_and_leaves_constants() -> None:
    image = np.zeros((1, 1, 4, 4), np.uint8)
    image[0, 0, 2, 2] = 90
    assert smoothed(image)[0, 0].tolist() == [[0, 0, 0, 0], [0, 10, 10, 10], [0, 10, 10, 10], [0, 10, 10, 10]]
    assert np.array_equal(smoothed(np.full((1, 3, 4, 4), 77, np.uint8)), np.full((1, 3, 4, 4), 77))


def test_bits_are_those_of_the_bound() -> None:
    torch.manual_seed(0)
    flow = build_generator(RealNVPSettings(scales=2, width=3, blocks=1, actnorm=True)).eval()
    bits = bits_of_images(flow, IMAGES[:5], 3, seed=4)
    parts = [image_bounds(flow, torch.from_numpy(IMAGES[i:j]), 1, 4, i)[:, 0] for i, j in ((0, 3), (3, 5))]
    assert bits == pytest.approx(-torch.cat(parts).numpy() / (3072 * np.log(2)))
