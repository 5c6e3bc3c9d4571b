"""Refusing a configuration whose inputs cannot serve it, before the first job. Fast to import."""

from __future__ import annotations

from pathlib import Path

from hybridflow.config.data import DatasetSettings
from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import ExtractorSettings
from hybridflow.data.cifar10.layout import CIFAR10
from hybridflow.data.listing import list_images
from hybridflow.io.download import local_path, scheme_of
from hybridflow.runtime.errors import UserError


def check_inputs(settings: Settings) -> None:
    """Looks at what later jobs read: the number of training images, and files of weights.

    Raises:
        UserError: too few images are left to train on, or a file is missing.
    """
    count, holdout = _training_images(settings.dataset), settings.dataset.holdout
    for variant in settings.variants.values():
        if count - holdout < variant.training.batch_size:
            raise UserError(
                f"config: `dataset.holdout` is {holdout}, which leaves {max(count - holdout, 0)} of {count} training "
                f"images, but a batch of variant {variant.name!r} has {variant.training.batch_size}; hold out fewer "
                "images, or lower `training.batch_size`."
            )
    for name, extractor in settings.evaluation.extractors.items():
        _check_weights(name, extractor, name in settings.evaluation.needed_extractors)


def _check_weights(name: str, extractor: ExtractorSettings, needed: bool) -> None:
    """Makes sure that the file of weights which an extractor names, or needs, is there.

    Raises:
        UserError: it is not.
    """
    weights: str | None = getattr(extractor, "weights", None)
    if weights is None:
        there = not (extractor.needs_file and needed)
    elif extractor.needs_file or not scheme_of(weights):
        there = Path(weights).expanduser().is_file()
    else:
        there = scheme_of(weights) in ("http", "https") or local_path(weights).is_file()
    if not there:
        named = "null" if weights is None else repr(weights)
        otherwise = "" if extractor.needs_file else "set it to null to have the file fetched, "
        raise UserError(
            f"config: `evaluation.extractors.{name}.weights` is {named}, which is not a file; name the file, "
            f"{otherwise}or take its metrics out of `evaluation.metrics`."
        )


def _training_images(dataset: DatasetSettings) -> int:
    if dataset.source == "cifar10":
        return CIFAR10.counts["train"]
    return len(list_images(str(dataset.folder), "train"))
