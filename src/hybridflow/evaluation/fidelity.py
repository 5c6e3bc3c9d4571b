"""Every metric of one model that compares features of its samples with the dataset's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.metrics.features import NO_VECTORS, Features, estimate, load_vectors
from hybridflow.evaluation.metrics.frechet import Moments, load_moments
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError


@dataclass(frozen=True)
class Measured:
    """Features that were computed: their moments, and the record of what they are of."""

    path: Path
    moments: Moments
    record: dict[str, Any]

    def features(self, head: np.ndarray | None = None) -> Features:
        """The statistics, with the vectors beside them."""
        return Features(self.moments, load_vectors(self.path.with_suffix(".npy"))[0], head)

    @classmethod
    def read(cls, path: str | Path) -> Measured:
        """Reads statistics and their record.

        Raises:
            UserError: a file is missing, damaged or exchanged.
        """
        return cls(Path(path), *load_moments(path))


def measure_fidelity(
    metrics: Sequence[str],
    samples: str | Path,
    features: Mapping[str, str | Path],
    references: Mapping[tuple[str, str], str | Path],
    extractors: Mapping[str, dict[str, Any]],
    reference_vectors: Mapping[tuple[str, str], str | Path],
    heads: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The content of ``fidelity.json``, and of ``contributions.npz``: what every image adds to a metric, by name.

    Args:
        metrics: names of :data:`~hybridflow.config.metrics.METRICS`.
        samples: ``samples.json``.
        features: feature statistics of the samples by extractor; the vectors are beside them.
        references: feature statistics of the dataset by (extractor, split).
        extractors: what is worth knowing of each network.
        reference_vectors: feature vectors of the dataset by (extractor, split), for metrics that need them.
        heads: last layer by extractor, likewise.

    Raises:
        UserError: features of other samples or of other weights.
    """
    record = read_record(samples, ())
    generated = {name: _of_these_samples(Measured.read(file), record) for name, file in features.items()}
    dataset = {key: Measured.read(path) for key, path in references.items()}
    vectors = {key: load_vectors(path) for key, path in reference_vectors.items()}
    described = [(measured.path, measured.record) for part in (generated, dataset) for measured in part.values()]
    _same_weights(described + [(reference_vectors[key], found) for key, (_, found) in vectors.items()])
    sample_features = {name: measured.features((heads or {}).get(name)) for name, measured in generated.items()}
    reference_features = {
        key: Features(measured.moments, vectors[key][0] if key in vectors else NO_VECTORS)
        for key, measured in dataset.items()
    }
    feature_images = {split: len(found) for (_, split), (found, _) in vectors.items()}
    if vectors:
        feature_images["samples"] = min(len(sample_features[extractor].vectors) for extractor, _ in vectors)
    result: dict[str, Any] = {
        "checkpoint": record["checkpoint"],
        "sampling": record["sampling"],
        "images": record["sampling"]["images"],
        "reference_images": {split: measured.moments.count for (_, split), measured in dataset.items()},
        **({"feature_images": feature_images} if vectors else {}),
        "weights_sha256": {name: measured.record["weights_sha256"] for name, measured in generated.items()},
        "dimensions": {name: len(measured.moments.mean) for name, measured in generated.items()},
        "extractors": extractors,
        "metrics": {},
        "class_counts": None,
    }
    contributions = {}
    for name in metrics:
        metric = METRICS[name]
        found = estimate(
            metric, sample_features[metric.extractor], reference_features[metric.extractor, metric.reference]
        )
        result["metrics"][name] = {"value": found.value, "se": found.standard_error, "version": metric.version}
        if found.contributions is not None:
            contributions[name] = found.contributions.astype(np.float32)
    for measured in generated.values():
        result["class_counts"] = measured.record.get("class_counts") or result["class_counts"]
    return result, contributions


def _of_these_samples(measured: Measured, samples: dict[str, Any]) -> Measured:
    if measured.record.get("samples_sha256") != samples["files"]["samples.npy"]:
        raise UserError(
            f"{measured.path} was measured on other samples than those of {samples['checkpoint']}; delete it and run "
            "the workflow again."
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
