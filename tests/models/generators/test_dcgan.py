"""The DCGAN generator: its size, its start, and the statistics of its BatchNorm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from trainings import CPU, IMAGES, TINY, job, start, take_steps

from hybridflow.config.generators import DCGANSettings
from hybridflow.models.checkpoint import load_generator
from hybridflow.models.generators.base import LikelihoodModel
from hybridflow.models.generators.registry import build_generator
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.loop import train
from hybridflow.training.state import Job

TINY_GAN = {
    "generator": {"family": "dcgan", "width": 4, "latent": 6},
    "discriminator": "dcgan",
    "adversarial_weight": 1,
    "adversarial": {"discriminator_steps": 2},
    "training": {"ema_decay": 0.9},
}


@pytest.fixture
def gan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.setitem(TINY, "variants", {"gan": TINY_GAN})
    return job(tmp_path, "gan")


@pytest.mark.parametrize(("width", "parameters"), [(64, 1_068_928), (128, 3_448_576), (48, 678_816)])
def test_parameters_and_latents(width, parameters):
    with torch.device("meta"):
        model = build_generator(DCGANSettings(width=width))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert model.latent_shapes == [(100, 1, 1)]
    assert not isinstance(model, LikelihoodModel)
    assert not hasattr(model, "encode")


def test_it_mirrors_the_discriminator_and_starts_small():
    torch.manual_seed(0)
    model = build_generator(DCGANSettings(width=16))
    layers = [layer for layer in model.net if isinstance(layer, nn.ConvTranspose2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in layers] == [(100, 64), (64, 32), (32, 16), (16, 3)]
    assert all(layer.bias is None for layer in layers)
    assert all(layer.weight.std().item() == pytest.approx(0.02, rel=0.05) for layer in layers)
    assert [type(layer) for layer in model.net][1::3] == [type(model.net[1])] * 3  # BatchNorm before each ReLU
    y = model.decode(model.draw_latents(4, GeneratorNoise(0)))
    assert y.shape == (4, 3, 32, 32)
    assert 0 < y.min() < 0.5 < y.max() < 1


def test_uniform_latents():
    model = build_generator(DCGANSettings(width=2, latent=3, uniform=True), (3, 8, 8)).eval()
    seen = []
    model.net[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    z = torch.tensor([-9.0, 0.0, 0.6745]).reshape(1, 3, 1, 1)
    model.decode([z])
    torch.testing.assert_close(seen[0].flatten(), torch.tensor([-1.0, 0.0, 0.5]), rtol=0, atol=1e-4)


def test_sides_must_halve_three_times():
    with pytest.raises(ValueError, match=r"needs sides that are multiples of 8; got \(3, 8, 12\)"):
        build_generator(DCGANSettings(width=2), (3, 8, 12))


def test_training_draws_samples_with_statistics_of_their_batch_and_keeps_them(gan):
    batches, state = start(gan)
    assert not state.generator.ready
    metrics = take_steps(gan, batches, state, 1)
    assert "bpd" not in metrics
    torch.testing.assert_close(metrics["loss"], metrics["adversarial_loss"])
    norms = [layer for layer in state.generator.net if isinstance(layer, nn.BatchNorm2d)]
    averages = [layer for layer in state.ema.average.net if isinstance(layer, nn.BatchNorm2d)]
    assert [int(norm.num_batches_tracked) for norm in norms] == [2, 2, 2]  # one of each discriminator update
    assert all((norm.running_mean != 0).all() for norm in norms)
    assert all((average.running_mean != 0).all() for average in averages)
    assert state.result.ready
    take_steps(gan, batches, state, 200)
    z = state.generator.draw_latents(256, GeneratorNoise(0))
    with torch.no_grad():
        spread = [(state.generator.train(mode).decode(z) - 0.5).std().item() for mode in (True, False)]
    assert spread[1] == pytest.approx(spread[0], rel=0.2), "running statistics are not those of its samples"


def test_a_training_has_no_likelihood_and_its_checkpoint_is_ready(gan):
    train(gan, IMAGES, CPU)
    history = [json.loads(line) for line in gan.history.read_text().splitlines()]
    assert all("bpd" not in row and row["loss"] == row["adversarial_loss"] for row in history)
    model, metadata = load_generator(gan.checkpoint)
    assert metadata["flow"]["family"] == "dcgan"
    one, batch = (model.decode([torch.ones(n, 6, 1, 1)])[0] for n in (1, 3))
    torch.testing.assert_close(one, batch)
