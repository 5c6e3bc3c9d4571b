"""Compares two result folders: circumstances, numbers, and whether their files have the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.data.images import check_array
from hybridflow.io.arrays import read_array
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import read_record
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError

CIRCUMSTANCES = ("software", "hardware", "git", "seeds", "settings")
"""Parts of provenance.json that are named. What influences a result is in its training key or in PROTOCOL."""

PROTOCOL = (
    "version",
    "split",
    "importance_samples",
    "seed",
    "images",
    "reference_images",
    "temperature",
    "sampling_seed",
    "repeats",
    "fid_weights_sha256",
)
"""How a number was measured, in the file that holds it; numbers that were measured differently are different."""

ARTEFACTS = ("checkpoint.safetensors", "likelihood.npy", "samples.npy", "likelihood.json", "fidelity.json")
LARGE = (".npy", ".safetensors")
PER_MODEL = {
    "likelihood.json": {"elbo_bpd": "ELBO in bits/dim", "iwbo_bpd": "bits/dim"},
    "fidelity.json": {"fid": "FID", "fd_cifar": "FD-CIFAR", "fd_cifar_test": "FD-CIFAR against test images"},
}
ABSENT = "absent"


@dataclass(frozen=True)
class Tolerances:
    """How far two numbers may be apart: bits/dim absolutely, Frechet distances relative to the larger one."""

    bpd: float
    distance: float

    def __post_init__(self) -> None:
        for name, value in (("bpd", self.bpd), ("distance", self.distance)):
            if not (math.isfinite(value) and value >= 0):
                raise UserError(f"--tolerance-{name} is {value:g}, but must be a number of at least 0.")


@dataclass
class Comparison:
    """The differences between two result folders.

    Attributes:
        lines: sentences, in the order of the folders' content.
        differences: those of them that make the results different.
        bpd: the largest difference of a number in bits/dim.
        distance: the largest relative difference of a Frechet distance.
    """

    lines: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)
    bpd: float = 0.0
    distance: float = 0.0

    def note(self, line: str) -> None:
        self.lines.append(line)

    def differ(self, line: str) -> None:
        self.lines.append(f"DIFFERENT {line}")
        self.differences.append(line)

    @property
    def summary(self) -> str:
        """One sentence: whether the results are the same within the tolerances."""
        largest = f"largest difference {self.bpd:.2g} bits/dim and {100 * self.distance:.2g} % of a Frechet distance"
        if not self.differences:
            return f"reproduced: {largest}"
        count = len(self.differences)
        return f"not reproduced: {count} difference{'s' * (count > 1)}; {largest}"


def compare_results(a: Path, b: Path, tolerances: Tolerances) -> Comparison:
    """Compares the results in two folders, each ``results/<experiment>`` of a finished run.

    Models with other training keys, numbers that were measured in another way, models, summaries or tables that only
    one folder has, and numbers beyond the tolerance make the folders different. Versions, hardware, git revision,
    settings without effect and bytes are named, but two folders may be the same without them.

    Raises:
        UserError: a folder does not hold finished results, or a file in it is damaged.
    """
    found = Comparison()
    records = [_record(folder) for folder in (a, b)]
    for part in CIRCUMSTANCES:
        for line in _differences(*(record.get(part) for record in records)):
            found.note(f"{part}: {line}")
    models = [record.get("checkpoints", {}) for record in records]
    for model in sorted(models[0].keys() | models[1].keys()):
        if model not in models[0] or model not in models[1]:
            found.differ(f"{model}: only in {'A' if model in models[0] else 'B'}")
            continue
        trained = [{k: v for k, v in m[model].items() if k not in ("sha256", "training_seconds")} for m in models]
        for name, ours, theirs in _leaves(*trained):
            report = found.differ if name == "key" else found.note
            report(f"{model}: checkpoint: {_unequal(name, ours, theirs)}")
        for name, numbers in PER_MODEL.items():
            values = [read_record(folder / model / name, ()) for folder in (a, b)]
            for key in PROTOCOL:
                if key in values[0] and key in values[1] and values[0][key] != values[1][key]:
                    found.differ(f"{model}/{name}: {_unequal(key, values[0][key], values[1][key])}")
            for key, meaning in numbers.items():
                _compare_number(found, f"{model}: {meaning}", values[0].get(key), values[1].get(key), key, tolerances)
        for name in ARTEFACTS:
            _compare_bytes(found, f"{model}/{name}", a / model / name, b / model / name)
    _compare_bytes(found, "table1.csv", a / "table1.csv", b / "table1.csv")
    return found


def _compare_number(found: Comparison, name: str, a: Any, b: Any, key: str, tolerances: Tolerances) -> None:
    if a is None and b is None:
        return  # not measured
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in (a, b)):
        found.differ(f"{name} is {_text(a)} in A, {_text(b)} in B")
        return
    apart = abs(a - b)
    if key.endswith("_bpd"):
        found.bpd = max(found.bpd, apart)
        allowed, limit = tolerances.bpd, f"{tolerances.bpd:g}"
    else:
        larger = max(abs(a), abs(b))
        found.distance = max(found.distance, apart / larger if larger else 0.0)
        allowed, limit = tolerances.distance * larger, f"{100 * tolerances.distance:g} %"
    if apart == 0:
        found.note(f"{name} {a:.6g} in both")
    elif apart <= allowed:
        found.note(f"{name} {a:.6g} in A, {b:.6g} in B, within {limit}")
    else:
        found.differ(f"{name} {a:.6g} in A, {b:.6g} in B, beyond {limit}")


def _compare_bytes(found: Comparison, name: str, a: Path, b: Path) -> None:
    missing = [letter for letter, path in (("A", a), ("B", b)) if not path.is_file()]
    if missing:
        # Arrays and weights are often left out of a folder that is kept or sent; the JSON files hold their numbers.
        report = found.note if a.suffix in LARGE else found.differ
        report(f"{name}: missing in {' and '.join(missing)}")
        return
    if sha256_file(a) == sha256_file(b):
        found.note(f"{name}: byte-identical")
        return
    found.note(f"{name}: other bytes{_how_far(a, b) if a.suffix == '.npy' else ''}")


def _how_far(a: Path, b: Path) -> str:
    """The share of differing values of two arrays, and the largest difference, in words."""
    arrays = []
    for path in (a, b):
        check_array(path)
        try:
            arrays.append(read_array(path, mapped=True))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read as an array ({error}); {repair_hint(path)}.") from None
    if arrays[0].shape != arrays[1].shape:
        return f" (shapes {arrays[0].shape} and {arrays[1].shape})"
    share, largest = 0.0, 0.0
    for ours, theirs in zip(*(np.array_split(array, 1 + array.size // 2**22) for array in arrays), strict=True):
        apart = np.abs(ours.astype(np.float64) - theirs)
        share += np.count_nonzero(apart) / arrays[0].size
        largest = max(largest, float(apart.max(initial=0)))
    return f" ({100 * share:.3g} % of the values differ, by at most {largest:.3g})"


def _record(folder: Path) -> dict[str, Any]:
    if not (folder / "provenance.json").is_file():
        raise UserError(
            f"{folder} is not a folder of finished results: it has no provenance.json; name results/<experiment> and "
            "run the workflow to its end."
        )
    record = read_record(folder / "provenance.json")
    return record


def _leaves(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The dotted names at which two JSON values differ, with both values."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys()):
            yield from _leaves(a.get(key, ABSENT), b.get(key, ABSENT), f"{path}.{key}" if path else key)
    elif a != b or type(a) is not type(b):
        yield path, a, b


def _differences(a: Any, b: Any) -> Iterator[str]:
    for name, ours, theirs in _leaves(a, b):
        yield _unequal(name, ours, theirs)


def _unequal(name: str, a: Any, b: Any) -> str:
    return f"{name} is {_text(a)} in A, {_text(b)} in B"


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
