"""Trainings on several devices: the numbers of one process, and runs that are interrupted."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from replica_runs import Group, launch, steps, train_replica, worker_ids
from test_training import CPU, IMAGES, changed_at, job, rows

from hybridflow.models.checkpoint import load_resume_state, read_tensors
from hybridflow.runtime.distributed import ALONE, Replicas
from hybridflow.training.loop import train
from hybridflow.training.state import Job


@pytest.fixture(scope="module")
def context():
    """Starts processes quickly: torch is imported once, in a server that forks them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["replica_runs", "torch.utils.tensorboard", "torch._dynamo", "pytest"])
    return context


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.005)


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
        ("baseline", 2, {}),
        ("hybrid", 2, {"checkpointing": True}),  # with a moving average
        ("hybrid", 2, {"compile": True}),
        ("two-steps", 4, {"adversarial": {"gradient_clip": 1e-3}, "gradient_clip": 1e-2}),  # less than every gradient
    ],
)
def test_replicas_compute_the_steps_of_one_process(context, tmp_path, name, size, training):
    work = job(tmp_path, name, **training)
    one, many = tmp_path / "one", tmp_path / "many"
    one.mkdir()
    many.mkdir()
    group = Group(context, size, tmp_path / "meet", steps, work, 4, many)
    steps(ALONE, job(tmp_path, name, **training | {"compile": False}), 4, one)
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
        assert all(torch.equal(other[key], found[0][key]) for other in found[1:]), f"replicas differ in {key}"
    for result in results:
        assert not result["reads"], result["reads"][0]


def test_rows_and_draws_are_shares_of_the_batch():
    batch = torch.arange(12).reshape(6, 2)
    shares = [Replicas(rank, 3) for rank in range(3)]
    assert torch.equal(torch.cat([share.rows(batch) for share in shares]), batch)

    def noise(shape):
        return torch.arange(float(np.prod(shape))).reshape(shape)

    drawn = torch.cat([share.noise(noise)((2, 5)) for share in shares])
    assert torch.equal(drawn, noise((6, 5)))
    assert torch.equal(ALONE.noise(noise)((6, 5)), noise((6, 5)))


# --- whole trainings --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(context, tmp_path_factory):
    """The hybrid, trained by two processes without interruption."""
    folder = tmp_path_factory.mktemp("two")
    work = job(folder, "hybrid")
    assert Group(context, 2, folder / "meet", train_replica, work).join() == [0, 0]
    return work


def assert_same_result(work: Job, reference: Job) -> None:
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()
    assert rows(work.history) == rows(reference.history)
    assert not work.resume.exists()


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
    group = Group(context, 2, tmp_path / "meet", train_replica, works[0])
    train(works[1], IMAGES, CPU)
    assert group.join() == [0, 0]
    ours, theirs = (rows(work.history) for work in works)
    assert ours[0]["bpd"] == pytest.approx(theirs[0]["bpd"], abs=0.01)  # bfloat16 has three digits


def test_killed_replicas_end_in_the_same_bytes(context, two, tmp_path):
    work = job(tmp_path, "hybrid")
    for attempt in range(2):
        group, stamp = Group(context, 2, tmp_path / f"meet-{attempt}", train_replica, work), changed_at(work.resume)
        wait_for(lambda stamp=stamp: changed_at(work.resume) != stamp)
        for process in group.processes:
            process.kill()
        group.join()
    assert not work.checkpoint.exists()
    assert Group(context, 2, tmp_path / "meet", train_replica, work).join() == [0, 0]
    assert_same_result(work, two)


def test_a_signal_to_one_replica_stops_all_at_the_same_step(context, two, tmp_path):
    work = job(tmp_path, "hybrid", log_every=1, resume_every_minutes=30.0)
    group = Group(context, 2, tmp_path / "meet", train_replica, work)
    wait_for(lambda: work.history.exists() and "step" in work.history.read_text())
    os.kill(group.processes[1].pid, signal.SIGTERM)
    assert group.join() == [128 + signal.SIGTERM] * 2
    assert 1 <= load_resume_state(work.resume)["step"] < 12
    alone = job(tmp_path / "alone", "hybrid", log_every=1)
    alone.resume.parent.mkdir()
    alone.resume.write_bytes(work.resume.read_bytes())
    train(alone, IMAGES, CPU)  # another number of devices may go on
    assert Group(context, 2, tmp_path / "again", train_replica, work).join() == [0, 0]
    assert rows(work.history)[-1] == pytest.approx(rows(alone.history)[-1], rel=2e-3)
    assert work.checkpoint.read_bytes() == two.checkpoint.read_bytes()


def test_divergence_ends_all_replicas(context, tmp_path):
    work = job(tmp_path, optimizer={"name": "adam", "lr": 1e30}, warmup_steps=0)
    assert Group(context, 2, tmp_path / "meet", train_replica, work).join() == [1, 1]
    assert not work.checkpoint.exists()


# --- under torchrun ---------------------------------------------------------------------------------------------------


@pytest.fixture
def start(context, tmp_path):
    """Starts jobs that train on two devices, and ends what is left of them."""
    np.save(tmp_path / "images.npy", IMAGES)
    jobs = []

    def start(work: Job) -> Any:
        jobs.append(context.Process(target=launch, args=(work, tmp_path / "images.npy", 2, tmp_path)))
        jobs[-1].start()
        return jobs[-1]

    yield start
    for process in jobs:
        process.kill()


def test_a_job_that_is_interrupted_in_every_way_ends_in_the_same_bytes(start, two, tmp_path):
    work = job(tmp_path, "hybrid")

    # The job is killed: its workers end too
    process = start(work)
    wait_for(work.resume.exists)
    assert sorted(worker_ids(tmp_path)) == [0, 1]
    process.kill()
    process.join(60)
    wait_for(lambda: not worker_ids(tmp_path), 20)

    # One worker is killed: the job fails with a sentence
    stamp = changed_at(work.resume)
    process = start(work)
    wait_for(lambda: changed_at(work.resume) != stamp)
    os.kill(worker_ids(tmp_path)[1], signal.SIGKILL)
    process.join(60)
    assert process.exitcode == 1
    assert (tmp_path / "error").read_text().startswith("train hybrid seed 0: one of its 2 processes died")
    assert not worker_ids(tmp_path)
    assert not work.checkpoint.exists()

    # The job is asked to stop, and called again
    stamp = changed_at(work.resume)
    process = start(work)
    wait_for(lambda: changed_at(work.resume) != stamp)
    os.kill(process.pid, signal.SIGTERM)
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    assert not work.checkpoint.exists()
    process = start(work)
    process.join(60)
    assert process.exitcode == 0
    assert_same_result(work, two)


def test_the_sentence_of_a_worker_is_the_jobs(start, tmp_path):
    work = job(tmp_path)
    work.resume.write_bytes(b"garbage")
    process = start(work)
    process.join(60)
    assert process.exitcode == 1
    assert (tmp_path / "error").read_text().endswith("damaged; delete it to train this model again from its start.")
