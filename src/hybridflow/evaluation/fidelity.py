"""Every metric of one model that compares features of its samples with the dataset's."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.metrics.frechet import Moments, load_moments
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True)
class Measured:
    """Features that were computed: their moments, and the record of what they are of."""

    path: Path
    moments: Moments
    record: dict[str, Any]

    @classmethod
    def read(cls, path: str | Path) -> Measured:
        """Reads statistics and their record.

        Raises:
            UserError: a file is missing, damaged or exchanged.
        """
        return cls(Path(path), *load_moments(path))


def measure_fidelity(
    metrics: Sequence[str],
    samples: Sequence[str | Path],
    features: Sequence[dict[str, str | Path]],
    references: dict[tuple[str, str], str | Path],
    extractors: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """The content of ``fidelity.json``.

    Every set of samples has values of its own. Pooled into one set they would differ, because a Frechet distance falls
    with the number of images.

    Args:
        metrics: names of :data:`~hybridflow.config.metrics.METRICS`.
        samples: ``samples.json`` of every set.
        features: for every set, feature statistics by extractor.
        references: feature statistics of the dataset by (extractor, split).
        extractors: what is worth knowing of each network.

    Raises:
        UserError: samples of another checkpoint or set, or features of other weights.
    """
    records = [read_record(path, ()) for path in samples]
    sets = [
        {name: _of_this_set(Measured.read(file), records, number) for name, file in files.items()}
        for number, files in enumerate(features)
    ]
    dataset = {key: Measured.read(path) for key, path in references.items()}
    _same_weights([*(measured for one in sets for measured in one.values()), *dataset.values()])
    result: dict[str, Any] = {
        "checkpoint": records[0]["checkpoint"],
        "sampling": records[0]["sampling"],
        "images": records[0]["sampling"]["images"],
        "sets": len(sets),
        "reference_images": {split: measured.moments.count for (_, split), measured in dataset.items()},
        "weights_sha256": {name: measured.record["weights_sha256"] for name, measured in sets[0].items()},
        "dimensions": {name: len(measured.moments.mean) for name, measured in sets[0].items()},
        "extractors": extractors,
        "metrics": {},
    }
    for name in metrics:
        metric = METRICS[name]
        reference = dataset[metric.extractor, metric.reference].moments
        values = [float(metric.load()(one[metric.extractor].moments, reference)) for one in sets]
        result["metrics"][name] = {
            "value": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
            "version": metric.version,
        }
    counts = [measured.record["class_counts"] for one in sets for measured in one.values() if _counted(measured)]
    return result | {"class_counts": counts or None}


def _counted(measured: Measured) -> bool:
    return "class_counts" in measured.record


def _of_this_set(measured: Measured, records: Sequence[dict[str, Any]], number: int) -> Measured:
    """Makes sure that features are of the set ``number``, and that all sets were drawn alike."""
    first, record = records[0], records[number]
    drawn_alike = (record["checkpoint"], record["sampling"]) == (first["checkpoint"], first["sampling"])
    if not drawn_alike or record.get("repeat", 0) != number:
        raise UserError(
            f"set {number} of the samples of {first['checkpoint']} was drawn from {record['checkpoint']} or with other "
            "settings than the first set; delete its samples.json and run the workflow again."
        )
    if measured.record.get("samples_sha256") != record["files"]["samples.npy"]:
        raise UserError(
            f"{measured.path} was measured on other samples than those of {record['checkpoint']}, set {number}; delete "
            "it and run the workflow again."
        )
    return measured


def _same_weights(everything: Sequence[Measured]) -> None:
    weights: dict[str, Measured] = {}
    for measured in everything:
        first = weights.setdefault(measured.record["extractor"], measured)
        if first.record["weights_sha256"] != measured.record["weights_sha256"]:
            raise UserError(
                f"{first.path} and {measured.path} hold features of different weights; delete both and run the "
                "workflow again."
            )
