"""One step of a training: its gradients, its updates, and that it never waits for the device."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from trainings import HostReads, job, start, take_steps

from hybridflow.config.adversarial import NonSaturatingSettings
from hybridflow.models.discriminators.augmentation import augment_differentiably
from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import FLIPPED, Batches
from hybridflow.training.losses.penalties import penalties
from hybridflow.training.state import Job, State
from hybridflow.training.step import adversarial_backward, discriminator_step, likelihood_backward, training_step

PLAIN = NonSaturatingSettings()


def prepared(tmp_path: Path, name: str = "hybrid", **training) -> tuple[Job, Batches, State]:
    """A training after two steps, away from its zero initialisation."""
    work = job(tmp_path, name, **training)
    batches, state = start(work)
    take_steps(work, batches, state, 2)
    return work, batches, state


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def latents(flow, count: int = 8):
    return flow.draw_latents(count, GeneratorNoise(0))


def test_only_the_likelihood_pass_moves_running_statistics(tmp_path):
    _, batches, state = prepared(tmp_path)
    flow = state.generator.train()
    before = {name: buffer.clone() for name, buffer in flow.named_buffers()}
    adversarial_backward(flow, state.discriminator, PLAIN, latents(flow), None, 0.5)
    assert all(torch.equal(buffer, before[name]) for name, buffer in flow.named_buffers())
    assert flow.training
    likelihood_backward(flow, batches.training(0), GeneratorNoise(1), 0.5)
    moved = [name for name, buffer in flow.named_buffers() if not torch.equal(buffer, before[name])]
    assert any(name.endswith("running_mean") for name in moved)


def test_adversarial_gradient_reaches_all_that_sampling_uses(tmp_path):
    _, _, state = prepared(tmp_path)
    flow, discriminator = state.generator.train(), state.discriminator
    flow.zero_grad()
    discriminator.zero_grad()
    _, levels, _ = adversarial_backward(flow, discriminator, PLAIN, latents(flow), None, 0.5)
    assert torch.equal(levels, levels.round())
    assert levels.min() >= 0
    assert levels.max() <= 255
    for name, parameter in flow.named_parameters():
        used = not (name.startswith("dequantization.") or ".augments." in name)
        got = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        assert got == used, name
    assert all(p.grad is None and p.requires_grad for p in discriminator.parameters())


def test_adversarial_weight_scales_its_gradient_and_the_clip_bounds_it(tmp_path):
    _, _, state = prepared(tmp_path)
    flow, drawn = state.generator.train(), latents(state.generator)
    found = {}
    for weight, clip in ((0.25, None), (0.5, None), (0.5, 1e-3)):
        flow.zero_grad()
        settings = NonSaturatingSettings(gradient_clip=clip)
        adversarial_backward(flow, state.discriminator, settings, drawn, None, weight)
        found[weight, clip] = gradients(flow)
    for name, gradient in found[0.5, None].items():
        torch.testing.assert_close(gradient, 2 * found[0.25, None][name], rtol=1e-3, atol=1e-7)
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in found[0.5, None].values()]))
    clipped = torch.linalg.vector_norm(torch.cat([g.flatten() for g in found[0.5, 1e-3].values()]))
    assert norm > 1e-3
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)


def test_with_inward_gradient_pixels_beyond_white_are_only_pulled_back(tmp_path):
    _, _, state = prepared(tmp_path)
    flow, drawn = state.generator.train(), latents(state.generator)
    with torch.no_grad():  # all images are too bright
        flow.blocks[0].units[0].transforms[0].transforms[0].shift.add_(3)
    norms = {}
    for wish in ("brighter", "darker"):
        linear = nn.Linear(3 * 32 * 32, 1)
        nn.init.constant_(linear.weight, 1e-4 if wish == "brighter" else -1e-4)
        for inward in (False, True):
            flow.zero_grad()
            discriminator = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
            settings = NonSaturatingSettings(inward_gradient=inward)
            _, levels, magnitude = adversarial_backward(flow, discriminator, settings, drawn, None, 0.5)
            assert levels.min() == 255
            assert magnitude > 1
            norms[wish, inward] = torch.cat([g.flatten() for g in gradients(flow).values()]).norm()
    assert norms["brighter", False] > 0
    assert norms["brighter", True] == 0
    assert norms["darker", True] == norms["darker", False] > 0


def test_weight_one_leaves_the_likelihood_out(tmp_path):
    _, batches, state = prepared(tmp_path, "adversarial")
    flow = state.generator.train()
    flow.zero_grad()
    bpd = likelihood_backward(flow, batches.training(0), GeneratorNoise(1), 0.0)
    assert math.isfinite(bpd)
    assert all(p.grad is None for p in flow.parameters())
    before = {name: p.detach().clone() for name, p in flow.named_parameters()}
    metrics = training_step(state, batches, job(tmp_path, "adversarial").variant, 1e-2, 0)
    assert metrics["loss"] == metrics["adversarial_loss"]
    for name, parameter in flow.named_parameters():
        unused = name.startswith("dequantization.") or ".augments." in name
        assert torch.equal(parameter, before[name]) == unused, name


def test_loss_is_the_weighted_sum(tmp_path):
    work, batches, state = prepared(tmp_path, "two-steps")
    metrics = training_step(state, batches, work.variant, 1e-3, 0)
    expected = 0.75 * metrics["bpd"] + 0.25 * metrics["adversarial_loss"]
    torch.testing.assert_close(metrics["loss"], expected)
    assert not any(figure.requires_grad for figure in metrics.values())


def test_adaptive_weight_gives_both_gradients_one_norm(tmp_path, monkeypatch):
    work, batches, state = prepared(tmp_path, "balanced")
    flow, seed, step = state.generator, 0, state.step
    snapshot = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.train().zero_grad()
    drawn = flow.draw_latents(4, GeneratorNoise(derive_seed(seed, "latents", step)))
    adversarial_backward(flow, state.discriminator, PLAIN, drawn, None, 1.0)
    adversarial = gradients(flow)
    flow.zero_grad()
    likelihood_backward(flow, batches.training(step), GeneratorNoise(derive_seed(seed, "noise", step)), 1.0)
    likelihood = gradients(flow)
    norms = [torch.cat([g.flatten() for g in found.values()]).norm() for found in (likelihood, adversarial)]
    flow.load_state_dict(snapshot)

    seen = {}
    monkeypatch.setattr(state.generator_optimizer, "step", lambda: seen.update(gradients(flow)))
    metrics = training_step(state, batches, work.variant, 1e-3, seed)
    torch.testing.assert_close(metrics["adversarial_scale"], norms[0] / norms[1], rtol=1e-4, atol=0)
    assert abs(metrics["adversarial_scale"] - 1) > 0.1, "a balance that does nothing would pass"
    for name, gradient in seen.items():
        expected = 0.75 * likelihood[name]
        if name in adversarial:
            expected = expected + 0.25 * norms[0] / norms[1] * adversarial[name]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5 * float(norms[0]), msg=name)


def test_a_hybrid_step_without_options_is_the_sum_of_its_two_passes(tmp_path):
    _, batches, state = prepared(tmp_path, "two-steps")
    variant, step = job(tmp_path, "two-steps").variant, state.step
    _, _, twin = prepared(tmp_path, "two-steps")
    flow = twin.generator.train()
    twin.generator_optimizer.zero_grad()
    drawn = flow.draw_latents(4, GeneratorNoise(derive_seed(0, "latents", step)))
    adversarial_backward(flow, twin.discriminator, PLAIN, drawn, None, 0.25)
    likelihood_backward(flow, batches.training(step), GeneratorNoise(derive_seed(0, "noise", step)), 0.75)
    twin.generator_optimizer.param_groups[0]["lr"] = 1e-3
    twin.generator_optimizer.step()
    training_step(state, batches, variant, 1e-3, 0)
    assert all(torch.equal(value, flow.state_dict()[name]) for name, value in state.generator.state_dict().items())


def test_a_likelihood_step_descends_along_its_gradient(tmp_path):
    # Adam's first step is lr * sign(gradient) for every weight.
    work = job(tmp_path, "baseline")
    (batches, state), (_, twin) = start(work), start(work)
    metrics = training_step(state, batches, work.variant, 1e-3, 0)
    x = batches.training(0)
    twin.generator.train()
    bpd = likelihood_backward(twin.generator, x, GeneratorNoise(derive_seed(0, "noise", 0)), 1.0)
    torch.testing.assert_close(metrics["bpd"], bpd)
    moved = 0
    for (name, after), before in zip(state.generator.named_parameters(), twin.generator.parameters(), strict=True):
        large = before.grad.abs() > 1e-5
        moved += int(large.sum())
        expected = before.detach() - 1e-3 * before.grad.sign()
        torch.testing.assert_close(after.detach()[large], expected[large], rtol=0, atol=2e-6, msg=name)
    assert moved > 100


def test_the_generator_waits_in_the_discriminators_warm_up(tmp_path):
    work = job(tmp_path, "everything")
    batches, state = start(work)
    models = (state.generator, state.ema.average, state.discriminator)
    before = [copy.deepcopy(model.state_dict()) for model in models]

    def moved() -> list[bool]:
        states = zip(before, (model.state_dict() for model in models), strict=True)
        return [any(not torch.equal(new[name], value) for name, value in old.items()) for old, new in states]

    take_steps(work, batches, state, 3)
    assert moved() == [False, False, True]
    take_steps(work, batches, state, 1)
    assert moved() == [True, True, True]


def test_annealed_rates_and_penalties_reach_the_step(tmp_path, monkeypatch):
    work = job(tmp_path, "everything")
    batches, state = start(work)
    factors = []

    def record(settings, factor, *rest):
        factors.append(factor)
        return penalties(settings, factor, *rest)

    monkeypatch.setattr("hybridflow.training.step.penalties", record)
    rates = []
    for step in range(5):
        take_steps(work, batches, state, 1)
        rates.append(state.discriminator_optimizer.param_groups[0]["lr"])
        assert factors[-2:] == [pytest.approx(1 - 0.5 * step / 15)] * 2, "linear to a half over 15 steps"
    expected = [1e-3 * (1 - 0.9 * (1 - math.cos(math.pi * step / 15)) / 2) for step in range(5)]
    assert rates == pytest.approx(expected), "cosine to a tenth"


def test_both_players_see_augmented_images_of_both_kinds(tmp_path, monkeypatch):
    work, batches, state = prepared(tmp_path, "augmented")
    seen = []

    def record(images, kinds, draws):
        seen.append((len(images), images.requires_grad, kinds))
        return augment_differentiably(images, kinds, draws)

    monkeypatch.setattr("hybridflow.training.step.augment_differentiably", record)
    take_steps(work, batches, state, 1)
    kinds = ("color", "translation", "cutout")
    # the generator's real and generated images, then the discriminator's, whose penalty differentiates the real ones
    assert seen == [(4, False, kinds), (4, True, kinds), (4, True, kinds), (4, False, kinds)]


def test_what_is_real_for_the_discriminator_is_flipped_and_the_likelihoods_images_are_augmented(tmp_path, monkeypatch):
    shifted = {"pad": 2, "translate": 0.25}
    work, batches, state = prepared(tmp_path, "augmented", augmentation=shifted)
    seen = {}

    def likelihood(model, x, *rest):
        seen["likelihood"] = x
        return likelihood_backward(model, x, *rest)

    def discriminator(network, optimizer, real, *rest, **options):
        seen["real"] = real
        return discriminator_step(network, optimizer, real, *rest, **options)

    monkeypatch.setattr("hybridflow.training.step.likelihood_backward", likelihood)
    monkeypatch.setattr("hybridflow.training.step.discriminator_step", discriminator)
    step = state.step
    take_steps(work, batches, state, 1)
    assert torch.equal(seen["likelihood"], batches.training(step))
    assert torch.equal(seen["real"], batches.training(step, 0, FLIPPED))
    assert not torch.equal(*seen.values())


def test_discriminator_steps_take_other_batches(tmp_path):
    results = []
    for steps in (1, 2):
        _, batches, state = prepared(tmp_path, "adversarial", adversarial={"discriminator_steps": steps})
        results.append(state.discriminator[0].weight.detach().clone())
    assert not torch.equal(*results)
    assert not torch.equal(batches.training(0), batches.training(0, 1))


def test_bfloat16_step_is_close_to_single_precision(tmp_path):
    bpd = {}
    for dtype in (None, torch.bfloat16):
        work = job(tmp_path, "hybrid")
        batches, state = start(work)
        with network_precision(dtype):
            for _ in range(3):
                metrics = training_step(state, batches, work.variant, 1e-3, 0)
                state.step += 1
        bpd[dtype] = metrics["bpd"].item()
        assert metrics["bpd"].dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in state.generator.parameters())
    assert bpd[None] != bpd[torch.bfloat16]
    assert bpd[torch.bfloat16] == pytest.approx(bpd[None], abs=0.05)


def test_a_late_step_moves_the_average_by_its_decay(tmp_path):
    work = job(tmp_path, "hybrid")
    batches, state = start(work)
    state.step, before = 500, state.generator.blocks[0].units[0].transforms[0].transforms[0].shift.detach().clone()
    training_step(state, batches, work.variant, 1e-2, 0)
    layers = [
        flow.blocks[0].units[0].transforms[0].transforms[0].shift for flow in (state.generator, state.ema.average)
    ]
    torch.testing.assert_close(layers[1], 0.9 * before + 0.1 * layers[0].detach())
    assert not torch.equal(layers[0], before)


@pytest.mark.parametrize(
    ("name", "training"),
    [
        ("hybrid", {"checkpointing": True}),
        ("two-steps", {"optimizer": {"name": "adamax"}, "gradient_clip": 1.0}),
        ("stabilised", {"ema_decay": 0.9, "adversarial": {"gradient_clip": 1.0}}),
        ("everything", {}),  # the generator takes the fourth step
    ],
)
def test_a_step_reads_nothing_on_the_host(tmp_path, name, training):
    """A step must never wait for the device."""
    work = job(tmp_path, name, **training)
    batches, state = start(work)
    with HostReads() as reads, network_checkpointing(work.variant.training.checkpointing):
        take_steps(work, batches, state, 4 if name == "everything" else 2)
    assert not reads.places, reads.places[0]


def test_the_counter_counts() -> None:
    with HostReads() as reads:
        float(torch.ones(()))
    assert len(reads.places) == 1
