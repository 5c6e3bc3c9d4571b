"""What a run leaves, without what differs between any two runs: two undisturbed ones agree in all of it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

FOLDERS = ("results", "store", "resources")

# Wall times and what follows from them: benchmarks, logs, provenance, costs, the curves with the speed, the page.
# TensorBoard names files by the time.
TIMES = re.compile(
    r"/logs/|/benchmarks/|/tensorboard/|/(provenance\.json|costs\.csv|report\.html)$|/figures/training\.\w+$"
)
# Empty files that locks stand on; there are as many as jobs that ran.
LOCKS = re.compile(r"\.lock$")
WALL = ("seconds", "images_per_second")  # of a history's rows


def outcome(checkout: Path) -> dict[str, str]:
    """SHA-256 of every file by its path, hidden ones too, so that anything left behind is a difference."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((checkout / folder).rglob("*")):
            name = f"/{path.relative_to(checkout)}"
            if path.is_file() and not TIMES.search(name) and not LOCKS.search(name):
                found[name[1:]] = hashlib.sha256(_content(path)).hexdigest()
    return found


def differences(ours: dict[str, str], reference: dict[str, str]) -> list[str]:
    """The files that are missing, more, or other than in the reference."""
    lines = [f"{name} is missing" for name in sorted(reference.keys() - ours.keys())]
    lines += [f"{name} was left behind" for name in sorted(ours.keys() - reference.keys())]
    lines += [f"{name} differs" for name in sorted(ours.keys() & reference.keys()) if ours[name] != reference[name]]
    return lines


def _content(path: Path) -> bytes:
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return json.dumps([{k: v for k, v in row.items() if k not in WALL} for row in rows]).encode()
    if path.name == "details.md":  # its section on costs holds times
        return path.read_text(encoding="utf-8").partition("Costs of training")[0].encode()
    if path.suffix == ".json" and (path.name == "checkpoint.json" or path.with_suffix(".jsonl").exists()):
        values = json.loads(path.read_text(encoding="utf-8"))  # the record has the hash of the history, and so of times
        return json.dumps({k: v for k, v in values.items() if k not in ("files", "record_sha256")}).encode()
    return path.read_bytes()
