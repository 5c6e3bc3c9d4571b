"""Every Frechet distance of one model, from the feature statistics of its samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybridflow.errors import UserError
from hybridflow.metrics.frechet import Moments, frechet_distance, load_moments

DISTANCES = {
    ("inception", "train"): "fid",
    ("cifar_classifier", "train"): "fd_cifar",
    ("cifar_classifier", "test"): "fd_cifar_test",
}
"""(extractor, split of the reference images): name of the distance."""


def measure_fidelity(
    note: dict[str, Any],
    samples: Sequence[str | Path],
    references: Sequence[str | Path],
    classifier_accuracy: float | None,
) -> dict[str, Any]:
    """The content of ``fidelity.json``; a distance whose statistics are not given is null, never 0.

    Args:
        note: ``samples.json``: the checkpoint's key and the sampling settings.
        samples: feature statistics of the samples, one file per extractor.
        references: feature statistics of the dataset, one file per extractor and split.
        classifier_accuracy: of the FD-CIFAR classifier on the test split, a share.

    Raises:
        UserError: samples of another checkpoint, or features of another network.
    """
    result: dict[str, Any] = {
        "checkpoint": note["checkpoint"],
        "images": note["sampling"]["images"],
        "reference_images": None,
        "temperature": note["sampling"]["temperature"],
        "sampling_seed": note["sampling"]["seed"],
        **dict.fromkeys(DISTANCES.values()),
        "fid_weights_sha256": None,
        "classifier_sha256": None,
        "classifier_accuracy": classifier_accuracy,
    }
    generated: dict[str, tuple[Moments, dict[str, Any]]] = {}
    for path in samples:
        moments, described = load_moments(path)
        if described["checkpoint"] != note["checkpoint"] or moments.count != note["sampling"]["images"]:
            raise UserError(f"{path} was measured on other samples than those of {note['checkpoint']}; delete it.")
        generated[described["extractor"]] = (moments, described)
        kind = "fid_weights_sha256" if described["extractor"] == "inception" else "classifier_sha256"
        result[kind] = described["weights_sha256"]
    for path in references:
        moments, described = load_moments(path)
        extractor = described["extractor"]
        ours, ours_described = generated[extractor]
        if described["weights_sha256"] != ours_described["weights_sha256"]:
            raise UserError(f"{path} holds features of other weights than the samples' features; delete both.")
        if described["split"] == "train":
            result["reference_images"] = moments.count
        result[DISTANCES[extractor, described["split"]]] = frechet_distance(ours, moments)
    return result
