"""Adversarial losses: their formulas, and laws that hold for all of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from hybridflow.config.adversarial import LOSSES
from hybridflow.training.losses.base import AdversarialLoss
from hybridflow.training.losses.registry import build_loss

NAMES = sorted(LOSSES)


def loss(name: str) -> AdversarialLoss:
    return build_loss(LOSSES[name].settings())


def logits(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return real, fake


R, G = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64), torch.tensor([-2.0, 0.25, 1.0], dtype=torch.float64)
SP = F.softplus


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("hinge", (0.5 + 2 + 0) / 3 + (0 + 1.25 + 2) / 3, -(-2 + 0.25 + 1) / 3),
        ("least_squares", (0.25 + 4 + 4) / 6 + (4 + 0.0625 + 1) / 6, (9 + 0.5625 + 0) / 6),
        ("wasserstein", (-2 + 0.25 + 1) / 3 - (0.5 - 1 + 3) / 3, -(-2 + 0.25 + 1) / 3),
        ("relativistic", sum(SP(-(r - f)) for r, f in zip(R, G)) / 3, sum(SP(-(f - r)) for r, f in zip(R, G)) / 3),  # noqa: B905
    ],
)
def test_formulas(name, discriminator, generator):
    assert loss(name).discriminator(R, G).item() == pytest.approx(float(discriminator))
    assert loss(name).generator(G, R).item() == pytest.approx(float(generator))


@pytest.mark.parametrize("name", NAMES)
def test_both_players_pull_the_logits_apart_and_together(name):
    real, fake = (values.sigmoid().requires_grad_() for values in logits(6))
    loss(name).discriminator(real, fake).backward()
    assert (real.grad.sum() < 0) and (fake.grad.sum() > 0)  # noqa: PT018
    fake.grad = None
    loss(name).generator(fake, real.detach() if loss(name).needs_real_logits else None).backward()
    assert fake.grad.sum() < 0


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_means_over_images_and_patches(name):
    real, fake = logits(4, 9)
    for value in (loss(name).discriminator, lambda r, f: loss(name).generator(f, r)):
        each = torch.stack([value(real[:, i], fake[:, i]) for i in range(9)])
        torch.testing.assert_close(value(real, fake), each.mean())
        torch.testing.assert_close(value(real.repeat(2, 1), fake.repeat(2, 1)), value(real, fake))


@pytest.mark.parametrize("name", ["relativistic", "wasserstein"])
def test_a_loss_of_differences_scores_the_order(name):
    real, fake = logits(8)
    shifted = loss(name).discriminator(real + 5, fake + 5)
    torch.testing.assert_close(shifted, loss(name).discriminator(real, fake))
    assert loss(name).scores(R, G) == {"discriminator_order": pytest.approx(1 / 3)}
    assert loss(name).scores(fake + 9, fake)["discriminator_order"] == 1


def test_other_scores():
    assert loss("hinge").scores(R, G)["discriminator_real"] == R.mean()
    found = loss("non_saturating").scores(R, G)
    torch.testing.assert_close(found["discriminator_fake"], torch.sigmoid(G).mean())


@pytest.mark.parametrize("name", NAMES)
def test_losses_stay_finite_far_out(name):
    far = torch.tensor([1e3, -1e3])
    assert torch.isfinite(loss(name).discriminator(far, -far))
    assert torch.isfinite(loss(name).generator(far, -far))
