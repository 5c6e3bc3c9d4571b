"""Makes sure that numbers were measured as the configuration asks: Snakemake can be told not to look at settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hybridflow.config.experiment import Settings
from hybridflow.data.cifar10.layout import CIFAR10
from hybridflow.io.records import read_record
from hybridflow.io.repair import repair_hint
from hybridflow.report.results import Key
from hybridflow.runtime.errors import UserError


def check_asked(
    settings: Settings,
    checkpoints: Mapping[Key, str],
    likelihoods: Mapping[Key, str | Path],
    fidelities: Mapping[Key, str | Path],
) -> None:
    """Compares what every ``likelihood.json`` and ``fidelity.json`` says of itself with the configuration.

    Args:
        checkpoints: the key that the configuration gives to every (variant, training seed).

    Raises:
        UserError: a file is missing or malformed, or was measured on another checkpoint or with other settings.
    """
    for files, asked in ((likelihoods, _likelihood(settings)), (fidelities, _fidelity(settings))):
        for model, path in files.items():
            found = read_record(path, ())
            for name, value in (asked | {"checkpoint": checkpoints[model]}).items():
                if name in found and found[name] != value:
                    raise UserError(
                        f"table: {name!r} is {found[name]!r} in {path}, but the configuration asks for {value!r}; "
                        f"{repair_hint(path)}."
                    )


def _likelihood(settings: Settings) -> dict[str, Any]:
    likelihood = settings.evaluation.likelihood
    asked = {name: getattr(likelihood, name) for name in ("split", "importance_samples", "seed")}
    if settings.dataset.source == "cifar10" or likelihood.split == "holdout":
        present = CIFAR10.counts["test"] if likelihood.split == "test" else settings.dataset.holdout
        asked["images"] = present if likelihood.images is None else min(likelihood.images, present)
    return asked


def _fidelity(settings: Settings) -> dict[str, Any]:
    sampling = settings.sampling
    return {
        "images": sampling.images,
        "temperature": sampling.temperature,
        "sampling_seed": sampling.seed,
        "repeats": sampling.repeats if settings.evaluation.metrics else 1,
    }
