"""The experiment through profiles/slurm, on a real Slurm: what strikes its trainings does not change the bytes."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from checkout import Project, write_dataset
from outcome import differences, outcome
from runs import Runs, script_of, wait_until
from slurm import ETC, FILES, Slurm, SlurmJob, Unavailable, slurm

pytestmark = pytest.mark.cluster

# `auto` asks the scheduler for a GPU, and computes on the CPU, because torch sees none. `apart` and `baseline` start
# together.
LONGER = """
variants:
  baseline: {training: {device: auto, epochs: 5}}
  dcgan-0.5: {training: {device: auto, epochs: 3}}
  apart: {training: {device: auto, epochs: 6}}
"""
FILES_GIVEN = ("--configfile", "micro.yaml", "longer.yaml")
THROUGH_SLURM = (
    *("--workflow-profile", "profiles/slurm", "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "20"),
    *FILES_GIVEN,
)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Slurm]:
    try:
        with slurm(tmp_path / "slurm") as started:
            yield started
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def runs(tmp_path: Path, cluster: Slurm) -> Iterator[Runs]:  # they end before the cluster does
    started = Runs(tmp_path)
    yield started
    started.end()


class Training:
    """A variant's training as a Slurm job, held in the middle.

    Args:
        cluster: where it runs.
        project: the checkout.
        variant: its name.
        after: number of an earlier job for it.
    """

    def __init__(self, cluster: Slurm, project: Project, variant: str, after: int = 0) -> None:
        self.cluster, self.project, self.variant, self.after = cluster, project, variant, after
        wait_until(self._started, f"the training of {variant} to start")
        before = self._rows()  # of an earlier job
        wait_until(lambda: self._rows() > before, f"metrics of the training of {variant}")
        os.kill(self.pid, signal.SIGSTOP)

    def _started(self) -> bool:
        rule = f"rule_train_variant_wildcards_{self.variant}_0"
        for job in self.cluster.jobs():
            if job.rule == rule and job.state == "RUNNING" and job.number > self.after:
                self.number, self.pid = job.number, _process(job.number)
                return self.pid is not None
        return False

    def _rows(self) -> int:
        return sum(len(path.read_bytes().splitlines()) for path in self._stored(".jsonl"))

    def _stored(self, suffix: str) -> list[Path]:
        return list((self.project.path / "store").glob(f"{self.variant}-seed0-*{suffix}"))

    @property
    def job(self) -> SlurmJob:
        return self.cluster.job(self.number)

    def stopped(self, state: str) -> None:
        """Waits until Slurm has ended the training (it sends SIGCONT, then SIGTERM), and checks its saved state."""
        wait_until(lambda: self.job.state == state, f"{self.variant} to be {state}", pause=0.2)
        wait_until(lambda: _process(self.number) is None, f"the training of {self.variant} to end", pause=0.2)
        assert self._stored(".resume-*"), f"{self.variant} left no state"

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


def _process(number: int) -> int | None:
    """The process that trains in a Slurm job."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            inside = f"SLURM_JOB_ID={number}\0".encode() in (entry / "environ").read_bytes()
        except OSError:  # it has ended
            continue
        if inside and script_of(int(entry.name)) == "train_variant":
            return int(entry.name)
    return None


@pytest.fixture
def experiment(project: Project) -> Project:
    write_dataset(project)
    project.write("longer.yaml", LONGER)
    return project


def test_a_run_that_is_struck_ends_in_the_bytes_of_a_local_one(
    experiment: Project, cluster: Slurm, runs: Runs, tmp_path: Path
) -> None:
    pytest.importorskip("snakemake_executor_plugin_slurm", reason="pip install snakemake-executor-plugin-slurm")
    reference = experiment.copy(tmp_path / "reference")
    local = runs.start(reference, ("--cores", "1", *FILES_GIVEN))
    began, events = time.monotonic(), []

    def happened(event: str) -> None:
        events.append(f"{time.monotonic() - began:4.0f} s  {event}")

    first = runs.start(experiment, THROUGH_SLURM)
    apart, baseline = (Training(cluster, experiment, name) for name in ("apart", "baseline"))
    assert (apart.job.state, baseline.job.state) == ("RUNNING", "RUNNING")
    assert {frozenset({0}), frozenset({1})} == {apart.job.gpus, baseline.job.gpus}
    happened("two trainings on two GPUs")

    cluster("scontrol", "update", f"JobId={baseline.number}", "TimeLimit=1")
    cluster("scancel", str(apart.number))
    apart.stopped("CANCELLED")
    happened("scancel of one: its state is saved")
    apart = Training(cluster, experiment, "apart", after=apart.number)
    happened("retried")
    cluster("scontrol", "requeue", str(apart.number))
    apart.stopped("PENDING")
    cluster("scontrol", "update", f"JobId={apart.number}", "StartTime=now")
    happened("requeued")

    baseline.stopped("TIMEOUT")
    happened("the other's time limit: its state is saved")

    hybrid = Training(cluster, experiment, "dcgan-0.5")
    first.send(signal.SIGKILL, "snakemake", None)
    assert first.wait() == -signal.SIGKILL
    happened("kill -9 of snakemake in a third training")
    second = runs.start(experiment, THROUGH_SLURM)
    logs = experiment.path / ".snakemake/slurm_logs/rule_train_variant/dcgan-0.5_0"
    waiting = "is still doing this job"
    wait_until(lambda: any(waiting in log.read_text() for log in logs.glob("*.log")), "the second job", pause=0.5)
    hybrid.go_on()
    happened("the same command: its job waits for the one that goes on")

    assert second.wait(900) == 0, second.text()[-3000:]
    happened("the end")
    assert local.wait(900) == 0, local.text()[-3000:]
    ours = outcome(experiment.path)
    assert differences(ours, outcome(reference.path)) == []
    assert len([state for state in cluster.ended() if state != "COMPLETED"]) == 3, cluster.ended()

    size = sum((experiment.path / name).stat().st_size for name in ours)
    print("", *events, sep="\n")
    print(
        f"{len(cluster.jobs())} Slurm jobs, {dict(Counter(cluster.ended()))}; {len(ours)} files, {size} bytes compared"
    )


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    try:
        with slurm(tmp_path / "slurm") as started:
            started(
                "sbatch",
                "--mem=10",
                f"--chdir={tmp_path}",
                "--output=/dev/null",
                f"--wrap=tail -f {tmp_path}/slurm/slurm.conf",
            )
            wait_until(lambda: started.job(1).state == "RUNNING", "the job to start", pause=0.2)
    except Unavailable as reason:
        pytest.skip(str(reason))
    assert not any((ETC / name).is_symlink() for name in FILES)
    left = [command for command in _commands() if "slurmstepd" in command or str(tmp_path) in command]
    assert left == []


def _commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            yield path.read_text(errors="replace")
