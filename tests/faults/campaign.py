"""Kills the run at random moments, and looks whether the plain command again ends in the same bytes.

``python tests/faults/campaign.py --kills 64 --seed 0`` prints every kill and what failed.

A round starts from a bare checkout. Its run is killed in one stage after the other, each time followed by the plain
command, which is killed in the next; the last one may finish. Every file must then be that of an undisturbed run.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from checkout import Project
from faults.moments import STAGES, Moments
from faults.outcome import differences, outcome
from faults.runs import Run, environment_of
from faults.slow_server import serve
from faults.small_cifar import make_checkout, write_archive

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("job", "all", "snakemake")
DOWNLOAD_RATE = 500e3  # bytes per second
FORBIDDEN = ("cannot be locked", "--unlock", "IncompleteFilesException")


class Campaign:
    """A seeded series of kills.

    Args:
        folder: for the checkouts.
        seed: of every choice; the moments themselves also depend on the machine.
        targets: files that the plain command asks for; all without them.
    """

    def __init__(self, folder: Path, seed: int, targets: Sequence[str] = ()) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.arguments = [*targets, "--cores", "1", "--configfile", "micro.yaml", "small.yaml"]
        self.kills: list[str] = []
        self.failures: list[str] = []
        self.archive = folder / "cifar-10-python.tar.gz"
        self.constants = write_archive(self.archive)
        self.ways = self._ways()
        self.runs = 0

    def _ways(self) -> Iterator[tuple[signal.Signals, str]]:
        while True:
            ways = list(product(SIGNALS, TARGETS))
            self.rng.shuffle(ways)
            yield from ways

    def run(self, kills: int, stages: Sequence[str] = 2 * STAGES) -> None:
        """Makes the reference, and rounds until there are as many kills.

        Args:
            kills: how many.
            stages: to be struck in each round; twice what stands there twice.
        """
        with serve(self.archive, DOWNLOAD_RATE) as url:
            make_checkout(self.folder / "bare", self.constants, url)
            reference = self._reference()
            rounds = 0
            while len(self.kills) < kills and rounds < 2 + 2 * kills // len(stages):
                rounds += 1
                self._round(rounds, list(stages)[: kills - len(self.kills)], reference)

    def _checkout(self, name: str) -> Project:
        shutil.copytree(self.folder / "bare", self.folder / name, symlinks=True)
        return Project(self.folder / name)

    def _reference(self) -> dict[str, str]:
        project = self._checkout("reference")
        self.durations: dict[str, float] = {}
        run, seen = Run(project, self._output(), self.arguments), {}
        while run.process.poll() is None:
            job = run.job()
            if job is not None:
                seen.setdefault(job.pid, (job.script, time.monotonic()))
                script, start = seen[job.pid]
                self.durations[script] = time.monotonic() - start
            time.sleep(0.1)
        if run.wait() != 0:
            raise RuntimeError(f"the undisturbed run failed:\n{run.text()[-3000:]}")
        return outcome(project.path)

    def _round(self, number: int, pending: list[str], reference: dict[str, str]) -> None:
        project = self._checkout(f"round{number}")
        moments = Moments(project.path, self.archive, self.durations, self.rng)
        runs: list[Run] = []
        while True:
            runs.append(Run(project, self._output(), self.arguments))
            kill = self._strike(runs[-1], moments, pending, number)
            status = runs[-1].wait()
            self._check(runs[-1], killed=kill is not None, status=status)
            if kill is None:
                break
            print(f"{time.strftime('%H:%M:%S')} {kill}", file=sys.stderr, flush=True)
        for run in runs:
            run.wait_for_all()
        lines = differences(outcome(project.path), reference)
        again = project.run(
            sys.executable, "-m", "snakemake", *self.arguments, "-n", check=False, env=environment_of(project)
        )
        if "Nothing to be done" not in again.stdout:
            lines.append(f"a finished run has more to do: {again.stdout[-2000:]}")
        self.failures += [f"round {number}: {line}" for line in lines]
        if not lines:
            shutil.rmtree(project.path)

    def _strike(self, run: Run, moments: Moments, pending: list[str], number: int) -> str | None:
        """Waits for a stage that is to be struck, and strikes; None if the run ends before."""
        passed: set[int] = set()
        while run.process.poll() is None:
            job = run.job() if pending else None
            stage = next((s for s in moments.stages_of(job) if s in pending), None) if job else None
            if stage is None or job.pid in passed:
                time.sleep(0.05)
                continue
            if not moments.wait(stage, job):
                passed.add(job.pid)
                continue
            way, target = next(self.ways)
            run.send(way, target, job)
            pending.remove(stage)
            self.kills.append(f"round {number}: {stage}, {way.name} to {target} after {run.seconds:.2f} s")
            return self.kills[-1]
        return None

    def _check(self, run: Run, killed: bool, status: int) -> None:
        text = run.text()
        for phrase in FORBIDDEN:
            if phrase in text:
                self.failures.append(f"{run.output.name} says {phrase!r}")
        if not killed and status != 0:
            self.failures.append(f"{run.output.name}: the plain command ended with {status}:\n{text[-3000:]}")

    def _output(self) -> Path:
        self.runs += 1
        return self.folder / f"run{self.runs:03}.txt"


def main() -> int:
    """Runs a campaign by hand; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the checkouts and outputs there")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="hybridflow-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(folder, options.seed)
    campaign.run(options.kills)
    print(f"{len(campaign.kills)} kills, {len(campaign.failures)} failures", *campaign.failures, sep="\n")
    if options.folder is None and not campaign.failures:
        shutil.rmtree(folder)
    return 1 if campaign.failures or len(campaign.kills) < options.kills else 0


if __name__ == "__main__":
    raise SystemExit(main())
