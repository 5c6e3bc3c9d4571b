"""Training: one step, batches, schedule, averages, and runs that are interrupted."""

import json
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hybridflow.config.adversarial import NonSaturatingSettings
from hybridflow.config.loading import parse_settings
from hybridflow.models.checkpoint import load_flow, load_resume_state, read_metadata, read_tensors, save_resume_state
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import Batches
from hybridflow.training.ema import ExponentialMovingAverage
from hybridflow.training.loop import train
from hybridflow.training.losses.non_saturating import NonSaturatingLoss
from hybridflow.training.schedule import Schedule
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import adversarial_backward, likelihood_backward, training_step

LOSS = NonSaturatingLoss(NonSaturatingSettings())
CPU = torch.device("cpu")
IMAGES = np.load(Path(__file__).parents[1] / "data" / "cifar10_64.npz")["images"][:32]

TINY = {
    "experiment": "test",
    "generator": {
        "units": [2, 1],
        "steps_per_unit": [1, 1],
        "growth_rate": 2,
        "coupling": {"mid_channels": [4, 4], "depth": 1, "growth": 4},
        "dequantization": {"steps": 1, "mid_channels": 4, "context_channels": 2, "depth": 1, "growth": 4},
    },
    "discriminators": {
        "dcgan": {"kind": "dcgan", "width": 4},
        "wide": {"kind": "dcgan", "width": 6},
        "spectral": {"kind": "dcgan", "width": 4, "spectral_norm": True},
    },
    "adversarial": {"discriminator_optimizer": {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.999]}},
    "training": {
        "batch_size": 4,
        "epochs": 1.25,
        "optimizer": {"name": "adam", "lr": 1e-3},
        "warmup_steps": 2,
        "final_phase": {"epochs": 0.25, "lr": 1e-4},
        "log_every": 5,
        "device": "cpu",
        "resume_every_minutes": 1e-9,  # a resume state after every step
    },
    "variants": {
        "baseline": {},
        "hybrid": {
            "discriminator": "dcgan",
            "adversarial_weight": 0.5,
            "adversarial": {"gradient_clip": 1.0},
            "training": {"ema_decay": 0.9, "gradient_clip": 50.0},
        },
        "two-steps": {"discriminator": "dcgan", "adversarial_weight": 0.25, "adversarial": {"discriminator_steps": 2}},
        "balanced": {"discriminator": "dcgan", "adversarial_weight": 0.25, "adversarial": {"adaptive_weight": True}},
        "adversarial": {"discriminator": "dcgan", "adversarial_weight": 1},
        "stabilised": {
            "discriminator": "spectral",
            "adversarial_weight": 0.5,
            "adversarial": {
                "penalties": {"r1": 2.0},
                "adaptive_weight": True,
                "inward_gradient": True,
                "max_sample_magnitude": 1e3,
            },
        },
        "stabilised-child": {
            "discriminator": "spectral",
            "adversarial_weight": 1,
            "init_from": "stabilised",
        },
        "spectral-child": {"discriminator": "spectral", "adversarial_weight": 1, "init_from": "hybrid"},
        "child": {"discriminator": "dcgan", "adversarial_weight": 1, "init_from": "hybrid"},
        "other-child": {"discriminator": "wide", "adversarial_weight": 1, "init_from": "hybrid"},
    },
}


def job(folder: Path, name: str = "baseline", seed: int = 0, parent: Path | None = None, **training) -> Job:
    over = {name: training.pop(name) for name in list(training) if name in NonSaturatingSettings.model_fields}
    over = over.pop("adversarial", {}) | over
    settings = parse_settings(
        TINY | {"training": TINY["training"] | training, "adversarial": TINY["adversarial"] | over}
    )
    return Job(
        settings.variants[name],
        seed,
        f"key-{name}",
        parent,
        folder / "model.safetensors",
        folder / "model.jsonl",
        folder / "model.resume",
        folder / "monitor",
        "hash",
    )


def rows(path: Path) -> list[dict]:
    """The history without the figures that time takes part in."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second", "crc32")} for row in found]


# --- a killed run continues exactly -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes():
    """Starts processes quickly: torch is imported once, in a server that forks them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hybridflow.training.loop", "torch.utils.tensorboard", "torch._dynamo", "pytest"])
    return context


def train_on_one_thread(work: Job) -> None:
    """Whoever started the server of processes: bytes are equal on one thread alone."""
    torch.set_num_threads(1)
    train(work, IMAGES, CPU)


def interrupt(context, work: Job, number: int, saves: int = 0, lines: int = 0) -> int | None:
    """Trains in a process and sends it a signal after some saved states and lines of the history.

    Args:
        saves: how often the resume state has to change first.
        lines: how long the history has to be first.

    Returns:
        The exit code.
    """
    stamp, changes = changed_at(work.resume), 0
    process = context.Process(target=train_on_one_thread, args=(work,))
    process.start()
    deadline = time.monotonic() + 60
    while process.is_alive() and time.monotonic() < deadline:
        if changed_at(work.resume) != stamp:
            stamp, changes = changed_at(work.resume), changes + 1
        written = work.history.read_text().count("\n") if work.history.exists() else 0
        if changes >= saves and written >= lines:
            os.kill(process.pid, number)
            break
        time.sleep(0.001)
    process.join(60)
    return process.exitcode


def changed_at(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def finish(context, work: Job) -> None:
    process = context.Process(target=train_on_one_thread, args=(work,))
    process.start()
    process.join(60)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Finished trainings by settings, each made once."""
    made: dict[str, Job] = {}

    def make(name: str, **training) -> Job:
        identity = f"{name} {training}"
        if identity not in made:
            made[identity] = job(tmp_path_factory.mktemp(name), name, **training)
            train(made[identity], IMAGES, CPU)
        return made[identity]

    return make


def assert_same_result(work: Job, reference: Job) -> None:
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()
    assert rows(work.history) == rows(reference.history)
    assert not work.resume.exists()
    assert not list(work.checkpoint.parent.glob(".*partial")), "temporary files were left behind"


VARIANTS = pytest.mark.parametrize("name", ["baseline", "hybrid", "two-steps", "stabilised"])
RARELY = {"resume_every_minutes": 30.0}


@VARIANTS
def test_killed_runs_end_in_the_same_bytes(processes, uninterrupted, tmp_path, name):
    work = job(tmp_path, name)
    for saves in (1, 3, 2):
        assert interrupt(processes, work, signal.SIGKILL, saves=saves) == -signal.SIGKILL
    for leftover in tmp_path.glob(".*partial"):  # of a kill in the middle of a write; harmless
        leftover.unlink()
    finish(processes, work)
    assert_same_result(work, uninterrupted(name))


@VARIANTS
def test_stopped_runs_end_in_the_same_bytes(processes, uninterrupted, tmp_path, name):
    work = job(tmp_path, name, log_every=1, **RARELY)
    assert interrupt(processes, work, signal.SIGTERM, lines=1) == 128 + signal.SIGTERM
    assert 1 <= load_resume_state(work.resume)["step"] < 12
    assert not work.checkpoint.exists()
    finish(processes, work)
    assert_same_result(work, uninterrupted(name, log_every=1, **RARELY))


def test_stop_between_two_lines_of_the_history_keeps_their_sums(uninterrupted, tmp_path, monkeypatch):
    work = job(tmp_path, **RARELY)
    calls = []

    def stop_at_seventh(state, *rest):
        calls.append(state.step)
        if len(calls) == 7:
            signal.raise_signal(signal.SIGINT)
        return training_step(state, *rest)

    monkeypatch.setattr("hybridflow.training.loop.training_step", stop_at_seventh)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(SystemExit) as stopped:
        train(work, IMAGES, CPU)
    assert stopped.value.code == 128 + signal.SIGINT
    assert load_resume_state(work.resume)["summed"] == 2
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    train(work, IMAGES, CPU)
    assert calls == list(range(12))
    assert_same_result(work, uninterrupted("baseline", **RARELY))


def test_a_kill_soon_after_continuing_costs_no_rows(processes, tmp_path):
    work = job(tmp_path)
    assert interrupt(processes, work, signal.SIGKILL, saves=7) == -signal.SIGKILL
    assert interrupt(processes, work, signal.SIGKILL, saves=1) == -signal.SIGKILL
    assert rows(work.history)[0]["step"] == 5


def test_rows_after_the_resume_state_are_dropped(uninterrupted, tmp_path):
    work, reference = job(tmp_path), uninterrupted("baseline")
    work.history.write_text(reference.history.read_text() + '{"step": 99, "ima')
    train(work, IMAGES, CPU)
    assert_same_result(work, reference)


def test_equal_runs_are_equal_and_seeds_differ(uninterrupted, tmp_path):
    reference = uninterrupted("hybrid")
    work = job(tmp_path / "again", "hybrid")
    torch.manual_seed(123)  # the global generator has no part in it
    before = torch.random.get_rng_state()
    train(work, IMAGES, CPU)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_same_result(work, reference)
    other = job(tmp_path / "other", "hybrid", seed=1)
    train(other, IMAGES, CPU)
    ours, theirs = read_tensors(other.checkpoint, "flow"), read_tensors(reference.checkpoint, "flow")
    name = "blocks.0.units.0.transforms.0.transforms.1.weight"
    assert not torch.equal(ours[name], theirs[name])


def test_what_a_run_leaves(uninterrupted):
    work = uninterrupted("hybrid")
    found = rows(work.history)
    assert [row["step"] for row in found] == [5, 10, 12]
    assert [row["images"] for row in found] == [20, 40, 48]
    assert {"bpd", "loss", "lr", "adversarial_loss", "gradient_norm", "discriminator_loss", "sample_magnitude"} <= set(
        found[0]
    )
    metadata = read_metadata(work.checkpoint)
    assert (metadata["key"], metadata["steps"], metadata["images"], metadata["dataset"]) == (
        "key-hybrid",
        12,
        48,
        "hash",
    )
    assert metadata["adversarial_weight"] == 0.5
    assert not {"gradient_penalty", "adversarial_scale"} & set(found[0])
    flow, _ = load_flow(work.checkpoint)
    assert flow.ready
    assert not flow.training
    assert [path.name for path in (work.monitor / "grids").iterdir()] == ["step-0000012.png"]
    assert list((work.monitor / "tensorboard").iterdir())


def test_what_a_stabilised_run_leaves(uninterrupted):
    work = uninterrupted("stabilised")
    for row in rows(work.history):
        assert row["gradient_penalty"] > 0
        assert row["adversarial_scale"] > 0
        assert row["loss"] == pytest.approx(0.5 * row["bpd"] + 0.5 * row["adversarial_loss"])
    flow, metadata = load_flow(work.checkpoint)
    assert metadata["discriminator"]["spectral_norm"]
    assert "max_sample_magnitude" not in metadata["adversarial"]
    assert "0.parametrizations.weight.0._u" in read_tensors(work.checkpoint, "discriminator")


def test_the_stored_flow_is_the_average(uninterrupted, tmp_path):
    work = uninterrupted("hybrid")
    batches = Batches(IMAGES, work.variant.training, 0, CPU)
    state = initial_state(work, batches, CPU)
    schedule = Schedule(work.variant.training, len(IMAGES))
    for step in range(12):
        training_step(state, batches, work.variant, schedule.learning_rate(step), 0)
        state.step += 1
    stored = read_tensors(work.checkpoint, "flow")
    assert all(torch.equal(value, stored[key]) for key, value in state.ema.average.state_dict().items())
    assert not torch.equal(state.flow.prior_loc, state.ema.average.prior_loc)


# --- divergence and bad input -----------------------------------------------------------------------------------------


def test_divergence_is_reported_and_the_last_good_state_kept(tmp_path):
    work = job(tmp_path, resume_every_minutes=1e-9)
    batches = Batches(IMAGES, work.variant.training, 0, CPU)
    state = initial_state(work, batches, CPU)
    for _ in range(3):
        training_step(state, batches, work.variant, 1e-4, 0)
        state.step += 1
    save_resume_state(work.resume, state.state_dict())
    broken = job(tmp_path, resume_every_minutes=1e-9, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0)
    with pytest.raises(UserError) as error:
        train(broken, IMAGES, CPU)
    message = str(error.value)
    assert message.startswith("train baseline seed 0 diverged by step ")
    assert "bpd" in message
    assert "not finite" in message
    assert f"the last good state is kept in {work.resume}" in message
    assert "gradient_clip" in message
    assert not work.checkpoint.exists()
    restored = load_resume_state(work.resume)
    assert all(bool(torch.isfinite(value).all()) for value in restored["sums"].values())


def test_divergence_without_a_saved_state(tmp_path):
    work = job(tmp_path, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0, **RARELY)
    with pytest.raises(UserError, match=r"no earlier state was saved \(training.resume_every_minutes\); lower the"):
        train(work, IMAGES, CPU)
    assert not work.checkpoint.exists()
    assert not work.resume.exists()


def test_samples_far_from_images_stop_training_before_anything_is_infinite(uninterrupted, tmp_path):
    reference = uninterrupted("hybrid")
    usual = [row["sample_magnitude"] for row in rows(reference.history)]
    work = job(tmp_path, "hybrid", max_sample_magnitude=max(usual) + 1e-3, **RARELY)
    train(work, IMAGES, CPU)  # a limit that is not reached changes nothing
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()

    work = job(tmp_path / "stopped", "hybrid", max_sample_magnitude=max(usual) - 1e-3, **RARELY)
    with pytest.raises(UserError) as error:
        train(work, IMAGES, CPU)
    message = str(error.value)
    step = [5, 10, 12][usual.index(max(usual))]
    assert message.startswith(f"train hybrid seed 0 diverged by step {step}: sample_magnitude ")
    assert "exceeds adversarial.max_sample_magnitude" in message
    assert "lower the learning rate, set training.gradient_clip or" in message
    assert not work.checkpoint.exists()


def test_a_state_whose_samples_are_too_large_is_not_saved(tmp_path, monkeypatch):
    work = job(tmp_path, "hybrid", max_sample_magnitude=50.0)

    def jump_at_fourth(state, *rest):
        figures = training_step(state, *rest)
        return figures | ({"sample_magnitude": torch.tensor(100.0)} if state.step == 3 else {})

    monkeypatch.setattr("hybridflow.training.loop.training_step", jump_at_fourth)  # the mean of five steps hides it
    with pytest.raises(UserError, match=r"diverged by step 4: sample_magnitude 100 exceeds .* the last good state is"):
        train(work, IMAGES, CPU)
    assert load_resume_state(work.resume)["step"] == 3
    monkeypatch.undo()
    train(job(tmp_path, "hybrid", max_sample_magnitude=200.0), IMAGES, CPU)  # a higher limit goes on from there
    assert work.checkpoint.exists()


def test_damaged_resume_state(tmp_path):
    work = job(tmp_path)
    for content in (b"", b"garbage", b"PK\x03\x04 cut"):
        work.resume.write_bytes(content)
        with pytest.raises(UserError, match=r"the resume state .*model\.resume is damaged; delete it to train"):
            train(work, IMAGES, CPU)


def test_too_few_images():
    settings = job(Path()).variant.training
    with pytest.raises(UserError, match=r"training\.batch_size is 4, but the training split has only 3 images"):
        Batches(IMAGES[:3], settings, 0, CPU)


# --- starting from another variant ------------------------------------------------------------------------------------


def test_children_start_from_the_parent(uninterrupted, tmp_path):
    parent = uninterrupted("hybrid").checkpoint
    batches = Batches(IMAGES, job(tmp_path).variant.training, 0, CPU)
    state = initial_state(job(tmp_path, "child", parent=parent), batches, CPU)
    for name, model in (("flow", state.flow), ("discriminator", state.discriminator)):
        stored = read_tensors(parent, name)
        assert all(torch.equal(value, stored[key]) for key, value in model.state_dict().items())
    other = initial_state(job(tmp_path, "other-child", parent=parent), batches, CPU)  # another discriminator: fresh
    assert torch.equal(other.flow.prior_loc, state.flow.prior_loc)
    assert other.discriminator[0].out_channels == 6
    fresh = initial_state(job(tmp_path, "adversarial"), batches, CPU)
    assert not torch.equal(fresh.discriminator[0].weight, state.discriminator[0].weight)


def test_children_of_a_spectrally_normalised_discriminator(uninterrupted, tmp_path):
    parent = uninterrupted("stabilised").checkpoint
    batches = Batches(IMAGES, job(tmp_path).variant.training, 0, CPU)
    state = initial_state(job(tmp_path, "stabilised-child", parent=parent), batches, CPU)
    stored = read_tensors(parent, "discriminator")
    found = state.discriminator.state_dict()
    assert "0.parametrizations.weight.0._v" in found
    assert all(torch.equal(value, stored[key]) for key, value in found.items())
    plain = uninterrupted("hybrid").checkpoint  # its discriminator is another one: the child's is fresh
    state = initial_state(job(tmp_path, "spectral-child", parent=plain), batches, CPU)
    assert "0.parametrizations.weight.original" in state.discriminator.state_dict()


def test_a_child_records_its_parent(uninterrupted, tmp_path):
    parent = uninterrupted("hybrid").checkpoint
    work = job(tmp_path, "child", parent=parent, epochs=0.125, final_phase={"epochs": 0})
    train(work, IMAGES, CPU)
    assert read_metadata(work.checkpoint)["parent"] == "key-hybrid"
    assert read_metadata(parent)["parent"] is None


def test_a_parent_of_another_architecture(uninterrupted, tmp_path):
    settings = parse_settings(TINY | {"generator": TINY["generator"] | {"growth_rate": 4}})
    work = job(tmp_path, "child", parent=uninterrupted("hybrid").checkpoint)
    work = Job(**{**work.__dict__, "variant": settings.variants["child"]})
    with pytest.raises(UserError, match=r"model\.safetensors does not fit the architecture"):
        train(work, IMAGES, CPU)
    with pytest.raises(UserError, match=r"there is no checkpoint at .*none\.safetensors"):
        train(job(tmp_path, "child", parent=tmp_path / "none.safetensors"), IMAGES, CPU)


# --- one step ---------------------------------------------------------------------------------------------------------


def prepared(tmp_path: Path, name: str = "hybrid", **training):
    work = job(tmp_path, name, **training)
    batches = Batches(IMAGES, work.variant.training, 0, CPU)
    state = initial_state(work, batches, CPU)
    for _ in range(2):  # away from the zero initialisation
        training_step(state, batches, work.variant, 1e-2, 0)
        state.step += 1
    return work, batches, state


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def latents(flow, count: int = 8):
    return flow.draw_latents(count, GeneratorNoise(0))


def test_only_the_likelihood_pass_moves_running_statistics(tmp_path):
    _, batches, state = prepared(tmp_path)
    flow = state.flow.train()
    before = {name: buffer.clone() for name, buffer in flow.named_buffers()}
    adversarial_backward(flow, state.discriminator, LOSS, latents(flow), None, 0.5, None)
    assert all(torch.equal(buffer, before[name]) for name, buffer in flow.named_buffers())
    assert flow.training
    likelihood_backward(flow, batches.training(0), GeneratorNoise(1), 0.5)
    moved = [name for name, buffer in flow.named_buffers() if not torch.equal(buffer, before[name])]
    assert any(name.endswith("running_mean") for name in moved)


def test_adversarial_gradient_reaches_all_that_sampling_uses(tmp_path):
    _, _, state = prepared(tmp_path)
    flow, discriminator = state.flow.train(), state.discriminator
    flow.zero_grad()
    discriminator.zero_grad()
    _, levels, _ = adversarial_backward(flow, discriminator, LOSS, latents(flow), None, 0.5, None)
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
    flow, drawn = state.flow.train(), latents(state.flow)
    found = {}
    for weight, clip in ((0.25, None), (0.5, None), (0.5, 1e-3)):
        flow.zero_grad()
        adversarial_backward(flow, state.discriminator, LOSS, drawn, None, weight, clip)
        found[weight, clip] = gradients(flow)
    for name, gradient in found[0.5, None].items():
        torch.testing.assert_close(gradient, 2 * found[0.25, None][name], rtol=1e-3, atol=1e-7)
    norm = torch.linalg.vector_norm(torch.cat([g.flatten() for g in found[0.5, None].values()]))
    clipped = torch.linalg.vector_norm(torch.cat([g.flatten() for g in found[0.5, 1e-3].values()]))
    assert norm > 1e-3
    assert clipped.item() == pytest.approx(1e-3, rel=1e-3)


def test_with_inward_gradient_pixels_beyond_white_are_only_pulled_back(tmp_path):
    _, _, state = prepared(tmp_path)
    flow, drawn = state.flow.train(), latents(state.flow)
    with torch.no_grad():  # all images are too bright
        flow.blocks[0].units[0].transforms[0].transforms[0].shift.add_(3)
    norms = {}
    for wish in ("brighter", "darker"):
        linear = nn.Linear(3 * 32 * 32, 1)
        nn.init.constant_(linear.weight, 1e-4 if wish == "brighter" else -1e-4)
        for inward in (False, True):
            flow.zero_grad()
            discriminator = nn.Sequential(nn.Flatten(), linear, nn.Flatten(0))
            _, levels, magnitude = adversarial_backward(
                flow, discriminator, LOSS, drawn, None, 0.5, None, inward=inward
            )
            assert levels.min() == 255
            assert magnitude > 1
            norms[wish, inward] = torch.cat([g.flatten() for g in gradients(flow).values()]).norm()
    assert norms["brighter", False] > 0
    assert norms["brighter", True] == 0
    assert norms["darker", True] == norms["darker", False] > 0


def test_weight_one_leaves_the_likelihood_out(tmp_path):
    _, batches, state = prepared(tmp_path, "adversarial")
    flow = state.flow.train()
    flow.zero_grad()
    bpd = likelihood_backward(flow, batches.training(0), GeneratorNoise(1), 0.0)
    assert math.isfinite(bpd)
    assert all(p.grad is None for p in flow.parameters())
    before = {name: p.detach().clone() for name, p in flow.named_parameters()}
    figures = training_step(state, batches, job(tmp_path, "adversarial").variant, 1e-2, 0)
    assert figures["loss"] == figures["adversarial_loss"]
    for name, parameter in flow.named_parameters():
        unused = name.startswith("dequantization.") or ".augments." in name
        assert torch.equal(parameter, before[name]) == unused, name


def test_loss_is_the_weighted_sum(tmp_path):
    work, batches, state = prepared(tmp_path, "two-steps")
    figures = training_step(state, batches, work.variant, 1e-3, 0)
    expected = 0.75 * figures["bpd"] + 0.25 * figures["adversarial_loss"]
    torch.testing.assert_close(figures["loss"], expected)
    assert not any(figure.requires_grad for figure in figures.values())


def test_adaptive_weight_gives_both_gradients_one_norm(tmp_path, monkeypatch):
    work, batches, state = prepared(tmp_path, "balanced")
    flow, seed, step = state.flow, 0, state.step
    snapshot = {name: value.clone() for name, value in flow.state_dict().items()}
    flow.train().zero_grad()
    drawn = flow.draw_latents(4, GeneratorNoise(derive_seed(seed, "latents", step)))
    adversarial_backward(flow, state.discriminator, LOSS, drawn, None, 1.0, None)
    adversarial = gradients(flow)
    flow.zero_grad()
    likelihood_backward(flow, batches.training(step), GeneratorNoise(derive_seed(seed, "noise", step)), 1.0)
    likelihood = gradients(flow)
    norms = [torch.cat([g.flatten() for g in found.values()]).norm() for found in (likelihood, adversarial)]
    flow.load_state_dict(snapshot)

    seen = {}
    monkeypatch.setattr(state.flow_optimizer, "step", lambda: seen.update(gradients(flow)))
    figures = training_step(state, batches, work.variant, 1e-3, seed)
    torch.testing.assert_close(figures["adversarial_scale"], norms[0] / norms[1], rtol=1e-4, atol=0)
    assert abs(figures["adversarial_scale"] - 1) > 0.1, "a balance that does nothing would pass"
    for name, gradient in seen.items():
        expected = 0.75 * likelihood[name]
        if name in adversarial:
            expected = expected + 0.25 * norms[0] / norms[1] * adversarial[name]
        torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5 * float(norms[0]), msg=name)


def test_a_hybrid_step_without_options_is_the_sum_of_its_two_passes(tmp_path):
    _, batches, state = prepared(tmp_path, "two-steps")
    variant, step = job(tmp_path, "two-steps").variant, state.step
    _, _, twin = prepared(tmp_path, "two-steps")
    flow = twin.flow.train()
    twin.flow_optimizer.zero_grad()
    drawn = flow.draw_latents(4, GeneratorNoise(derive_seed(0, "latents", step)))
    adversarial_backward(flow, twin.discriminator, LOSS, drawn, None, 0.25, None)
    likelihood_backward(flow, batches.training(step), GeneratorNoise(derive_seed(0, "noise", step)), 0.75)
    twin.flow_optimizer.param_groups[0]["lr"] = 1e-3
    twin.flow_optimizer.step()
    training_step(state, batches, variant, 1e-3, 0)
    assert all(torch.equal(value, flow.state_dict()[name]) for name, value in state.flow.state_dict().items())


def test_a_likelihood_step_descends_along_its_gradient(tmp_path):
    # Adam's first step is lr * sign(gradient) for every weight.
    work = job(tmp_path, "baseline")
    batches = Batches(IMAGES, work.variant.training, 0, CPU)
    state, twin = initial_state(work, batches, CPU), initial_state(work, batches, CPU)
    figures = training_step(state, batches, work.variant, 1e-3, 0)
    x = batches.training(0)
    twin.flow.train()
    bpd = likelihood_backward(twin.flow, x, GeneratorNoise(derive_seed(0, "noise", 0)), 1.0)
    torch.testing.assert_close(figures["bpd"], bpd)
    moved = 0
    for (name, after), before in zip(state.flow.named_parameters(), twin.flow.parameters(), strict=True):
        large = before.grad.abs() > 1e-5
        moved += int(large.sum())
        expected = before.detach() - 1e-3 * before.grad.sign()
        torch.testing.assert_close(after.detach()[large], expected[large], rtol=0, atol=2e-6, msg=name)
    assert moved > 100


def test_discriminator_steps_take_other_batches(tmp_path):
    results = []
    for steps in (1, 2):
        _, batches, state = prepared(tmp_path, "adversarial", discriminator_steps=steps)
        results.append(state.discriminator[0].weight.detach().clone())
    assert not torch.equal(*results)
    assert not torch.equal(batches.training(0), batches.training(0, 1))


def test_bfloat16_step_is_close_to_single_precision(tmp_path):
    bpd = {}
    for dtype in (None, torch.bfloat16):
        work = job(tmp_path, "hybrid")
        batches = Batches(IMAGES, work.variant.training, 0, CPU)
        state = initial_state(work, batches, CPU)
        with network_precision(dtype):
            for _ in range(3):
                figures = training_step(state, batches, work.variant, 1e-3, 0)
                state.step += 1
        bpd[dtype] = figures["bpd"].item()
        assert figures["bpd"].dtype == torch.float32
        assert all(p.dtype == torch.float32 for p in state.flow.parameters())
    assert bpd[None] != bpd[torch.bfloat16]
    assert bpd[torch.bfloat16] == pytest.approx(bpd[None], abs=0.05)


def test_training_lowers_bits_per_dim(tmp_path):
    work = job(tmp_path, epochs=5, optimizer={"name": "adam", "lr": 5e-3})
    train(work, IMAGES, CPU)
    found = rows(work.history)
    assert found[-1]["bpd"] < found[0]["bpd"] - 0.3


# --- batches ----------------------------------------------------------------------------------------------------------


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


# --- schedule and average ---------------------------------------------------------------------------------------------


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


def test_training_uses_the_schedule(uninterrupted):
    schedule = Schedule(uninterrupted("baseline").variant.training, len(IMAGES))
    found = {row["step"]: row["lr"] for row in rows(uninterrupted("baseline").history)}
    assert found == {step: schedule.learning_rate(step - 1) for step in (5, 10, 12)}
    assert found[12] == 1e-4


def test_moving_average():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    model[0].weight.data.fill_(1.0)
    ema = ExponentialMovingAverage(model, decay=0.4)
    model[0].weight.data.fill_(2.0)
    model[1].running_mean.fill_(10.0)
    model[1].num_batches_tracked.fill_(7)
    ema.update(model, 0)  # decay 1/10
    assert ema.average[0].weight.item() == pytest.approx(0.1 * 1 + 0.9 * 2)
    assert ema.average[1].running_mean.item() == pytest.approx(9)
    assert ema.average[1].num_batches_tracked == 7
    ema.update(model, 1000)  # decay 0.4
    assert ema.average[0].weight.item() == pytest.approx(0.4 * 1.9 + 0.6 * 2)
    assert model[0].weight.item() == 2
    assert not ema.average[0].weight.requires_grad
    assert model[0].weight.requires_grad


def test_fresh_weights_depend_on_the_seed_alone(tmp_path):
    batches = Batches(IMAGES, job(tmp_path).variant.training, 0, CPU)
    torch.manual_seed(1)
    one = initial_state(job(tmp_path, "hybrid"), batches, CPU)
    torch.manual_seed(2)
    two = initial_state(job(tmp_path, "hybrid"), batches, CPU)
    for ours, theirs in ((one.flow, two.flow), (one.discriminator, two.discriminator)):
        assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in ours.state_dict().items())
    assert one.flow.ready
    assert isinstance(one.discriminator, type(build_discriminator(job(tmp_path, "hybrid").variant.discriminator)))


def test_a_late_step_moves_the_average_by_its_decay(tmp_path):
    work = job(tmp_path, "hybrid")
    batches = Batches(IMAGES, work.variant.training, 0, CPU)
    state = initial_state(work, batches, CPU)
    state.step, before = 500, state.flow.blocks[0].units[0].transforms[0].transforms[0].shift.detach().clone()
    training_step(state, batches, work.variant, 1e-2, 0)
    layers = [flow.blocks[0].units[0].transforms[0].transforms[0].shift for flow in (state.flow, state.ema.average)]
    torch.testing.assert_close(layers[1], 0.9 * before + 0.1 * layers[0].detach())
    assert not torch.equal(layers[0], before)
