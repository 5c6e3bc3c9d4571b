"""Keys: short hashes over everything that determines an expensive result.

A result is stored under its key and found again whatever the file times say. A setting that changes
the numbers changes the key; one that does not (device, threads, how often to log) does not. No torch here:
the workflow computes keys whenever it is parsed.
"""

from __future__ import annotations

from collections.abc import Mapping

from hybridflow.config.evaluation import CALIBRATION_VERSION
from hybridflow.config.experiment import Settings
from hybridflow.io.hashing import short_key
from hybridflow.runtime.errors import UserError

TRAINING_VERSION = 1
"""Raise by hand when a change of the code changes trained weights: every variant then trains again."""

MOMENTS_VERSION = 1
"""The same for the feature statistics of the reference images."""


def training_key(settings: Settings, name: str, seed: int, dataset_hash: str) -> str:
    """Key of variant ``name`` trained with ``seed`` on the dataset with this content hash.

    Raises:
        UserError: its loss, of an extension, has a setting with the name of one of the training, whose place in the key
            it would take.
    """
    variant, holdout = settings.variants[name], settings.dataset.holdout
    parent = None if variant.init_from is None else training_key(settings, variant.init_from, seed, dataset_hash)
    training, discriminator = variant.training.key_values(), None
    if variant.discriminator is not None:  # only an adversarial step reads these
        discriminator = variant.discriminator.key_values()
        for known_as in variant.adversarial.key_names().values():
            if known_as in variant.training.key_names().values():
                raise UserError(
                    f"config: the loss {variant.adversarial.loss!r} has a setting {known_as!r}, as `training` has; "
                    "give it another name in its file under `extensions`."
                )
        training |= variant.adversarial.key_values()
    return short_key(
        {
            "version": TRAINING_VERSION,
            "flow": variant.generator.key_values(),  # the name of the section when the first results were stored
            "training": training,
            "discriminator": discriminator,
            "adversarial_weight": variant.adversarial_weight,
            "parent": parent,
            "seed": seed,
            "dataset": dataset_hash if holdout == 0 else f"{dataset_hash} without its last {holdout} training images",
        }
    )


def moments_key(extractor: str, split: str, dataset_hash: str) -> str:
    """Key of the feature statistics of one split of the dataset.

    Args:
        extractor: identity of the network and its weights.
    """
    return short_key({"version": MOMENTS_VERSION, "extractor": extractor, "split": split, "dataset": dataset_hash})


def vectors_key(extractor: str, split: str, dataset_hash: str, images: int) -> str:
    """Key of the feature vectors of the first ``images`` images of one split of the dataset."""
    return short_key({"moments": moments_key(extractor, split, dataset_hash), "images": images})


def calibration_key(extractor: str, dataset_hash: str, images: int, features: int, metrics: Mapping[str, int]) -> str:
    """Key of the metrics of images whose quality is known.

    Args:
        extractor: identity of the network and its weights.
        images, features: of a set of samples, and how many vectors of it are kept.
        metrics: versions of their code, by name.
    """
    train = moments_key(extractor, "train", dataset_hash)
    measured = {"moments": train, "images": images, "features": features, "metrics": dict(metrics)}
    return short_key({"version": CALIBRATION_VERSION, **measured})
