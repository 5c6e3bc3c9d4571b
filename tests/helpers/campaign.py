"""Kills a run at chosen and random moments, each time followed by the same command."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from checkout import Project
from runs import Run, RunningJob, Runs

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("job", "all", "snakemake")
FORBIDDEN = ("cannot be locked", "--unlock", "IncompleteFilesException")


@dataclass(frozen=True)
class Moment:
    """When to kill a run.

    Attributes:
        script: of the job that goes on.
        pattern: of files in the checkout: wait until one is written, after the job began.
        seconds: at most so much later, by chance.
    """

    script: str
    pattern: str = ""
    seconds: float = 0.05


IN_A_WRITE = Moment("train_variant", "store/.*.resume-*.partial", 0)
AFTER_A_WRITE = Moment("train_variant", "store/*.resume-*.json")
BETWEEN_SAMPLES = Moment("sample_images", "results/*/*/*/.samples.npy.rows.json", 0.2)
MOMENTS = (
    Moment("prepare_dataset", "resources/archives/*.partial", 1),  # the download goes on
    Moment("prepare_dataset", "resources/archives/*.tar.gz", 0.2),
    Moment("train_variant", seconds=5),
    IN_A_WRITE,
    AFTER_A_WRITE,
    BETWEEN_SAMPLES,
    Moment("evaluate_likelihood", "results/*/*/*/.likelihood.npy.rows.json", 0.2),
    *(Moment(script, seconds=2) for script in ("prepare_extractor", "measure_features", "measure_calibration")),
    *(Moment(script, seconds=2) for script in ("evaluate_fidelity", "build_table", "draw_samples", "build_frontier")),
    *(
        Moment(script, seconds=2)
        for script in ("build_calibration", "draw_training", "write_provenance", "build_details", "build_page")
    ),
)


class Campaign:
    """A series of kills.

    Args:
        project: where the run works.
        arguments: of the command.
        runs: starts it.
        seed: of every choice; the moments also depend on the machine.
    """

    def __init__(self, project: Project, arguments: Sequence[str], runs: Runs, seed: int = 0) -> None:
        self.project, self.arguments, self.runs, self.rng = project, arguments, runs, random.Random(seed)
        self.kills: list[str] = []

    def run(self, moments: Sequence[Moment], ways: Sequence[tuple[int, str]] = ()) -> None:
        """Kills the run at all of the moments it comes to, in whatever order, and lets the last run finish.

        Args:
            moments: each is struck once.
            ways: signal and target of every kill; by chance when these are used up.
        """
        pending, ways, started = list(moments), list(ways), []
        while True:
            started.append(self.runs.start(self.project, self.arguments))
            found = self._wait_for(started[-1], pending)
            if found is None:
                break
            moment, job = found
            number, target = ways.pop(0) if ways else self.rng.choice(list(product(SIGNALS, TARGETS)))
            started[-1].send(number, target, job)
            pending.remove(moment)
            self.kills.append(f"{moment.script} {moment.pattern}: {signal.Signals(number).name} to {target}")
            started[-1].wait()
        assert started[-1].wait() == 0, f"after {self.kills}:\n{started[-1].text()[-3000:]}"
        for run in started:
            run.wait_for_all()
            for phrase in FORBIDDEN:
                assert phrase not in run.text(), f"{self.kills}:\n{run.text()[-3000:]}"

    def _wait_for(self, run: Run, pending: Sequence[Moment]) -> tuple[Moment, RunningJob] | None:
        """Waits for a moment that is pending; None if the run ends before."""
        while run.process.poll() is None:
            for job in run.jobs():
                moment = next((moment for moment in pending if moment.script == job.script), None)
                if moment is not None and self._reached(moment, job):
                    return moment, job
            time.sleep(0.02)
        return None

    def _reached(self, moment: Moment, job: RunningJob) -> bool:
        """Waits for a moment within a job; false if the job ends before."""
        began = time.time()
        while moment.pattern and not any(_changed(path) > began for path in self.project.path.glob(moment.pattern)):
            if not job.alive:
                return False
            time.sleep(0.001)
        time.sleep(self.rng.uniform(0, moment.seconds))
        return job.alive


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
