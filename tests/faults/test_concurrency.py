"""Processes that want the same thing: orphans, two runs, two clones."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import Project
from runs import Run, RunningJob, Runs, wait_until

pytestmark = pytest.mark.workflow

CHECKPOINT = "results/micro/baseline/seed0/checkpoint.safetensors"
TRAIN = (CHECKPOINT, "--cores", "1", "--configfile", "micro.yaml")
FOUND = "baseline-seed0: found in the store under"


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    started = Runs(tmp_path)
    yield started
    started.end()


def untrained(finished: Project, target: Path) -> Project:
    """A copy of the finished checkout before anything was trained, which saves a state after every step."""
    project = finished.copy(target)
    for name in ("results", "store"):
        shutil.rmtree(project.path / name)
    text = project.read("micro.yaml").replace("  threads: 1\n", "  threads: 1\n  resume_every_minutes: 1.0e-6\n")
    project.write("micro.yaml", text)
    return project


def halted_training(run: Run, store: Path) -> RunningJob:
    """The run's training after its first saved state, halted: it goes on at SIGCONT."""
    wait_until(lambda: run.process.poll() is not None or list(store.glob("baseline-*.resume-*.json")), "a state", 0.003)
    (job,) = run.jobs()
    os.kill(job.pid, signal.SIGSTOP)
    assert not list(store.glob("baseline-*.safetensors")), "the training was over before it could be halted"
    return job


def checkpoint(project: Project) -> bytes:
    return (project.path / CHECKPOINT).read_bytes()


def test_the_next_run_waits_for_a_training_that_lost_its_snakemake(finished: Project, runs: Runs, tmp_path: Path):
    project = untrained(finished, tmp_path / "orphan")
    first = runs.start(project, TRAIN)
    orphan = halted_training(first, project.path / "store")
    os.kill(first.process.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert first.processes(), "the training goes on"

    second = runs.start(project, TRAIN)
    sentence = "another process is still doing this job (baseline-seed0); waiting for it"
    wait_until(lambda: sentence in second.text() or second.process.poll() is not None, "the second run to wait")
    assert second.process.poll() is None, second.text()
    assert "train baseline" not in second.text()
    os.kill(orphan.pid, signal.SIGCONT)
    assert second.wait() == 0, second.text()
    assert FOUND in second.text(), "the orphan's work is not done twice"
    assert "cannot be locked" not in second.text()
    assert checkpoint(project) == checkpoint(finished)


def test_of_two_runs_in_one_checkout_one_is_refused(finished: Project, runs: Runs, tmp_path: Path) -> None:
    project = untrained(finished, tmp_path / "shared")
    both = [runs.start(project, TRAIN), runs.start(project, TRAIN)]
    wait_until(lambda: any(run.jobs() for run in both), "a job")
    first, second = sorted(both, key=lambda run: not run.jobs())
    (job,) = first.jobs()
    os.kill(job.pid, signal.SIGSTOP)
    assert second.wait() == 1
    sentence = "another snakemake is making results/micro in this folder; wait until"
    assert sentence in second.text()
    assert not re.search(r"Traceback|File \"|in file", second.text()), "a sentence and no more"
    looked = project.run(*first.process.args, "-n", check=False)
    assert looked.returncode == 0, "a dry run is no run"
    os.kill(job.pid, signal.SIGCONT)
    assert first.wait() == 0, first.text()
    assert checkpoint(project) == checkpoint(finished)


@pytest.mark.slow
def test_of_two_clones_with_one_store_one_trains(finished: Project, runs: Runs, tmp_path: Path) -> None:
    clones = [untrained(finished, tmp_path / name) for name in ("one", "two")]
    store = tmp_path / "common store"
    first = runs.start(clones[0], TRAIN, HYBRIDFLOW_STORE=str(store))
    training = halted_training(first, store)
    second = runs.start(clones[1], TRAIN, HYBRIDFLOW_STORE=str(store))
    sentence = "another process is making baseline-seed0 ("
    wait_until(lambda: sentence in second.text() or second.process.poll() is not None, "the second clone to wait")
    assert second.process.poll() is None, second.text()
    os.kill(training.pid, signal.SIGCONT)
    assert [first.wait(), second.wait()] == [0, 0], first.text() + second.text()
    assert FOUND in second.text()
    assert FOUND not in first.text()
    assert checkpoint(clones[0]) == checkpoint(clones[1]) == checkpoint(finished)
    assert not list((clones[1].path / "store").glob("baseline-*")), "the common store is the only one"
