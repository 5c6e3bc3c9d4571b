"""What a kill left to go on from."""

from __future__ import annotations

import json
from pathlib import Path

from faults.moments import GROWING

from hybridflow.runtime.errors import UserError
from hybridflow.training.resume import ResumeState


def kept(checkout: Path, stage: str) -> str:
    """In words, from the files; empty for stages that take seconds and start anew."""
    store = checkout / "store"
    if stage == "download":
        sizes = [path.stat().st_size for path in (checkout / "resources" / "archives").glob("*.partial")]
        return f"{sum(sizes) // 1000} kB" if sizes else "nothing"
    if "training" in stage:
        name = "dcgan-0.5" if stage.startswith("hybrid") else "baseline"
        if list(store.glob(f"{name}-*.safetensors")):
            return "the checkpoint"
        torn = ", a torn file beside" if any(store.glob(f".{name}-*.resume-*.partial")) else ""
        return _state(next(store.glob(f"{name}-*.lock"), store / "none.lock")) + torn
    if stage == "classifier":
        if list(store.glob("classifier-*.safetensors")):
            return "the classifier"
        return "a state" if list(store.glob("classifier-*.resume-*.json")) else "nothing"
    if stage in GROWING:
        for note in (checkout / "results" / "micro").rglob(GROWING[stage]):
            return f"{json.loads(note.read_text(encoding='utf-8'))['done']} rows"
        return "nothing"
    return "–"


def _state(lock: Path) -> str:
    resume = ResumeState(lock.with_suffix(".resume"), lock.stem.rpartition("-")[2], silent=True)
    try:
        state = resume.load()
        return "nothing" if state is None else f"step {state['step']}"
    except UserError:
        return "no sound state"
