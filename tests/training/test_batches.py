"""Training batches as a function of the step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from trainings import CPU, IMAGES, job

from hybridflow.training.batches import FLIPPED, Batches


def without_augmentation(batch_size: int = 8):
    return job(
        Path(), batch_size=batch_size, augmentation={"horizontal_flip": False, "pad": 0, "translate": 0}
    ).variant.training


def test_every_epoch_is_a_permutation():
    numbered = np.zeros((64, 3, 32, 32), np.uint8)
    numbered[:, 0, 0, 0] = np.arange(64)
    batches = Batches(numbered, without_augmentation(), 0, CPU)
    epochs = [torch.cat([batches.training(8 * e + k)[:, 0, 0, 0] for k in range(8)]).tolist() for e in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(64))
    assert epochs[0] != epochs[1] != epochs[2]
    other = Batches(numbered, without_augmentation(), 1, CPU)
    assert torch.cat([other.training(k)[:, 0, 0, 0] for k in range(8)]).tolist() != epochs[0]


def test_the_last_incomplete_batch_is_left_out():
    numbered = np.zeros((20, 3, 32, 32), np.uint8)
    numbered[:, 0, 0, 0] = np.arange(20)
    batches = Batches(numbered, without_augmentation(), 0, CPU)
    first = torch.cat([batches.training(k)[:, 0, 0, 0] for k in range(2)]).tolist()
    assert len(set(first)) == 16


def test_batches_are_a_function_of_the_step():
    settings = job(Path()).variant.training
    one, two = Batches(IMAGES, settings, 0, CPU), Batches(IMAGES, settings, 0, CPU)
    forward = [one.training(k) for k in range(12)]
    for k in reversed(range(12)):
        assert torch.equal(two.training(k), forward[k])
    assert forward[0].dtype == torch.uint8
    assert not torch.equal(one.training(0), Batches(IMAGES, settings, 1, CPU).training(0))


def test_other_augmentation_is_of_the_same_images():
    settings = job(Path(), batch_size=8).variant.training
    batches = Batches(IMAGES, settings, 0, CPU)
    plain = Batches(IMAGES, without_augmentation(), 0, CPU).training(3)
    flipped = batches.training(3, augmentation=FLIPPED)
    assert not torch.equal(batches.training(3), flipped)
    mirrored = [torch.equal(image, other.flip(2)) for image, other in zip(flipped, plain, strict=True)]
    same = [torch.equal(image, other) for image, other in zip(flipped, plain, strict=True)]
    assert any(mirrored)
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
