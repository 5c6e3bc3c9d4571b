"""The balance of two gradients by their norms."""

import pytest
import torch
from torch import nn

from hybridflow.training.gradient_balance import add_balanced, take_gradients


class Model(nn.Module):
    """Two shared parameters and one that only the likelihood uses."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Parameter(torch.zeros(size, dtype=torch.float64)) for size in (3, (2, 2), 4))


def drawn(seed: int, scale: float, *shapes) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


LIKELIHOOD = drawn(0, 5.0, 3, (2, 2), 4)
ADVERSARIAL = drawn(1, 1e-3, 3, (2, 2))


def norm(gradients) -> torch.Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients]).norm()


def balanced(weight: float, clip: float | None = None, adversarial=ADVERSARIAL):
    """The sum that a model ends with, and s."""
    model = Model()
    model.a.grad, model.b.grad = (gradient.clone() for gradient in adversarial)
    taken = take_gradients(model)
    assert list(taken) == ["a", "b"]
    assert all(parameter.grad is None for parameter in model.parameters())
    for parameter, gradient in zip(model.parameters(), LIKELIHOOD, strict=True):
        parameter.grad = (1 - weight) * gradient
    scale = add_balanced(model, taken, weight, clip)
    return [parameter.grad for parameter in model.parameters()], scale


@pytest.mark.parametrize("weight", [0.1, 0.5, 0.9])
def test_both_gradients_have_the_same_norm_before_the_factor(weight):
    found, scale = balanced(weight)
    added = [grad - (1 - weight) * likelihood for grad, likelihood in zip(found, LIKELIHOOD, strict=True)]
    torch.testing.assert_close(norm(added) / weight, norm(LIKELIHOOD))
    torch.testing.assert_close(scale, norm(LIKELIHOOD) / norm(ADVERSARIAL))
    for ours, theirs in zip(added, ADVERSARIAL, strict=False):
        torch.testing.assert_close(ours, weight * scale * theirs)
    assert torch.equal(added[2], torch.zeros(4, dtype=torch.float64))


def test_the_units_of_the_adversarial_loss_do_not_matter():
    found, scale = balanced(0.3)
    other, other_scale = balanced(0.3, adversarial=[1e4 * gradient for gradient in ADVERSARIAL])
    torch.testing.assert_close(other, found)
    torch.testing.assert_close(1e4 * other_scale, scale)


def test_the_clip_bounds_what_is_added():
    for clip, expected in ((2.0, 2.0), (1e9, 0.5 * norm(LIKELIHOOD).item())):
        found, scale = balanced(0.5, clip)
        added = [grad - 0.5 * likelihood for grad, likelihood in zip(found, LIKELIHOOD, strict=True)]
        assert norm(added).item() == pytest.approx(expected)
        torch.testing.assert_close(scale, norm(LIKELIHOOD) / norm(ADVERSARIAL))


def test_an_adversarial_gradient_of_zero_stays_zero_and_a_broken_one_shows():
    found, scale = balanced(0.5, adversarial=[torch.zeros_like(gradient) for gradient in ADVERSARIAL])
    assert torch.isfinite(scale)
    torch.testing.assert_close(found, [0.5 * gradient for gradient in LIKELIHOOD])
    found, _ = balanced(0.5, adversarial=[torch.full_like(gradient, torch.inf) for gradient in ADVERSARIAL])
    assert not torch.isfinite(norm(found))
