"""Jobs that train in several processes: whatever ends one of them, the next call goes on."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from process_groups import Group, launch, running, train_in_group, workers_of
from recorded import save_array
from trainings import IMAGES, fork_server, job, last_saved, resume_state, rows, wait_for

from hybridflow.training.state import Job


@pytest.fixture(scope="module")
def context():
    return fork_server("process_groups")


@pytest.fixture
def start(context, tmp_path):
    """Starts jobs that train on two devices, and ends what is left of them."""
    save_array(tmp_path / "images.npy", IMAGES)
    jobs = []

    def start(work: Job) -> Any:
        jobs.append(context.Process(target=launch, args=(work, tmp_path / "images.npy", 2, tmp_path)))
        jobs[-1].start()
        return jobs[-1]

    yield start
    for process in jobs:
        process.kill()


def end_of(process: Any) -> int | None:
    process.join(120)
    return process.exitcode


@pytest.mark.slow
def test_a_job_that_is_interrupted_in_every_way_ends_in_the_same_bytes(context, start, tmp_path):
    reference = job(tmp_path / "reference", "hybrid")
    assert Group(context, 2, tmp_path / "meet", train_in_group, reference).join() == [0, 0]
    (tmp_path / "work").mkdir()
    work = job(tmp_path / "work", "hybrid")

    def started_and_saved() -> tuple[Any, list[int]]:
        before = last_saved(work)
        process = start(work)
        wait_for(lambda: last_saved(work) != before)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        return process, workers

    # The job is killed: its workers end too
    process, workers = started_and_saved()
    process.kill()
    wait_for(lambda: not any(map(running, workers)), 20)

    # One worker is killed: the job fails with a sentence
    process, workers = started_and_saved()
    os.kill(workers[1], signal.SIGKILL)
    assert end_of(process) == 1
    assert (tmp_path / "error").read_text().startswith("train hybrid seed 0: one of its 2 processes died")
    assert not any(map(running, workers))

    # The job is asked to stop, and called again
    process, workers = started_and_saved()
    os.kill(process.pid, signal.SIGINT)
    assert end_of(process) == 128 + signal.SIGINT
    assert 1 <= resume_state(work)["step"] < 12
    assert not work.checkpoint.exists()
    assert end_of(start(work)) == 0
    assert work.checkpoint.read_bytes() == reference.checkpoint.read_bytes()
    assert rows(work.history) == rows(reference.history)
    assert resume_state(work) is None


def test_the_sentence_of_a_worker_is_the_jobs(start, tmp_path):
    work = job(tmp_path)
    work.resume.with_name("model.resume-a.json").write_bytes(b"garbage")
    assert end_of(start(work)) == 1
    assert (tmp_path / "error").read_text().startswith("the resume state of this training is damaged")
