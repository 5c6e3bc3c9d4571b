"""Reads the evaluated numbers of every trained model and refuses to mix what cannot be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hybridflow.config.evaluation import INCEPTION_SHA256
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError

Key = tuple[str, int]  # (variant, training seed)
REDO = "delete the older of the two and run the workflow again"


@dataclass(frozen=True)
class VariantInfo:
    """A row's identity: discriminator architecture (None for likelihood training alone) and adversarial weight."""

    name: str
    discriminator: str | None
    factor: float


@dataclass(frozen=True)
class Measurement:
    """One trained model's numbers: bits/dim with standard errors over images, and Frechet distances.

    A distance is the mean over sets of samples, ``*_sd`` its sample standard deviation over them (None for one set).
    """

    variant: str
    seed: int
    elbo_bpd: float
    elbo_bpd_se: float
    iwbo_bpd: float
    iwbo_bpd_se: float
    fid: float | None
    fd_cifar: float | None
    fd_cifar_test: float | None
    fid_sd: float | None = None
    fd_cifar_sd: float | None = None


@dataclass(frozen=True)
class Protocol:
    """How all models of one table were measured."""

    split: str
    test_images: int
    importance_samples: int
    generated_images: int
    reference_images: int | None
    fid_weights_sha256: str | None
    classifier_accuracy: float | None
    repeats: int = 1

    @property
    def official_fid(self) -> bool:
        """Whether the Inception weights are those that define FID; numbers of any others are not FID."""
        return self.fid_weights_sha256 in (None, INCEPTION_SHA256)


# Settings of the evaluation that every row must share. The optional ones count once a file has them.
LIKELIHOOD_PROTOCOL = ("split", "images", "importance_samples", "seed")
FIDELITY_PROTOCOL = ("images", "reference_images", "fid_weights_sha256", "classifier_accuracy")
FIDELITY_OPTIONAL = ("temperature", "sampling_seed", "classifier_sha256", "repeats")
DISTANCES = ("fid", "fd_cifar", "fd_cifar_test")
DEVIATIONS = ("fid_sd", "fd_cifar_sd")


def read_measurements(
    likelihoods: Mapping[Key, str | Path], fidelities: Mapping[Key, str | Path]
) -> tuple[list[Measurement], Protocol]:
    """Reads and cross-checks the ``likelihood.json`` and ``fidelity.json`` of every (variant, seed).

    Raises:
        UserError: a file is missing or malformed, a number is not finite, the two files of a model belong to
            different checkpoints, or two models were evaluated under different settings.
    """
    if not likelihoods:
        raise UserError("table: there is no likelihood.json to report; evaluate at least one variant.")
    if set(likelihoods) != set(fidelities):
        variant, seed = min(set(likelihoods) ^ set(fidelities))
        lacking = "fidelity.json" if (variant, seed) in likelihoods else "likelihood.json"
        raise UserError(f"table: {lacking} of variant {variant!r}, seed {seed} is missing; run its evaluation.")
    bounds = {key: _Record(path) for key, path in likelihoods.items()}
    distances = {key: _Record(path) for key, path in fidelities.items()}
    for key, bound in bounds.items():
        _same(bound, distances[key], "checkpoint", "the two were measured on different models")
    first_bound, first_distance = next(iter(bounds.values())), distances[next(iter(bounds))]
    for key, bound in bounds.items():
        for setting in LIKELIHOOD_PROTOCOL:
            _same(first_bound, bound, setting, "rows of one table must be evaluated alike")
        for setting in FIDELITY_PROTOCOL:
            _same(first_distance, distances[key], setting, "rows of one table must be evaluated alike")
        for setting in FIDELITY_OPTIONAL:
            if setting in first_distance.values or setting in distances[key].values:
                _same(first_distance, distances[key], setting, "rows of one table must be evaluated alike")
        for distance in DISTANCES:
            _both_or_neither(first_distance, distances[key], distance)
    if first_distance.number("fid", optional=True) is not None and first_distance.get("fid_weights_sha256") is None:
        raise UserError(f"table: {first_distance.path} has a FID but no fid_weights_sha256; measure it again.")
    measured = any(first_distance.get(distance) is not None for distance in DISTANCES)
    repeats = first_distance.count("repeats") if "repeats" in first_distance.values else 1
    repeated = DEVIATIONS if repeats > 1 else ()
    measurements = [
        Measurement(
            variant,
            seed,
            **{name: bounds[variant, seed].number(name) for name in _bound_names()},
            **{name: distances[variant, seed].number(name, optional=True) for name in (*DISTANCES, *repeated)},
        )
        for variant, seed in bounds
    ]
    return measurements, Protocol(
        split=str(first_bound.get("split")),
        test_images=first_bound.count("images"),
        importance_samples=first_bound.count("importance_samples"),
        generated_images=first_distance.count("images"),
        reference_images=first_distance.count("reference_images") if measured else None,
        fid_weights_sha256=first_distance.get("fid_weights_sha256"),
        classifier_accuracy=first_distance.number("classifier_accuracy", optional=True),
        repeats=repeats,
    )


def _bound_names() -> list[str]:
    return ["elbo_bpd", "elbo_bpd_se", "iwbo_bpd", "iwbo_bpd_se"]


class _Record:
    """A record whose values are fetched by name, with a sentence when one is missing or not usable."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.values = read_record(path, ())

    def get(self, name: str) -> Any:
        if name not in self.values:
            raise UserError(f"table: {self.path} has no {name!r}; delete it and run its evaluation again.")
        return self.values[name]

    def number(self, name: str, *, optional: bool = False) -> Any:
        value = self.get(name)
        if value is None and optional:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UserError(
                f"table: {name!r} is {value!r} in {self.path}, not a finite number; look at the training curve of "
                "this variant (it may have diverged) and leave the variant out or train it with other settings."
            )
        return float(value)

    def count(self, name: str) -> int:
        return int(self.number(name))


def _same(a: _Record, b: _Record, name: str, why: str) -> None:
    for record in (a, b):
        if isinstance(record.get(name), float):
            record.number(name)  # NaN differs even from itself
    if a.get(name) != b.get(name):
        raise UserError(
            f"table: {name!r} is {a.get(name)!r} in {a.path} but {b.get(name)!r} in {b.path}; {why}: {REDO}."
        )


def _both_or_neither(a: _Record, b: _Record, name: str) -> None:
    if (a.get(name) is None) != (b.get(name) is None):
        without, having = (a, b) if a.get(name) is None else (b, a)
        raise UserError(f"table: {name!r} is missing in {without.path} but not in {having.path}; {REDO}.")
