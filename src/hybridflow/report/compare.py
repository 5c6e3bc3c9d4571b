"""Compares two result folders: circumstances, numbers, and whether their files have the same bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.metrics import METRICS
from hybridflow.data.images import check_array
from hybridflow.io.arrays import read_array
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import read_record
from hybridflow.io.repair import repair_hint
from hybridflow.report.results import differences, fidelity_protocol, likelihood_protocol
from hybridflow.runtime.errors import UserError

CIRCUMSTANCES = ("software", "hardware", "revision", "seeds", "settings")
"""Parts of provenance.json that are named. What influences a result is in its training key or its protocol."""

RECORDS = ("likelihood.json", "fidelity.json")
ARTEFACTS = ("checkpoint.safetensors", "likelihood.npy", "samples.npy", *RECORDS)
LARGE = (".npy", ".safetensors")
BOUNDS = {"elbo_bpd": "ELBO in bits/dim", "iwbo_bpd": "bits/dim"}


@dataclass(frozen=True)
class Tolerances:
    """How far two numbers may be apart: bits/dim absolutely, metrics relative to the larger one.

    A quarter of its standard error over images is allowed for any metric: shares of images move in steps.
    """

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


def compare_results(a: Path, b: Path, tolerances: Tolerances, *, common: bool = False) -> Comparison:
    """Compares the results in two folders, each ``results/<experiment>`` of a finished run.

    Models with other training keys, numbers that were measured in another way, models, summaries or tables that only
    one folder has, and numbers beyond the tolerance make the folders different. Versions, hardware, git revision,
    settings without effect and bytes are named, but two folders may be the same without them.

    Args:
        common: a model that only one folder has is named, and no difference.

    Raises:
        UserError: a folder does not hold finished results, a file in it is damaged, or ``common`` and no model is.
    """
    found = Comparison()
    records = [_record(folder) for folder in (a, b)]
    for part in CIRCUMSTANCES:
        for name, ours, theirs in differences(*(record.get(part) for record in records), part):
            found.note(_unequal(name, ours, theirs))
    models = [record.get("checkpoints", {}) for record in records]
    if common and not models[0].keys() & models[1].keys():
        raise UserError(f"{a} and {b} have no model in common (variant and seed); compare results of one experiment.")
    for model in sorted(models[0].keys() | models[1].keys()):
        if model not in models[0] or model not in models[1]:
            report = found.note if common else found.differ
            report(f"{model}: only in {'A' if model in models[0] else 'B'}")
            continue
        trained = [{k: v for k, v in m[model].items() if k not in ("sha256", "training_seconds")} for m in models]
        for name, ours, theirs in differences(*trained):
            report = found.differ if name == "key" else found.note
            report(f"{model}: checkpoint: {_unequal(name, ours, theirs)}")
        for name in RECORDS:
            # Not every generator has a likelihood.
            if name == "fidelity.json" or any((folder / model / name).exists() for folder in (a, b)):
                _compare_records(found, model, name, a, b, tolerances)
        for name in ARTEFACTS:
            _compare_bytes(found, f"{model}/{name}", a / model / name, b / model / name)
    _compare_bytes(found, "table1.csv", a / "table1.csv", b / "table1.csv")
    return found


def _compare_records(found: Comparison, model: str, name: str, a: Path, b: Path, tolerances: Tolerances) -> None:
    """Compares how the numbers of a record were measured, and the numbers."""
    paths = [folder / model / name for folder in (a, b)]
    records = [read_record(path, ()) for path in paths]
    protocols = [_protocol(record, path) for record, path in zip(records, paths, strict=True)]
    for part, ours, theirs in differences(*protocols):
        found.differ(f"{model}/{name}: {_unequal(part, ours, theirs)}")
    if name == "likelihood.json":
        for key, meaning in BOUNDS.items():
            _compare_number(found, f"{model}: {meaning}", *(record[key] for record in records), key, tolerances)
        return
    metrics = [record["metrics"] for record in records]
    for key in sorted(metrics[0].keys() & metrics[1].keys()):
        heading = METRICS[key].heading if key in METRICS else key
        error = max(part[key].get("se") or 0.0 for part in metrics)
        values = (part[key]["value"] for part in metrics)
        _compare_number(found, f"{model}: {heading}", *values, key, tolerances, error)


def _protocol(record: dict[str, Any], path: Path) -> dict[str, Any]:
    if path.name == "likelihood.json":
        return likelihood_protocol(record, path)
    protocol = fidelity_protocol(record, path)
    # A classifier that was trained again on another machine differs in its bits, and so in its accuracy.
    weights = {"inception": protocol["weights_sha256"].get("inception")}
    return {name: value for name, value in protocol.items() if name != "extractors"} | {"weights_sha256": weights}


def _compare_number(
    found: Comparison, name: str, a: float, b: float, key: str, tolerances: Tolerances, error: float = 0.0
) -> None:
    apart = abs(a - b)
    if key.endswith("_bpd"):
        found.bpd = max(found.bpd, apart)
        allowed, limit = tolerances.bpd, f"{tolerances.bpd:g}"
    else:
        larger = max(abs(a), abs(b))
        if key not in METRICS or METRICS[key].needs == "moments":
            found.distance = max(found.distance, apart / larger if larger else 0.0)
        allowed, limit = tolerances.distance * larger, f"{100 * tolerances.distance:g} %"
        if error / 4 > allowed:
            allowed, limit = error / 4, "a quarter of its standard error"
    if apart == 0:
        found.note(f"{name} {a:.6g} in both")
    elif apart <= allowed:
        found.note(f"{name} {a:.6g} in A, {b:.6g} in B, within {limit}")
    else:
        found.differ(f"{name} {a:.6g} in A, {b:.6g} in B, beyond {limit}")


def _compare_bytes(found: Comparison, name: str, a: Path, b: Path) -> None:
    missing = [letter for letter, path in (("A", a), ("B", b)) if not path.is_file()]
    if len(missing) == 2:
        return  # a likelihood that the generator does not have
    if missing:
        # Arrays and weights are often left out of a folder that is kept or sent; the JSON files hold their numbers.
        report = found.note if a.suffix in LARGE else found.differ
        report(f"{name}: missing in {missing[0]}")
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
    return read_record(folder / "provenance.json")


def _unequal(name: str, a: Any, b: Any) -> str:
    return f"{name} is {_text(a)} in A, {_text(b)} in B"


def _text(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
