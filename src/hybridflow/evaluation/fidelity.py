"""Every Frechet distance of one model, from the feature statistics of its sets of samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance, load_moments
from hybridflow.runtime.errors import UserError

VERSION = 1
"""Raise it when a change of the code changes the distances of the same samples."""

DISTANCES = {
    ("inception", "train"): "fid",
    ("cifar_classifier", "train"): "fd_cifar",
    ("cifar_classifier", "test"): "fd_cifar_test",
}
"""(extractor, split of the reference images): name of the distance."""

Described = tuple[Moments, dict[str, Any]]  # moments, and what they were computed from


def measure_fidelity(
    notes: Sequence[dict[str, Any]],
    samples: Sequence[Sequence[str | Path]],
    references: Sequence[str | Path],
    classifier_accuracy: float | None,
) -> dict[str, Any]:
    """The content of ``fidelity.json``; a distance whose statistics are not given is null, never 0.

    Every set of samples has distances of its own. Pooled into one set they would be smaller, because a Frechet
    distance falls with the number of images.

    Args:
        notes: ``samples.json`` of every set: the checkpoint's key and the sampling settings.
        samples: feature statistics of every set, one file per extractor.
        references: feature statistics of the dataset, one file per extractor and split.
        classifier_accuracy: of the FD-CIFAR classifier on the test split, a share.

    Raises:
        UserError: samples of another checkpoint or set, or features of another network.
    """
    first = notes[0]
    reference = [load_moments(path) for path in references]
    weights: dict[str, str] = {}
    sets = []
    for number, (note, paths) in enumerate(zip(notes, samples, strict=True)):
        generated = _load_set(number, note, first, paths)
        for path, (_, described) in zip(paths, generated.values(), strict=True):
            if weights.setdefault(described["extractor"], described["weights_sha256"]) != described["weights_sha256"]:
                raise UserError(f"{path} holds features of other weights than the first set's; delete both.")
        sets.append({"set": number, **_distances(generated, reference, references), **_classes(generated, paths)})
    result: dict[str, Any] = {
        "checkpoint": first["checkpoint"],
        "images": first["sampling"]["images"],
        "reference_images": next((m.count for m, described in reference if described["split"] == "train"), None),
        "temperature": first["sampling"]["temperature"],
        "sampling_seed": first["sampling"]["seed"],
    }
    for name in DISTANCES.values():
        values = [one[name] for one in sets]
        result[name] = None if None in values else statistics.fmean(values)
        result[f"{name}_sd"] = None if None in values or len(values) == 1 else statistics.stdev(values)
    counts = [one["class_counts"] for one in sets]
    return result | {
        "fid_weights_sha256": weights.get("inception"),
        "classifier_sha256": weights.get("cifar_classifier"),
        "classifier_accuracy": classifier_accuracy,
        "repeats": len(sets),
        "class_counts": None if None in counts else [sum(column) for column in zip(*counts, strict=True)],
        "sets": sets,
    }


def _load_set(
    number: int, note: dict[str, Any], first: dict[str, Any], paths: Sequence[str | Path]
) -> dict[str, Described]:
    """Statistics of one set's features by extractor; makes sure that they are of this set."""
    if (note["checkpoint"], note["sampling"]) != (first["checkpoint"], first["sampling"]):
        raise UserError(
            f"set {number} of the samples of {first['checkpoint']} was drawn from {note['checkpoint']} or with other "
            "settings than the first set; delete its samples.json."
        )
    generated = {}
    for path in paths:
        moments, described = load_moments(path)
        same = all(described.get(name) == note.get(name) for name in ("checkpoint", "sampling", "repeat"))
        same = same and described.get("samples_sha256") == note["files"]["samples.npy"]
        if not same or note.get("repeat", 0) != number or moments.count != note["sampling"]["images"]:
            raise UserError(
                f"{path} was measured on other samples than those of {note['checkpoint']}, set {number}; delete it and "
                "run the workflow again."
            )
        generated[described["extractor"]] = (moments, described)
    return generated


def _distances(
    generated: dict[str, Described], reference: Sequence[Described], paths: Sequence[str | Path]
) -> dict[str, float | None]:
    """Every distance of one set of samples by name."""
    result: dict[str, float | None] = dict.fromkeys(DISTANCES.values())
    for path, (moments, described) in zip(paths, reference, strict=True):
        ours, ours_described = generated[described["extractor"]]
        if described["weights_sha256"] != ours_described["weights_sha256"]:
            raise UserError(f"{path} holds features of other weights than the samples' features; delete both.")
        result[DISTANCES[described["extractor"], described["split"]]] = frechet_distance(ours, moments)
    return result


def _classes(generated: dict[str, Described], paths: Sequence[str | Path]) -> dict[str, list[int] | None]:
    """How many images of one set the classifier assigned to each class, by label."""
    if "cifar_classifier" not in generated:
        return {"class_counts": None}
    moments, described = generated["cifar_classifier"]
    counts = described.get("class_counts")
    if counts is None or sum(counts) != moments.count:
        raise UserError(f"{paths[list(generated).index('cifar_classifier')]} has no class counts; delete it.")
    return {"class_counts": counts}
