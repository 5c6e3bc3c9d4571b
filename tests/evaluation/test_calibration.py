"""What is measured on images of known quality."""

from __future__ import annotations

import pytest
import torch
from pictures import IMAGES

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation import calibration
from hybridflow.evaluation.calibration import CLEAN, HALVES, calibrate
from hybridflow.evaluation.corruptions import LADDER
from hybridflow.evaluation.extractors.base import compute_features
from hybridflow.evaluation.metrics.frechet import frechet_distance

TRAIN = IMAGES[::-1][:50] // 2
METRICS_OF_BOTH_KINDS = [METRICS["fd_cifar"], METRICS["recall_cifar"]]


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Features that are easy to check: the mean of every quarter of an image."""
    return torch.nn.functional.avg_pool2d(images.float(), 16).flatten(1)


def test_the_rows_are_what_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "COUNTS", (10, 30, 1_000))
    monkeypatch.setattr(calibration, "LADDER_IMAGES", 16)
    train = compute_features(IMAGES, pixels, 16, "cpu", "test", 64)
    rows = calibrate(METRICS_OF_BOTH_KINDS, IMAGES, TRAIN, 20, train, pixels, 7, torch.device("cpu"), 64)
    clean = {row["count"]: row for row in rows if row["kind"] == CLEAN}
    assert list(clean) == [10, 16, 20, 30, 64]
    assert clean[64]["fd_cifar"] == pytest.approx(0, abs=1e-6)
    first = compute_features(IMAGES[:20], pixels, 16, "cpu", "test")
    assert clean[20]["fd_cifar"] == pytest.approx(frechet_distance(first.moments, train.moments), rel=1e-6)
    assert clean[20]["fd_cifar"] > 1
    assert [number for number, row in clean.items() if "recall_cifar" in row] == [16, 20]
    assert clean[20]["recall_cifar"] == 1, "they are among the reference images"

    halves = [row for row in rows if row["kind"] == HALVES]
    for row, images, split in zip(halves, (IMAGES, TRAIN), ("test", "training"), strict=True):
        parts = [compute_features(part, pixels, 16, "cpu", "test").moments for part in (images[:25], images[25:50])]
        assert row["fd_cifar"] == pytest.approx(frechet_distance(*parts), rel=1e-6)
        assert (row["count"], row["reference_count"]) == (25, 25), "the smaller split has 50"
        assert row["images"].startswith(split)
        assert "recall_cifar" not in row

    ladder = rows[-len(LADDER) :]
    assert [(row["kind"], row["strength"]) for row in ladder] == [(step.kind, step.strength) for step in LADDER]
    assert all(row["count"] == 16 and "recall_cifar" in row for row in ladder)
    for row, step in zip(ladder, LADDER, strict=True):
        corrupted = step.apply(torch.from_numpy(IMAGES[:16]), 0).numpy()
        moments = compute_features(corrupted, pixels, 16, "cpu", "test").moments
        assert row["fd_cifar"] == pytest.approx(frechet_distance(moments, train.moments), rel=1e-6)
