"""Normalisation of the gradient on samples."""

from __future__ import annotations

import pytest
import torch
from trainings import job, start, take_steps

from hybridflow.training.gradient_normalisation import GradientNormalisation


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e3])
def test_a_constant_gradient_gets_the_norm_of_a_mean_from_the_first_step_on(scale):
    gradient = scale * torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    normalise = GradientNormalisation()
    for _ in range(5):
        found = normalise(gradient)
        assert found.norm().item() == pytest.approx(gradient.numel() ** -0.5, rel=1e-3)
        torch.testing.assert_close(found / found.norm(), gradient / gradient.norm())


def test_the_size_is_the_running_mean_of_the_paper_without_its_bias():
    normalise, v = GradientNormalisation(), 0.0
    for t, norm in enumerate((1.0, 3.0, 0.5), 1):
        gradient = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
        gradient[0, 0, 0, 0] = norm
        v = 0.9 * v + 0.1 * 8 * norm**2
        expected = norm / ((v / (1 - 0.9**t)) ** 0.5 + 1e-8)
        assert normalise(gradient).sum().item() == pytest.approx(expected, rel=1e-12)


def test_no_gradient_stays_none():
    assert GradientNormalisation()(torch.zeros(1, 3, 2, 2)).abs().max() == 0


def test_its_state_is_saved(tmp_path):
    work = job(tmp_path, "everything")
    batches, state = start(work)
    take_steps(work, batches, state, 5)
    saved = state.state_dict()
    assert saved["gradient_normalisation"]["updates"] == 2
    assert saved["gradient_normalisation"]["square"] > 0
    _, other = start(work)
    other.load_state_dict(saved | {"sums": {}, "history": ""}, torch.device("cpu"))
    assert other.gradient_normalisation.square == state.gradient_normalisation.square
