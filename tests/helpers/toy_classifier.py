"""A small classifier of images that are easy to tell apart."""

from __future__ import annotations

import numpy as np
import torch

from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.evaluation.extractors.cifar_training import train_classifier

TINY = CifarClassifierSettings(width=8, epochs=3, train_batch_size=50, lr=0.1)


def toy(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose class is a colour pattern under noise; labels int64."""
    patterns = np.random.default_rng(0).normal(size=(10, 3, 4, 4))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = 128 + 40 * patterns[labels].repeat(8, 2).repeat(8, 3) + 20 * rng.normal(size=(count, 3, 32, 32))
    return images.clip(0, 255).astype(np.uint8), labels


def train_toy(settings: CifarClassifierSettings = TINY, **options):
    """A classifier of :func:`toy` images: its state dict, and its accuracies."""
    given = dict(zip(("train_images", "train_labels"), toy(1, 320), strict=True))
    given |= dict(zip(("test_images", "test_labels"), toy(2, 100), strict=True))
    return train_classifier(**given, settings=settings, device="cpu", threads=1, label="classifier", **options)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two state dicts are bit-identical."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
