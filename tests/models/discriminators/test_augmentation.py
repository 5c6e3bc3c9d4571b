"""Differentiable augmentation: identities, ranges, and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hybridflow.models.discriminators.augmentation import DRAWS, augment_differentiably, augmentation_draws
from hybridflow.runtime.noise import GeneratorNoise

POLICIES = ("color", "translation", "cutout")


def images(count: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand(count, 3, 32, 32, generator=generator, dtype=torch.float64) - 1


def draws(count: int = 4, **chosen: float) -> Tensor:
    """Draws in the middle of their range, but for the chosen ones."""
    names = ("brightness", "saturation", "contrast", "down", "right", "row", "column")
    return torch.tensor([chosen.get(name, 0.5) for name in names], dtype=torch.float64).repeat(count, 1)


def test_draws_are_uniform():
    found = augmentation_draws(5000, GeneratorNoise(0))
    assert found.shape == (5000, DRAWS)
    assert (found.min() >= 0) and (found.max() <= 1)  # noqa: PT018
    torch.testing.assert_close(found.mean(0), torch.full((DRAWS,), 0.5), rtol=0, atol=0.02)
    torch.testing.assert_close(found.var(0), torch.full((DRAWS,), 1 / 12), rtol=0, atol=0.005)


def test_without_policies_or_in_the_middle_of_their_range_nothing_changes():
    x = images()
    assert augment_differentiably(x, (), draws()) is x
    torch.testing.assert_close(augment_differentiably(x, ("color", "translation"), draws()), x)


def test_colour_by_hand():
    x = images()
    bright = augment_differentiably(x, ("color",), draws(brightness=1.0))
    torch.testing.assert_close(bright, x + 0.5)
    grey = augment_differentiably(x, ("color",), draws(saturation=0.0))
    torch.testing.assert_close(grey, x.mean(1, keepdim=True).expand_as(x))
    flat = augment_differentiably(x, ("color",), draws(contrast=0.0))
    mean = x.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(flat, (x - mean) / 2 + mean)


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -4), (0.5, 0), (0.99, 4), (1.0, 4), (0.7, 2)])
def test_translation_moves_whole_pixels_and_fills_with_grey(draw, shift):
    x = images()
    found = augment_differentiably(x, ("translation",), draws(down=draw))
    expected = torch.roll(x, shift, 2)
    if shift > 0:
        expected[:, :, :shift] = 0
    elif shift < 0:
        expected[:, :, shift:] = 0
    assert torch.equal(found, expected)
    across = augment_differentiably(x.mT, ("translation",), draws(right=draw))
    assert torch.equal(across, expected.mT)


@pytest.mark.parametrize(("draw", "rows"), [(0.0, range(8)), (0.5, range(8, 24)), (1.0, range(24, 32))])
def test_cutout_clears_a_square_of_half_the_side_around_its_centre(draw, rows):
    x = images()
    found = augment_differentiably(x, ("cutout",), draws(row=draw))
    expected = x.clone()
    expected[:, :, rows.start : rows.stop, 8:24] = 0
    assert torch.equal(found, expected)


def test_each_image_has_its_own_draws_and_a_policy_leaves_those_of_the_others():
    x, drawn = images(), augmentation_draws(4, GeneratorNoise(3))
    whole = augment_differentiably(x, POLICIES, drawn)
    rows = torch.cat([augment_differentiably(x[i : i + 1], POLICIES, drawn[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(whole, rows)
    moved = augment_differentiably(x, ("translation",), drawn)
    cut = augment_differentiably(x, ("translation", "cutout"), drawn)
    assert torch.equal(cut[cut != 0], moved[cut != 0])


def test_gradients_twice():
    drawn = augmentation_draws(2, GeneratorNoise(3)).double()
    small = images(2)[:, :, :8, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment_differentiably(x, POLICIES, drawn), small)
    assert torch.autograd.gradgradcheck(lambda x: augment_differentiably(x, POLICIES, drawn).square().sum(), small)
