"""Learning rate and moving average."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from torch import nn
from trainings import job

from hybridflow.config.adversarial import AnnealSettings
from hybridflow.config.training import TrainingSettings
from hybridflow.training.optim import ExponentialMovingAverage, Schedule


def test_learning_rate():
    settings = job(
        Path(), batch_size=10, epochs=3, warmup_steps=4, lr_decay=0.5, final_phase={"epochs": 1, "lr": 1e-5},
        optimizer={"name": "adam", "lr": 0.1},
    ).variant.training  # fmt: skip
    schedule = Schedule(settings, 105)
    assert (schedule.steps_per_epoch, schedule.main_steps, schedule.total_steps) == (10, 30, 40)
    rates = [schedule.learning_rate(step) for step in range(40)]
    assert rates[:5] == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1])
    assert rates[9:12] == pytest.approx([0.1, 0.05, 0.05])
    assert rates[20:30] == pytest.approx([0.025] * 10)
    assert rates[30:] == [1e-5] * 10


def test_short_schedules():
    settings = job(Path(), epochs=0.01, warmup_steps=0, final_phase={"epochs": 0}).variant.training
    schedule = Schedule(settings, 64)
    assert (schedule.total_steps, schedule.learning_rate(0)) == (1, 1e-3)


def test_moving_average():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    model[0].weight.data.fill_(1.0)
    ema = ExponentialMovingAverage(model, decay=0.4)
    model[0].weight.data.fill_(2.0)
    model[1].running_mean.fill_(10.0)
    model[1].num_batches_tracked.fill_(7)
    ema.update(0)  # decay 1/10
    assert ema.average[0].weight.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    assert ema.average[1].running_mean.item() == pytest.approx(9)
    assert ema.average[1].num_batches_tracked == 7
    ema.update(1000)  # decay 0.4
    assert ema.average[0].weight.item() == pytest.approx(0.4 * 1.9 + 0.6 * 2)
    assert model[0].weight.item() == 2
    assert not ema.average[0].weight.requires_grad
    assert model[0].weight.requires_grad


def test_a_linear_final_phase_ends_at_its_rate():
    final = {"epochs": 2, "lr": 1e-5, "shape": "linear"}
    settings = TrainingSettings(batch_size=10, epochs=3, warmup_steps=0, lr_decay=1, final_phase=final)
    schedule = Schedule(settings, 100)
    rates = [schedule.learning_rate(step) for step in range(schedule.total_steps)]
    assert rates[:30] == [1e-3] * 30
    assert rates[39] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[49] == pytest.approx(1e-5)


def test_a_warm_up_of_the_discriminator_comes_before_the_generators_schedule():
    settings = TrainingSettings(batch_size=10, epochs=2, warmup_steps=4, lr_decay=0.5)
    plain, later = Schedule(settings, 105), Schedule(settings, 105, discriminator_warmup=7)
    assert later.total_steps == plain.total_steps + 7
    assert [later.learning_rate(step) for step in range(7)] == [0] * 7
    for step in range(plain.total_steps):
        assert later.learning_rate(step + 7) == plain.learning_rate(step)


@pytest.mark.parametrize(("shape", "middle"), [("linear", 0.6), ("cosine", 0.6)])
def test_a_change_goes_from_one_to_its_end(shape, middle):
    schedule = Schedule(TrainingSettings(batch_size=1, epochs=2, final_phase={"epochs": 0}), 50)
    anneal = AnnealSettings(shape=shape, to=0.2)
    values = [schedule.annealed(anneal, step) for step in range(101)]
    assert (values[0], values[50], values[100]) == (1, pytest.approx(middle), pytest.approx(0.2))
    assert values == sorted(values, reverse=True)
    quarter = 0.8 if shape == "linear" else 1 - 0.8 * (1 - math.cos(math.pi / 4)) / 2
    assert values[25] == pytest.approx(quarter)
    assert schedule.annealed(None, 70) == 1
