"""Penalties against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hybridflow.config.adversarial import DCGANDiscriminatorSettings, PenaltySettings, RelativisticSettings
from hybridflow.models.discriminators.dcgan import DCGANDiscriminator
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.losses.penalties import (
    centring_penalty,
    finite_difference_penalty,
    interpolation_penalty,
    penalties,
    zero_centred_penalty,
)
from hybridflow.training.step import discriminator_step

SHAPE = (6, 3, 4, 4)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


W = draw(3 * 4 * 4, seed=9)


def linear(x: Tensor) -> Tensor:
    return x.flatten(1) @ W


def quadratic(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


def test_zero_centred_penalty_of_patches_is_that_of_their_mean():
    x = draw(*SHAPE).requires_grad_()
    patches = torch.stack([linear(x), 3 * linear(x)], 1)
    torch.testing.assert_close(zero_centred_penalty(patches, x, 0.7), 0.35 * 4 * W.square().sum())


def test_finite_differences_of_a_linear_function_are_the_squared_projection():
    x, noise = draw(*SHAPE), draw(*SHAPE, seed=1)
    found = finite_difference_penalty(linear, x, linear(x), noise, 0.7)
    torch.testing.assert_close(found, 0.35 * (noise.flatten(1) @ W).square().mean())


def test_finite_differences_have_the_exact_penalty_as_their_mean():
    x = draw(1, 3, 4, 4).requires_grad_()
    exact = zero_centred_penalty(quadratic(x), x, 1.0)
    many = x.detach().repeat(20_000, 1, 1, 1)
    found = finite_difference_penalty(quadratic, many, quadratic(many), draw(*many.shape, seed=1), 1.0)
    assert found.item() == pytest.approx(exact.item(), rel=0.05)


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_interpolation_penalty_wants_slope_one(scale):
    unit = W / W.norm()
    found = interpolation_penalty(
        lambda x: scale * (x.flatten(1) @ unit), draw(*SHAPE), draw(*SHAPE, seed=1), torch.rand(6, 1, 1, 1), 10.0
    )
    assert found.item() == pytest.approx(10 * (scale - 1) ** 2)


def test_interpolation_penalty_looks_between_the_pairs():
    real, fake = draw(*SHAPE), draw(*SHAPE, seed=1)
    share = torch.linspace(0, 1, 6, dtype=torch.float64).view(6, 1, 1, 1)
    x = real + share * (fake - real)
    expected = (2 * x.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(interpolation_penalty(quadratic, real, fake, share, 1.0), expected)


def test_centring_penalty_sees_the_offset_alone():
    real, fake = draw(5), draw(5, seed=1)
    torch.testing.assert_close(centring_penalty(real, -real, 3.0), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(centring_penalty(real, fake, 3.0), 3 * (real + fake).square().mean())


@pytest.mark.parametrize("finite", [False, True])
def test_penalties_add_up_and_share_one_factor(finite):
    settings = PenaltySettings(r1=1.0, r2=2.0, gradient_penalty=3.0, logit_centring=4.0, finite_differences=finite)

    def found(factor: float) -> dict[str, Tensor]:
        images = [draw(*SHAPE).requires_grad_(), draw(*SHAPE, seed=1).requires_grad_()]
        logits = [linear(x) for x in images]
        noise = GeneratorNoise(0, dtype=torch.float64)
        return penalties(settings, factor, [linear, linear], images, logits, noise)

    whole, half = found(1.0), found(0.5)
    assert list(whole) == ["gradient_penalty", "centring_penalty"]
    for name, value in whole.items():
        torch.testing.assert_close(half[name], value / 2)
    if not finite:
        expected = 1.5 * W.square().sum() + 3 * (W.norm() - 1).square()
        torch.testing.assert_close(whole["gradient_penalty"], expected)


def test_without_penalties_nothing_is_computed():
    assert penalties(PenaltySettings(), 1.0, [linear] * 2, [W] * 2, [W] * 2, None) == {}


@pytest.mark.parametrize("kind", [{}, {"finite_differences": True}])
def test_finite_differences_are_those_of_single_precision(kind):
    """bfloat16 does not resolve the step between the two images."""
    values = []
    for dtype in (None, torch.bfloat16):
        torch.manual_seed(0)
        model = DCGANDiscriminator(DCGANDiscriminatorSettings(width=4))
        settings = RelativisticSettings(penalties={"r1": 1.0, "r2": 1.0, **kind})
        images = torch.randint(0, 256, (2, 8, 3, 32, 32), generator=torch.Generator().manual_seed(0)).float()
        with network_precision(dtype):
            metrics = discriminator_step(
                model, torch.optim.SGD(model.parameters(), lr=0.0), *images, settings, noise=GeneratorNoise(0)
            )
        values.append(metrics["gradient_penalty"])
    assert torch.equal(*values) == bool(kind)
