"""What the metrics say of images whose quality is known: a scale for distances of arbitrary unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.metrics import Metric
from hybridflow.evaluation.corruptions import LADDER, Corruption
from hybridflow.evaluation.extractors.base import Extractor, compute_features
from hybridflow.evaluation.metrics.features import Features, evaluate
from hybridflow.evaluation.metrics.frechet import MomentAccumulator

CLEAN, HALVES = "clean", "halves"
COUNTS = (1_000, 2_500, 5_000, 10_000)
"""Numbers of test images whose distances show what the number alone does."""

LADDER_IMAGES = 2_000
"""Corrupted images of each kind at most: nine kinds then cost less than two passes through the test split."""


class _Corrupted:
    """An extractor that sees every image through a corruption."""

    def __init__(self, extractor: Extractor, corruption: Corruption) -> None:
        self.extractor, self.corruption, self.seen = extractor, corruption, 0

    def __call__(self, images: Tensor) -> Tensor:
        corrupted = self.corruption.apply(images, self.seen)
        self.seen += len(images)
        return self.extractor(corrupted)


class _Remembered:
    """An extractor that keeps every vector, so that one pass serves all subsets."""

    def __init__(self, extractor: Extractor) -> None:
        self.extractor, self.batches = extractor, list[np.ndarray]()

    def __call__(self, images: Tensor) -> Tensor:
        vectors = self.extractor(images)
        self.batches.append(vectors.cpu().numpy())
        return vectors

    def features(self, start: int, stop: int, keep: int = 0) -> Features:
        """Of the images from ``start`` to before ``stop``; vectors of the first ``keep``."""
        accumulator, vectors = MomentAccumulator(), np.concatenate(self.batches)[start:stop]
        accumulator.update(vectors)
        return Features(accumulator.moments(), vectors[:keep].astype(np.float16))


def calibrate(
    metrics: Sequence[Metric],
    images: np.ndarray,
    train_images: np.ndarray,
    count: int,
    train: Features,
    extractor: Extractor,
    batch_size: int,
    device: torch.device,
    keep: int = 0,
) -> list[dict[str, Any]]:
    """Metrics of test images against the training images: of several numbers of them, and of corrupted ones.

    A distance is biased: of fewer images it is larger, even if they are real. What a perfect model would get is the
    value of as many test images. Corrupted sets are as large as a set of samples, but for :data:`LADDER_IMAGES`; the
    clean images of the same number are there, too. Metrics of vectors are measured for these two numbers only, and for
    corrupted sets. Halves are of the test images, and of as many training images, the first ones: what a network sees
    in the images that it was trained on may differ.

    Args:
        metrics: of one extractor, each compared with the training split.
        images: test split, (N, 3, H, W) uint8.
        train_images: training split, likewise.
        count: images of a set of samples.
        train: the training images' features.
        keep: feature vectors of a set, of metrics that need them.

    Returns:
        One row a set of images: ``kind`` (``clean``, ``halves`` of one split against each other, or that of a
        corruption), ``strength`` (of a corruption, else None), ``images`` (a description), ``count``,
        ``reference_count`` (all images they are compared with; some metrics see fewer:
        :attr:`~hybridflow.config.metrics.Metric.seen`), and each metric's value.
    """
    moments_alone = [metric for metric in metrics if metric.needs == "moments"]

    def row(
        kind: str, strength: int | None, name: str, chosen: Sequence[Metric], found: Features, reference: Features
    ) -> dict[str, Any]:
        counts = {"count": found.moments.count, "reference_count": reference.moments.count}
        values = {metric.name: evaluate(metric, found, reference) for metric in chosen}
        return {"kind": kind, "strength": strength, "images": name, **counts, **values}

    def look(chosen: np.ndarray, see: Callable[[Tensor], Tensor], name: str) -> Features:
        return compute_features(chosen, see, batch_size, device, f"calibration, {name}", keep)

    as_many, half = min(count, len(images)), min(len(images), len(train_images)) // 2
    steps = min(as_many, LADDER_IMAGES)
    test, training = _Remembered(extractor), _Remembered(extractor)
    look(images, test, "test images")
    look(train_images[: 2 * half], training, "training images")
    rows = []
    for number in sorted({as_many, steps, len(images), *(size for size in COUNTS if size < len(images))}):
        chosen = metrics if number in (as_many, steps) else moments_alone
        rows.append(row(CLEAN, None, "test images", chosen, test.features(0, number, keep), train))
    for split, seen in (("test", test), ("training", training)):
        parts = seen.features(0, half), seen.features(half, 2 * half)
        rows.append(row(HALVES, None, f"{split} images against as many others", moments_alone, *parts))
    for step in LADDER:
        found = look(images[:steps], _Corrupted(extractor, step), step.name)
        rows.append(row(step.kind, step.strength, step.name, metrics, found, train))
    return rows
