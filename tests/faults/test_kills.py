"""Runs that are killed at any moment, and the same command again: the bytes are those of an undisturbed run."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import small_checkout, small_cifar
from campaign import AFTER_A_WRITE, BETWEEN_SAMPLES, IN_A_WRITE, MOMENTS, Campaign
from checkout import Project
from outcome import differences, outcome
from runs import Runs
from web import serve


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    started = Runs(tmp_path)
    yield started
    started.end()


@pytest.mark.workflow
def test_killed_runs_end_in_the_same_bytes(finished: Project, runs: Runs, tmp_path: Path) -> None:
    project = finished.copy(tmp_path / "killed")
    for folder in ("results", "store"):
        shutil.rmtree(project.path / folder)
    project.write("often.yaml", "training: {resume_every_minutes: 1.0e-6}\nsampling: {batch_size: 2}")
    target = "results/micro/baseline/seed0/samples.npy"
    campaign = Campaign(project, (target, "--cores", "1", "--configfile", "micro.yaml", "often.yaml"), runs)
    ways = ((signal.SIGKILL, "all"), (signal.SIGTERM, "job"), (signal.SIGINT, "all"))
    campaign.run((IN_A_WRITE, AFTER_A_WRITE, BETWEEN_SAMPLES), ways)
    assert len(campaign.kills) == 3
    ours, reference = outcome(project.path), outcome(finished.path)
    folder = "results/micro/baseline/seed0"
    for name in ("checkpoint.safetensors", "checkpoint.json", "training.jsonl", "samples.npy"):
        assert ours[f"{folder}/{name}"] == reference[f"{folder}/{name}"], name
    assert {Path(name).suffix for name in ours if name.startswith("store/")} == {".safetensors", ".jsonl", ".json"}


@pytest.mark.slow
@pytest.mark.workflow
def test_a_run_that_is_killed_in_every_job_ends_in_the_same_bytes(runs: Runs, tmp_path: Path) -> None:
    layout = small_cifar(tmp_path / "archive")
    with serve((tmp_path / "archive").read_bytes(), rate=5e5) as server:
        undisturbed = small_checkout(tmp_path / "one", layout, server.url)
        killed = undisturbed.copy(tmp_path / "two")
        arguments = ("--cores", "1", "--configfile", "micro.yaml", "small.yaml")
        Campaign(undisturbed, arguments, runs).run(())
        campaign = Campaign(killed, arguments, runs, seed=1)
        campaign.run((*MOMENTS, IN_A_WRITE, AFTER_A_WRITE))
    print(*campaign.kills, sep="\n")
    assert len(campaign.kills) >= len(MOMENTS) - 3, campaign.kills  # a short job may end before it is struck
    assert differences(outcome(killed.path), outcome(undisturbed.path)) == []
    command = [sys.executable, "-m", "snakemake", *arguments, "-n"]
    assert "Nothing to be done" in killed.run(*command).stdout


def test_a_difference_is_seen(tmp_path: Path) -> None:
    row = {"step": 1, "loss": 0.5, "seconds": 1.0, "images_per_second": 3.0}
    for name in ("a", "b"):
        folder = tmp_path / name / "results" / "micro"
        (folder / "logs").mkdir(parents=True)
        (folder / "training.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "samples.npy").write_bytes(b"samples")
        (folder / "logs" / "a.log").write_text(name)
        (tmp_path / name / "store").mkdir()
        (tmp_path / name / "store" / "a.lock").touch()
        row |= {"seconds": 2.0}
    reference = outcome(tmp_path / "a")
    assert len(reference) == 2
    assert differences(outcome(tmp_path / "b"), reference) == []

    results = tmp_path / "b" / "results" / "micro"
    (results / "training.jsonl").write_text(json.dumps(row | {"loss": 0.25}) + "\n")
    (results / "samples.npy").unlink()
    (results / ".samples.npy.1.partial").touch()
    assert differences(outcome(tmp_path / "b"), reference) == [
        "results/micro/samples.npy is missing",
        "results/micro/.samples.npy.1.partial was left behind",
        "results/micro/training.jsonl differs",
    ]
