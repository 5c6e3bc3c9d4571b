"""Features of many images in one pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from hybridflow.evaluation.extractors.base import compute_features

IMAGES = np.random.default_rng(3).integers(0, 256, (23, 3, 32, 32), np.uint8)


def colours(images: torch.Tensor) -> torch.Tensor:
    """Features that are easy to check."""
    return images.float().mean((2, 3))


def test_moments_are_of_every_image_of_a_memory_map(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    moments = compute_features(images, colours, 5, "cpu", "features").moments
    expected = images.astype(np.float64).mean((2, 3))
    assert moments.count == 23
    np.testing.assert_allclose(moments.mean, expected.mean(0), rtol=1e-6)
    np.testing.assert_allclose(moments.covariance, np.cov(expected, rowvar=False), rtol=1e-4)


@pytest.mark.parametrize(("keep", "kept"), [(0, 0), (3, 3), (12, 12), (23, 23), (100, 23)])
def test_vectors_are_of_the_first_images(keep: int, kept: int) -> None:
    vectors = compute_features(IMAGES, colours, 5, "cpu", "features", keep).vectors
    assert (vectors.shape, vectors.dtype) == ((kept, 3), np.float16)
    np.testing.assert_allclose(vectors, IMAGES[:kept].mean((2, 3)), rtol=1e-3)


@pytest.mark.parametrize("images", [np.zeros((4, 3, 8, 8), np.float32), np.zeros((4, 8, 8, 3), np.uint8)])
def test_other_arrays_are_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"images must be uint8 \(N, 3, H, W\)"):
        compute_features(images, colours, 2, "cpu", "features")
