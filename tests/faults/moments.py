"""When to strike: the stages of a run, and the moments within them."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faults.runs import RunningJob

TRAINING = ("training, before a state", "training, in a write", "training, after a write")
SCRIPTS = {
    "train_classifier": "classifier",
    "evaluate_likelihood": "likelihood",
    "sample_images": "sampling",
    "measure_moments": "features",
    "measure_ruler": "ruler",
    "evaluate_fidelity": "fidelity",
    "build_table": "table",
    "draw_samples": "figures",
    "draw_tradeoff": "figures",
    "draw_training": "figures",
    "write_provenance": "provenance",
    "build_details": "details",
}
STAGES = (
    "download",
    "preparation",
    *(f"baseline {moment}" for moment in TRAINING),
    *(f"hybrid {moment}" for moment in TRAINING),
    *dict.fromkeys(SCRIPTS.values()),
)
ROWS = {"likelihood": ".likelihood.npy.rows.json", "sampling": ".samples.npy.rows.json"}


@dataclass
class Moments:
    """Chooses a moment within a stage, and waits for it.

    Args:
        checkout: where the run works.
        archive: its download.
        durations: seconds of each script in an undisturbed run.
        rng: the source of all choices.
    """

    checkout: Path
    archive: Path
    durations: dict[str, float]
    rng: random.Random

    def stages_of(self, job: RunningJob) -> list[str]:
        """What can be struck while this job goes on, first things first."""
        if job.script == "prepare_dataset":
            return ["preparation"] if self._downloaded.exists() else ["download", "preparation"]
        if job.script == "train_variant":
            done = any((self.checkout / "store").glob("baseline-*.safetensors"))
            return [f"{'hybrid' if done else 'baseline'} {moment}" for moment in TRAINING]
        return [SCRIPTS[job.script]]

    def wait(self, stage: str, job: RunningJob) -> bool:
        """Returns true at the chosen moment, false if the job ended before it."""
        if stage == "download":
            size = self.archive.stat().st_size * self.rng.uniform(0.05, 0.95)
            return self._until(job, lambda: _size(self._partial) >= size)
        if stage == "preparation":
            return self._until(job, self._downloaded.exists) and self._later(job, 0.2)
        if stage.endswith(TRAINING[0]):
            before = self._changed(stage)
            most = self.durations["train_variant"] / 2
            return self._later(job, most, unless=lambda: self._changed(stage) != before)
        if stage.endswith(TRAINING[1]):
            return self._until(job, lambda: self._writing(stage), pause=0)
        if stage.endswith(TRAINING[2]):
            for _ in range(self.rng.randint(1, 6)):
                before = self._changed(stage)
                if not self._until(job, lambda before=before: self._changed(stage) not in (0, before), pause=0.0005):
                    return False
            return self._later(job, 0.05)
        if stage in ROWS and self.rng.random() < 0.6:
            folder = self.checkout / "results" / "micro"
            return self._until(job, lambda: any(folder.rglob(ROWS[stage]))) and self._later(job, 0.3)
        return self._later(job, self.durations[job.script])

    @property
    def _downloaded(self) -> Path:
        return self.checkout / "resources" / "archives" / self.archive.name

    @property
    def _partial(self) -> Path:
        return self._downloaded.with_name(f"{self._downloaded.name}.partial")

    def _prefix(self, stage: str) -> str:
        return "dcgan-0.5-seed" if stage.startswith("hybrid") else "baseline-seed"

    def _writing(self, stage: str) -> bool:
        return any((self.checkout / "store").glob(f".{self._prefix(stage)}*.resume-*.partial"))

    def _changed(self, stage: str) -> int:
        times = [0]
        for path in (self.checkout / "store").glob(f"{self._prefix(stage)}*.resume-*.json"):
            with suppress(FileNotFoundError):
                times.append(path.stat().st_mtime_ns)
        return max(times)

    def _later(self, job: RunningJob, most: float, unless=lambda: False) -> bool:
        """A random time from now, at most this many seconds, or at once when ``unless()`` is true."""
        moment = time.monotonic() + self.rng.uniform(0, most)
        return self._until(job, lambda: time.monotonic() >= moment or unless())

    def _until(self, job: RunningJob, happened, pause: float = 0.002) -> bool:
        while not happened():
            if not job.alive:
                return False
            time.sleep(pause)
        return True


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
