"""Trainings by several processes: the numbers of one process, and stops at one step."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from process_groups import Group, steps, train_in_group
from trainings import CPU, IMAGES, fork_server, job, resume_state, rows, wait_for

from hybridflow.models.checkpoint import read_tensors
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.training.loop import train
from hybridflow.training.state import Job


@pytest.fixture(scope="module")
def context():
    return fork_server("process_groups")


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of nested dicts and lists, by its path."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors(part, f"{name}.{key}")


# --- the numbers of one process ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size", "training"),
    [
        ("hybrid", 2, {"checkpointing": True}),  # with a moving average
        pytest.param("hybrid", 2, {"compile": True}, marks=pytest.mark.slow),
        ("two-steps", 4, {"adversarial": {"gradient_clip": 1e-3}, "gradient_clip": 1e-2}),  # less than every gradient
        ("everything", 2, {}),
        # with BatchNorm in the discriminator
        ("hybrid", 2, {"adversarial": {"penalties": {"r1": 0.5, "r2": 0.5, "finite_differences": True}}}),
    ],
)
def test_a_group_computes_the_steps_of_one_process(context, tmp_path, name, size, training):
    work = job(tmp_path, name, **training)
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    group = Group(context, size, tmp_path / "meet", steps, work, 4, many)
    steps(SINGLE_PROCESS, job(tmp_path, name, **training | {"compile": False}), 4, one)
    assert group.join() == [0] * size
    expected = dict(tensors(torch.load(one / "rank-0.pt")))
    results = [torch.load(many / f"rank-{rank}.pt") for rank in range(size)]
    found = [dict(tensors(result)) for result in results]
    assert any("running_var" in key for key in expected)
    for key, value in expected.items():
        # Double precision rounds at 1e-16 of values around 1. A gradient that is zero but for rounding is divided by
        # Adam's 1e-8 and moves its weight by lr = 1e-3 times 1e-8 at most; a wrong one moves it by 1e-3.
        torch.testing.assert_close(
            found[0][key], value, rtol=1e-9, atol=1e-10, msg=lambda text, key=key: f"{key} {text}"
        )
        assert all(torch.equal(other[key], found[0][key]) for other in found[1:]), f"processes differ in {key}"
    for result in results:
        assert not result["reads"], result["reads"][0]


def test_rows_and_draws_are_shares_of_the_batch():
    batch = torch.arange(12).reshape(6, 2)
    shares = [ProcessGroup(rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([share.rows(batch) for share in shares]), batch)

    def noise(shape):
        return torch.arange(float(np.prod(shape))).reshape(shape)

    drawn = torch.cat([share.noise(noise)((2, 5)) for share in shares])
    assert torch.equal(drawn, noise((6, 5)))
    assert torch.equal(SINGLE_PROCESS.noise(noise)((6, 5)), noise((6, 5)))


# --- whole trainings --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(context, tmp_path_factory):
    """The hybrid, trained by two processes without interruption."""
    folder = tmp_path_factory.mktemp("two")
    work = job(folder, "hybrid")
    assert Group(context, 2, folder / "meet", train_in_group, work).join() == [0, 0]
    return work


def assert_same_result(work: Job, reference: Job) -> None:
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()
    assert rows(work.history) == rows(reference.history)
    assert resume_state(work) is None


def test_one_process_writes_what_one_alone_would(two, tmp_path):
    alone = job(tmp_path, "hybrid")
    train(alone, IMAGES, CPU)
    assert [row["step"] for row in rows(two.history)] == [5, 10, 12]
    for ours, theirs in zip(rows(two.history), rows(alone.history), strict=True):
        # Single precision: rounding of 1e-7 grows over the steps, and now and then flips a pixel's level.
        assert ours == pytest.approx(theirs, rel=2e-3)
    ours, theirs = read_tensors(two.checkpoint, "flow"), read_tensors(alone.checkpoint, "flow")
    assert ours.keys() == theirs.keys()
    assert len(list((two.monitor / "tensorboard").iterdir())) == 1
    assert [path.name for path in (two.monitor / "grids").iterdir()] == ["step-0000012.png"]


def test_bfloat16_networks(context, tmp_path):
    works = [job(tmp_path / name, "two-steps", precision="bf16", epochs=0.5) for name in ("many", "alone")]
    group = Group(context, 2, tmp_path / "meet", train_in_group, works[0])
    train(works[1], IMAGES, CPU)
    assert group.join() == [0, 0]
    ours, theirs = (rows(work.history) for work in works)
    assert ours[0]["bpd"] == pytest.approx(theirs[0]["bpd"], abs=0.01)  # bfloat16 has three digits


def test_a_signal_to_one_process_stops_all_at_the_same_step(context, two, tmp_path):
    work = job(tmp_path, "hybrid", log_every=1, resume_every_minutes=30.0)
    group = Group(context, 2, tmp_path / "meet", train_in_group, work)
    wait_for(lambda: work.history.exists() and "step" in work.history.read_text())
    os.kill(group.processes[1].pid, signal.SIGTERM)
    assert group.join() == [128 + signal.SIGTERM] * 2
    assert 1 <= resume_state(work)["step"] < 12
    alone = job(tmp_path / "alone", "hybrid", log_every=1)
    shutil.copytree(tmp_path, alone.resume.parent, ignore=shutil.ignore_patterns("alone", "meet", "monitor"))
    train(alone, IMAGES, CPU)  # another number of devices may go on
    assert Group(context, 2, tmp_path / "again", train_in_group, work).join() == [0, 0]
    assert rows(work.history)[-1] == pytest.approx(rows(alone.history)[-1], rel=2e-3)
    assert work.checkpoint.read_bytes() == two.checkpoint.read_bytes()


def test_divergence_ends_all_processes(context, tmp_path):
    work = job(tmp_path, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0)
    assert Group(context, 2, tmp_path / "meet", train_in_group, work).join() == [1, 1]
    assert not work.checkpoint.exists()
