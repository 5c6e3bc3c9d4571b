"""Processes that want the same thing: orphans, two runs, two clones, more trainings than GPUs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from checkout import Project, copy_project, write_dataset
from faults.runs import Run, RunningJob, environment_of, wait_until

pytestmark = pytest.mark.workflow

CHECKPOINT = "results/micro/baseline/seed0/checkpoint.safetensors"
TRAIN = (CHECKPOINT, "--cores", "1", "--configfile", "micro.yaml")
HYBRIDS = ("dcgan-0.5", "dcgan-0.6", "dcgan-0.7")
FOUND = "baseline-seed0: found in the store under"


class Runs:
    """Runs that end with the test, whatever happens."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.all = folder, []

    def start(self, project: Project, arguments: tuple[str, ...] = TRAIN, **environment: str) -> Run:
        self.all.append(Run(project, self.folder / f"run{len(self.all)}.txt", arguments, environment))
        return self.all[-1]


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    started = Runs(tmp_path)
    yield started
    for run in started.all:
        run.end()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A checkout with data and a trained baseline."""
    project = copy_project(tmp_path_factory.mktemp("trained") / "project")
    write_dataset(project)
    text = project.read("micro.yaml").replace("  threads: 1\n", "  threads: 1\n  resume_every_minutes: 1.0e-6\n")
    project.write("micro.yaml", text)
    project.run(sys.executable, "-m", "snakemake", *TRAIN)
    return project


def untrained(trained: Project, target: Path) -> Project:
    """A copy of the checkout before it was trained."""
    shutil.copytree(trained.path, target, symlinks=True)
    for name in ("results/micro", "store"):
        shutil.rmtree(target / name)
    (target / "store").mkdir()
    return Project(target)


def halted_training(run: Run, store: Path) -> RunningJob:
    """The run's training after its first saved state, halted: it goes on at SIGCONT."""
    wait_until(lambda: run.process.poll() is not None or list(store.glob("baseline-*.resume-*.json")), "a state", 0.003)
    (job,) = run.jobs()
    os.kill(job.pid, signal.SIGSTOP)
    assert not list(store.glob("baseline-*.safetensors")), "the training was over before it could be halted"
    return job


def checkpoint(project: Project) -> bytes:
    return (project.path / CHECKPOINT).read_bytes()


def test_the_next_run_waits_for_a_training_that_lost_its_snakemake(trained: Project, runs: Runs, tmp_path: Path):
    project = untrained(trained, tmp_path / "orphan")
    first = runs.start(project)
    orphan = halted_training(first, project.path / "store")
    os.kill(first.process.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert first.processes(), "the training goes on"

    second = runs.start(project)
    sentence = "another process is still doing this job (baseline-seed0); waiting for it"
    wait_until(lambda: sentence in second.text() or second.process.poll() is not None, "the second run to wait")
    assert second.process.poll() is None, second.text()
    assert "train baseline" not in second.text()
    os.kill(orphan.pid, signal.SIGCONT)
    assert second.wait() == 0, second.text()
    assert FOUND in second.text(), "the orphan's work is not done twice"
    assert "cannot be locked" not in second.text()
    assert checkpoint(project) == checkpoint(trained)


def test_of_two_runs_in_one_checkout_one_is_refused(trained: Project, runs: Runs, tmp_path: Path) -> None:
    project = untrained(trained, tmp_path / "shared")
    both = [runs.start(project), runs.start(project)]
    wait_until(lambda: any(run.jobs() for run in both), "a job")
    first, second = sorted(both, key=lambda run: not run.jobs())
    (job,) = first.jobs()
    os.kill(job.pid, signal.SIGSTOP)
    assert second.wait() == 1
    sentence = "another snakemake is making results/micro in this folder; wait until"
    assert sentence in second.text()
    assert not re.search(r"Traceback|File \"|in file", second.text()), "a sentence and no more"
    looked = project.run(*first.process.args, "-n", check=False, env=environment_of(project))
    assert looked.returncode == 0, "a dry run is no run"
    os.kill(job.pid, signal.SIGCONT)
    assert first.wait() == 0, first.text()
    assert checkpoint(project) == checkpoint(trained)


def test_of_two_clones_with_one_store_one_trains(trained: Project, runs: Runs, tmp_path: Path) -> None:
    clones = [untrained(trained, tmp_path / name) for name in ("one", "two")]
    store = tmp_path / "common store"
    first = runs.start(clones[0], HYBRIDFLOW_STORE=str(store))
    training = halted_training(first, store)
    second = runs.start(clones[1], HYBRIDFLOW_STORE=str(store))
    sentence = "another process is making baseline-seed0 ("
    wait_until(lambda: sentence in second.text() or second.process.poll() is not None, "the second clone to wait")
    assert second.process.poll() is None, second.text()
    os.kill(training.pid, signal.SIGCONT)
    assert [first.wait(), second.wait()] == [0, 0], first.text() + second.text()
    assert FOUND in second.text()
    assert FOUND not in first.text()
    assert checkpoint(clones[0]) == checkpoint(clones[1]) == checkpoint(trained)
    assert not list((clones[1].path / "store").glob("baseline-*")), "the common store is the only one"


def test_trainings_at_once_share_two_gpus(trained: Project, runs: Runs, tmp_path: Path) -> None:
    """Three at once, as ``--resources gpu=3`` on a machine with two would have it: the third waits for a GPU."""
    wanted = [f"results/micro/{name}/seed0/checkpoint.safetensors" for name in HYBRIDS]
    apart, at_once = (Project(shutil.copytree(trained.path, tmp_path / name)) for name in ("one", "two"))
    for project, device in ((apart, "cpu"), (at_once, "cuda")):  # the device is no part of the keys
        settings = yaml.safe_load(project.read("micro.yaml"))
        settings["training"]["device"] = device
        for name in HYBRIDS:
            settings["variants"][name] = settings["variants"]["dcgan-0.5"] | {
                "discriminator": "dcgan",
                "adversarial_weight": float(name.removeprefix("dcgan-")),
                "init_from": "baseline",
            }
        project.write("micro.yaml", yaml.safe_dump(settings))
    alone = runs.start(apart, (wanted[0], *TRAIN[1:]))
    assert alone.wait() == 0, alone.text()

    log, locks = tmp_path / "gpus.jsonl", tmp_path / "locks"
    search = os.pathsep.join([str(Path(__file__).parent / "two_gpus"), str(at_once.path / "src")])
    arguments = (*wanted, "--cores", "3", "--resources", "gpu=3", "--configfile", "micro.yaml")
    gpus = {"GPU_LOG": str(log), "GPU_LOCKS": str(locks), "GPU_JOBS": str(len(HYBRIDS))}
    run = runs.start(at_once, arguments, PYTHONPATH=search, **gpus)
    assert run.wait() == 0, run.text()

    rows = [json.loads(line) for line in log.read_text().splitlines()]
    events = [row["event"] for row in rows]
    assert [events.count(event) for event in ("asked", "claimed", "freed")] == [3, 3, 3], "a stored baseline: none"
    assert events[: events.index("freed")].count("asked") == 3, "the third asked while both were taken"
    assert events[: events.index("freed")].count("claimed") == 2, "and waited"
    busy: set[str] = set()
    for row in rows:
        assert busy.isdisjoint(row["gpus"]) == (row["event"] != "freed"), f"one GPU was given to two at once: {rows}"
        busy ^= set(row["gpus"])
    assert (at_once.path / wanted[0]).read_bytes() == (alone.project.path / wanted[0]).read_bytes()
    assert all((at_once.path / name).exists() for name in wanted)
