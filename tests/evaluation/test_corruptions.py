"""The corruptions that give a distance a scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pictures import IMAGES

from hybridflow.evaluation.corruptions import LADDER, add_noise, average, compress


@pytest.mark.parametrize("deviation", [5, 25])
def test_noise_has_its_deviation_and_its_seed(deviation: int) -> None:
    grey = torch.full((8, 3, 32, 32), 128, dtype=torch.uint8)
    noisy = add_noise(grey, 0, deviation)
    assert noisy.dtype == torch.uint8
    assert float((noisy.float() - 128).std()) == pytest.approx(deviation, rel=0.02)
    parts = [add_noise(grey[:3], 0, deviation), add_noise(grey[3:], 3, deviation)]
    assert torch.equal(noisy, torch.cat(parts)), "whatever the batch"
    assert not torch.equal(noisy[0], noisy[1])


def test_squares_are_averaged() -> None:
    averaged = average(torch.from_numpy(IMAGES[:2]), 0, 4)
    square = IMAGES[0, 1, 4:8, 8:12].astype(float).mean()
    assert float(averaged[0, 1, 5, 10]) == pytest.approx(square, abs=0.51)
    assert torch.equal(averaged[:, :, ::4].repeat_interleave(4, 2), averaged)


def test_compression_keeps_what_is_flat_and_its_place() -> None:
    flat = torch.arange(0, 240, 20, dtype=torch.uint8).view(4, 3, 1, 1).expand(4, 3, 32, 32)
    assert (compress(flat, 0, 75).int() - flat.int()).abs().max() <= 3


def test_the_ladder_rises() -> None:
    images = torch.from_numpy(IMAGES[:32])
    errors: dict[str, list[float]] = {}
    for step in LADDER:
        corrupted = step.apply(images, 0)
        assert corrupted.shape == images.shape
        assert corrupted.dtype == torch.uint8
        errors.setdefault(step.kind, []).append(float((corrupted.float() - images).pow(2).mean()))
    assert list(errors) == ["noise", "average", "jpeg"]
    for rising in errors.values():
        assert rising[0] > 0
        assert (np.diff(rising) > 0).all()
