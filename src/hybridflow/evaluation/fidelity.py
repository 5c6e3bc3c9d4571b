"""Every metric of one model that compares features of its samples with the dataset's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.metrics.features import NO_VECTORS, Features, evaluate, load_vectors
from hybridflow.evaluation.metrics.frechet import Moments, load_moments
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True)
class Measured:
    """Features that were computed: their moments, and the record of what they are of."""

    path: Path
    moments: Moments
    record: dict[str, Any]

    def features(self, vectors: bool) -> Features:
        """The statistics, with the vectors beside them if they are needed."""
        return Features(self.moments, load_vectors(self.path.with_suffix(".npy"))[0] if vectors else NO_VECTORS)

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
    references: Mapping[tuple[str, str], str | Path],
    extractors: Mapping[str, dict[str, Any]],
    reference_vectors: Mapping[tuple[str, str], str | Path],
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
        reference_vectors: feature vectors of the dataset by (extractor, split), for metrics that need them. Those of
            samples are beside their statistics.

    Raises:
        UserError: samples of another checkpoint or set, or features of other weights.
    """
    records = [read_record(path, ()) for path in samples]
    sets = [
        {name: _of_this_set(Measured.read(file), records, number) for name, file in files.items()}
        for number, files in enumerate(features)
    ]
    dataset = {key: Measured.read(path) for key, path in references.items()}
    vectors = {key: load_vectors(path) for key, path in reference_vectors.items()}
    described = [(measured.path, measured.record) for one in [*sets, dataset] for measured in one.values()]
    _same_weights(described + [(reference_vectors[key], record) for key, (_, record) in vectors.items()])
    with_vectors = {extractor for extractor, _ in vectors}
    generated = [
        {name: measured.features(vectors=name in with_vectors) for name, measured in one.items()} for one in sets
    ]
    reference_features = {
        key: Features(measured.moments, vectors[key][0] if key in vectors else NO_VECTORS)
        for key, measured in dataset.items()
    }
    feature_images = {split: len(found) for (_, split), (found, _) in vectors.items()}
    if vectors:
        feature_images["samples"] = min(len(generated[0][extractor].vectors) for extractor in with_vectors)
    result: dict[str, Any] = {
        "checkpoint": records[0]["checkpoint"],
        "sampling": records[0]["sampling"],
        "images": records[0]["sampling"]["images"],
        "sets": len(sets),
        "reference_images": {split: measured.moments.count for (_, split), measured in dataset.items()},
        **({"feature_images": feature_images} if vectors else {}),
        "weights_sha256": {name: measured.record["weights_sha256"] for name, measured in sets[0].items()},
        "dimensions": {name: len(measured.moments.mean) for name, measured in sets[0].items()},
        "extractors": extractors,
        "metrics": {},
    }
    for name in metrics:
        metric = METRICS[name]
        reference = reference_features[metric.extractor, metric.reference]
        values = [evaluate(metric, features[metric.extractor], reference) for features in generated]
        result["metrics"][name] = {
            "value": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
            "values": values,
            "version": metric.version,
        }
    classes = [measured.record["class_counts"] for one in sets for measured in one.values() if _counted(measured)]
    return result | {"class_counts": classes or None}


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


def _same_weights(everything: Sequence[tuple[str | Path, dict[str, Any]]]) -> None:
    first: dict[str, tuple[str | Path, dict[str, Any]]] = {}
    for path, record in everything:
        other, known = first.setdefault(record["extractor"], (path, record))
        if known["weights_sha256"] != record["weights_sha256"]:
            raise UserError(
                f"{other} and {path} hold features of different weights; delete both and run the workflow again."
            )
