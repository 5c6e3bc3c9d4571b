"""Whole trainings: what they leave, interruptions at any moment, and divergence."""

from __future__ import annotations

import os
import signal
import time

import pytest
import torch
from trainings import (
    CPU,
    IMAGES,
    fork_server,
    job,
    last_saved,
    resume_state,
    rows,
    start,
    take_steps,
    train_on_one_thread,
    wait_for,
)

from hybridflow.config.adversarial import DISCRIMINATORS, LOSSES
from hybridflow.models.checkpoint import load_generator, read_metadata, read_tensors
from hybridflow.report.figures.animation import training_grids
from hybridflow.runtime.errors import UserError
from hybridflow.training.checks import check_weights
from hybridflow.training.loop import train
from hybridflow.training.optim import Schedule
from hybridflow.training.resume import ResumeState
from hybridflow.training.state import Job
from hybridflow.training.step import training_step

RARELY = {"resume_every_minutes": 30.0}


# --- an interrupted training continues exactly ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def processes():
    return fork_server()


def interrupt(context, work: Job, number: int, seconds: float) -> int | None:
    """Trains in a process and sends it a signal, some time after it saved a state.

    Returns:
        The exit code.
    """
    before = last_saved(work)
    process = context.Process(target=train_on_one_thread, args=(work,))
    process.start()
    wait_for(lambda: last_saved(work) != before or not process.is_alive(), 60)
    time.sleep(seconds)
    os.kill(process.pid, number)
    process.join(60)
    return process.exitcode


def assert_same_result(work: Job, reference: Job) -> None:
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()
    assert rows(work.history) == rows(reference.history)
    assert sorted(path.name for path in work.checkpoint.parent.glob("model*")) == [
        "model.json",
        "model.jsonl",
        "model.safetensors",
    ]


@pytest.mark.parametrize("name", ["stabilised", "everything"])
def test_killed_and_stopped_runs_end_in_the_same_bytes(processes, uninterrupted, tmp_path, name):
    work = job(tmp_path, name, log_every=1)
    for seconds in (0.0, 0.1):
        assert interrupt(processes, work, signal.SIGKILL, seconds) == -signal.SIGKILL
    assert interrupt(processes, work, signal.SIGTERM, 0.0) == 128 + signal.SIGTERM
    assert 1 <= resume_state(work)["step"] < 15
    assert not work.checkpoint.exists()
    train(work, IMAGES, CPU)
    assert_same_result(work, uninterrupted(name, log_every=1))


class Killed(BaseException):
    pass


RESUMED = ["baseline", "hybrid", "two-steps", "everything", "exact", "hinge", "least-squares", "wasserstein"]


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_that_dies_after_any_number_of_steps_ends_in_the_same_bytes(uninterrupted, tmp_path, monkeypatch, name):
    work = job(tmp_path, name)
    lives = 0

    def die(state, *rest):
        if state.step == lives:
            raise Killed
        return training_step(state, *rest)

    monkeypatch.setattr("hybridflow.training.loop.training_step", die)
    for lives in (2, 5, 6, 11):
        with pytest.raises(Killed):
            train(work, IMAGES, CPU)
        assert resume_state(work)["step"] == lives
        torch.manual_seed(lives)  # the global generator has no part in it
    monkeypatch.undo()
    train(work, IMAGES, CPU)
    assert_same_result(work, uninterrupted(name))


def test_every_discriminator_and_loss_is_among_them(tmp_path):
    hybrids = [variant for name in RESUMED if (variant := job(tmp_path, name).variant).discriminator]
    assert {variant.discriminator.kind for variant in hybrids} == DISCRIMINATORS.keys()
    assert {variant.adversarial.loss for variant in hybrids} == LOSSES.keys()


def test_a_stop_between_two_lines_of_the_history_keeps_their_sums(uninterrupted, tmp_path, monkeypatch):
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
    assert resume_state(work)["summed"] == 2
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    work.history.write_text('{"step": 5, "bpd": 0.0}\n{"step": 99, "ima')  # damaged, and lines of a lost stretch
    train(work, IMAGES, CPU)
    assert calls == list(range(12))
    assert_same_result(work, uninterrupted("baseline"))


# --- what a training leaves -------------------------------------------------------------------------------------------


def test_seeds_differ(uninterrupted, tmp_path):
    other = job(tmp_path, "hybrid", seed=1)
    train(other, IMAGES, CPU)
    ours, theirs = (read_tensors(work.checkpoint, "flow") for work in (other, uninterrupted("hybrid")))
    name = "blocks.0.units.0.transforms.0.transforms.1.weight"
    assert not torch.equal(ours[name], theirs[name])


def test_what_a_run_leaves(uninterrupted):
    work = uninterrupted("hybrid")
    found = rows(work.history)
    assert [(row["step"], row["images"]) for row in found] == [(5, 20), (10, 40), (12, 48)]
    assert {"bpd", "loss", "lr", "adversarial_loss", "gradient_norm", "discriminator_loss", "sample_magnitude"} <= set(
        found[0]
    )
    assert not {"gradient_penalty", "adversarial_scale"} & set(found[0])
    schedule = Schedule(work.variant.training, len(IMAGES))
    assert [row["lr"] for row in found] == [schedule.learning_rate(step - 1) for step in (5, 10, 12)]
    metadata = read_metadata(work.checkpoint)
    expected = {"key": "key-hybrid", "steps": 12, "images": 48, "dataset": "hash", "adversarial_weight": 0.5}
    assert expected.items() <= metadata.items()
    flow, _ = load_generator(work.checkpoint)
    assert flow.ready
    assert not flow.training
    assert [path.name for path in (work.monitor / "grids").iterdir()] == ["step-0000012.png"]
    assert list((work.monitor / "tensorboard").iterdir())


def test_a_checkpoint_that_travels_is_half_the_size_and_without_the_discriminator(uninterrupted, tmp_path):
    whole = uninterrupted("hybrid").checkpoint
    work = job(tmp_path, "hybrid", stored={"precision": "fp16", "discriminator": False})
    train(work, IMAGES, CPU)
    ours, theirs = (read_tensors(path, "flow") for path in (work.checkpoint, whole))
    floating = [name for name, values in theirs.items() if values.is_floating_point()]
    assert all(torch.equal(ours[name], theirs[name].half()) for name in floating)
    assert not read_tensors(work.checkpoint, "discriminator")
    assert load_generator(work.checkpoint)[0].prior_loc.dtype == torch.float32
    child = job(tmp_path, "child", parent=work.checkpoint)
    train(child, IMAGES, CPU)  # against a discriminator of its own


def test_what_a_stabilised_run_leaves(uninterrupted):
    work = uninterrupted("stabilised")
    for row in rows(work.history):
        assert row["gradient_penalty"] > 0
        assert row["adversarial_scale"] > 0
        assert row["loss"] == pytest.approx(0.5 * row["bpd"] + 0.5 * row["adversarial_loss"])
    metadata = read_metadata(work.checkpoint)
    assert metadata["discriminator"]["spectral_norm"]
    assert "max_sample_magnitude" not in metadata["adversarial"]
    assert "0.parametrizations.weight.0._u" in read_tensors(work.checkpoint, "discriminator")


def test_what_a_run_with_every_ingredient_leaves(uninterrupted):
    found = rows(uninterrupted("everything").history)
    assert [row["step"] for row in found] == [3, 5, 10, 15], "a line ends with the warm-up"
    assert all({"discriminator_order", "gradient_penalty", "centring_penalty"} <= set(row) for row in found)
    assert ["bpd" in row for row in found] == [False, True, True, True]
    assert found[0]["lr"] == 0 < found[1]["lr"]


def test_the_stored_flow_is_the_average(uninterrupted, tmp_path):
    work = uninterrupted("hybrid")
    batches, state = start(work)
    schedule = Schedule(work.variant.training, len(IMAGES))
    for step in range(12):
        take_steps(work, batches, state, 1, schedule.learning_rate(step))
    stored = read_tensors(work.checkpoint, "flow")
    assert all(torch.equal(value, stored[key]) for key, value in state.ema.average.state_dict().items())
    assert not torch.equal(state.generator.prior_loc, state.ema.average.prior_loc)


def test_training_lowers_bits_per_dim(tmp_path):
    work = job(tmp_path, epochs=5, optimizer={"name": "adam", "lr": 5e-3}, **RARELY)
    train(work, IMAGES, CPU)
    found = rows(work.history)
    assert found[-1]["bpd"] < found[0]["bpd"] - 0.3


def test_the_grids_are_those_of_the_trainings_own_steps(tmp_path, monkeypatch):
    """Also where a longer training left its own, and after a stop at a step that has one."""
    work = job(tmp_path, grid_every=5, **RARELY)
    folder = work.monitor / "grids"
    folder.mkdir(parents=True)
    (folder / "step-0000099.png").write_bytes(b"of another training")

    def stop_at_last(state, *rest):
        if state.step == 11:
            signal.raise_signal(signal.SIGTERM)
        return training_step(state, *rest)

    monkeypatch.setattr("hybridflow.training.loop.training_step", stop_at_last)
    with pytest.raises(SystemExit):
        train(work, IMAGES, CPU)
    monkeypatch.undo()
    train(work, IMAGES, CPU)
    assert [step for step, _ in training_grids(folder)] == [5, 10, 12]


# --- divergence and bad input -----------------------------------------------------------------------------------------


def test_divergence_is_reported_and_the_last_good_state_kept(tmp_path):
    work = job(tmp_path)
    batches, state = start(work)
    take_steps(work, batches, state, 3, 1e-4)
    ResumeState(work.resume, work.key).save(state.state_dict(), state.step)
    with pytest.raises(UserError) as error:
        train(job(tmp_path, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0), IMAGES, CPU)
    message = str(error.value)
    assert message.startswith("train baseline seed 0 diverged by step ")
    for part in ("bpd", "not finite", f"the last good state is kept in {work.resume}-*", "gradient_clip"):
        assert part in message
    assert not work.checkpoint.exists()
    assert all(bool(torch.isfinite(value).all()) for value in resume_state(work)["sums"].values())


def test_a_discriminator_that_is_not_finite_is_not_stored(tmp_path):
    work = job(tmp_path, "hybrid")
    _, state = start(work)
    check_weights(work, state)
    with torch.no_grad():
        next(state.discriminator.parameters())[0] = torch.nan
    with pytest.raises(UserError, match=r"diverged by step 0: weights 0\.weight not finite"):
        check_weights(work, state)


def test_divergence_without_a_saved_state(tmp_path):
    work = job(tmp_path, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0, **RARELY)
    with pytest.raises(UserError, match=r"no earlier state was saved \(training.resume_every_minutes\); lower the"):
        train(work, IMAGES, CPU)
    assert not work.checkpoint.exists()
    assert resume_state(work) is None


def test_samples_far_from_images_stop_training_before_anything_is_infinite(uninterrupted, tmp_path):
    reference = uninterrupted("hybrid")
    usual = [row["sample_magnitude"] for row in rows(reference.history)]
    work = job(tmp_path, "hybrid", adversarial={"max_sample_magnitude": max(usual) + 1e-3}, **RARELY)
    train(work, IMAGES, CPU)  # a limit that is not reached changes nothing
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()

    work = job(tmp_path / "stopped", "hybrid", adversarial={"max_sample_magnitude": max(usual) - 1e-3}, **RARELY)
    with pytest.raises(UserError) as error:
        train(work, IMAGES, CPU)
    step = [5, 10, 12][usual.index(max(usual))]
    assert str(error.value).startswith(f"train hybrid seed 0 diverged by step {step}: sample_magnitude ")
    assert "exceeds adversarial.max_sample_magnitude" in str(error.value)
    assert not work.checkpoint.exists()


def test_a_state_whose_samples_are_too_large_is_not_saved(tmp_path, monkeypatch):
    work = job(tmp_path, "hybrid", adversarial={"max_sample_magnitude": 50.0})

    def jump_at_fourth(state, *rest):
        metrics = training_step(state, *rest)
        return metrics | ({"sample_magnitude": torch.tensor(100.0)} if state.step == 3 else {})

    monkeypatch.setattr("hybridflow.training.loop.training_step", jump_at_fourth)  # the mean of five steps hides it
    with pytest.raises(UserError, match=r"diverged by step 4: sample_magnitude 100 exceeds .* the last good state is"):
        train(work, IMAGES, CPU)
    assert resume_state(work)["step"] == 3
    monkeypatch.undo()
    train(
        job(tmp_path, "hybrid", adversarial={"max_sample_magnitude": 200.0}), IMAGES, CPU
    )  # a higher limit goes on from there
    assert work.checkpoint.exists()
