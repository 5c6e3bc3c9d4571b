"""Determinants and inverses that are shared between layers and kept between calls."""

from __future__ import annotations

from unittest import mock

import pytest
import torch

from hybridflow.models.transforms import conv1x1
from hybridflow.models.transforms.composite import Composite
from hybridflow.models.transforms.conv1x1 import InvertibleConv1x1, shared_determinants, shared_inverses
from hybridflow.training.optim import ExponentialMovingAverage


@pytest.fixture
def layers() -> Composite:
    torch.manual_seed(0)
    return Composite(*(InvertibleConv1x1(channels) for channels in (4, 6, 4, 4))).eval()


def inverses(layers: Composite) -> list[torch.Tensor]:
    with torch.no_grad(), shared_inverses(list(layers.transforms)):
        return [layer._inverse.clone() for layer in layers.transforms]


def assert_right(layers: Composite) -> None:
    for layer, inverse in zip(layers.transforms, inverses(layers), strict=True):
        torch.testing.assert_close(inverse @ layer.weight, torch.eye(len(inverse)), atol=1e-5, rtol=0)


def test_one_call_a_size_and_one_while_weights_stay(layers: Composite) -> None:
    with mock.patch.object(conv1x1, "_inverse", wraps=conv1x1._inverse) as function:
        assert_right(layers)
        assert [tuple(call.args[0].shape) for call in function.call_args_list] == [(3, 4, 4), (1, 6, 6)]
        assert_right(layers)
        assert function.call_count == 2


@pytest.mark.parametrize("change", ["copy", "load", "average"])
def test_a_changed_weight_is_noticed(layers: Composite, change: str) -> None:
    assert_right(layers)
    other = Composite(*(InvertibleConv1x1(channels) for channels in (4, 6, 4, 4)))
    if change == "copy":
        with torch.no_grad():
            layers.transforms[2].weight.copy_(other.transforms[2].weight)
    elif change == "load":
        layers.load_state_dict(other.state_dict())
    else:
        average = ExponentialMovingAverage(layers, 0.5)
        layers.load_state_dict(other.state_dict())
        assert_right(average.average)
        average.update(0)
        layers = average.average
    assert_right(layers)


@pytest.mark.parametrize("optimizer", ["Adam", "AdamW", "Adamax"])
def test_training_never_uses_kept_values(layers: Composite, optimizer: str) -> None:
    # Fused optimisers change a weight behind the back of its version counter
    options = {} if optimizer == "Adamax" else {"fused": True}
    stepper = getattr(torch.optim, optimizer)(layers.parameters(), lr=0.1, **options)
    layers.train()
    x = torch.randn(2, 4, 3, 3)
    for _ in range(2):
        first = layers.transforms[0]
        assert_right(layers)
        with shared_determinants([first]):
            z, log_det = first(x)
        torch.testing.assert_close(log_det[0], 9 * torch.linalg.slogdet(first.weight).logabsdet)
        layers.zero_grad()
        (z.square().sum() + log_det.sum()).backward()
        stepper.step()


def test_a_training_between_two_evaluations_is_noticed(layers: Composite) -> None:
    assert_right(layers)
    optimizer = torch.optim.Adam(layers.parameters(), lr=0.1, fused=True)
    layers.train()
    with shared_inverses(list(layers.transforms)):
        sum(layer._inverse.square().sum() for layer in layers.transforms).backward()
    optimizer.step()
    layers.eval()
    assert_right(layers)


def test_gradients_pass_through_shared_values(layers: Composite) -> None:
    first = layers.transforms[0]
    with shared_determinants(list(layers.transforms)):
        _, log_det = first(torch.randn(1, 4, 3, 3))
    (gradient,) = torch.autograd.grad(log_det.sum(), first.weight)
    torch.testing.assert_close(gradient, 9 * torch.linalg.inv(first.weight.detach()).mT)
    assert first._log_abs_det is None
