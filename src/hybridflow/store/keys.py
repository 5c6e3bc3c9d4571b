"""Keys: short hashes over everything that determines an expensive result.

A result is stored under its key and found again whatever the file times say. A setting that changes
the numbers changes the key; one that does not (device, threads, how often to log) does not. No torch here:
the workflow computes keys whenever it is parsed.
"""

from __future__ import annotations

from typing import Any

from hybridflow.config.experiment import ClassifierSettings, Settings
from hybridflow.io.hashing import sha256_json

TRAINING_VERSION = 1
"""Raise by hand when a change of the code changes trained weights: every variant then trains anew."""

CLASSIFIER_VERSION = 1
"""The same for the classifier of FD-CIFAR."""

MOMENTS_VERSION = 1
"""The same for the feature statistics of the reference images."""

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The weights file every published FID rests on: pytorch-fid's pt_inception-2015-12-05-6726825d.pth."""

KEY_LENGTH = 12

WITHOUT_EFFECT = {
    "checkpointing",
    "compile",
    "device",
    "devices",
    "images_on",
    "threads",
    "log_every",
    "grid_every",
    "resume_every_minutes",
    "max_sample_magnitude",
}
"""Fields of TrainingSettings that leave the trained model as it is, if training ends."""


def training_key(settings: Settings, name: str, seed: int, dataset_hash: str) -> str:
    """Key of variant ``name`` trained with ``seed`` on the dataset with this content hash."""
    variant, holdout = settings.resolve(name), settings.dataset.holdout
    parent = None if variant.init_from is None else training_key(settings, variant.init_from, seed, dataset_hash)
    training = _switched_on(variant.training.model_dump(mode="json", exclude=WITHOUT_EFFECT))
    discriminator = None
    if variant.discriminator is not None:
        discriminator = _switched_on(variant.discriminator.model_dump(mode="json"))
    else:  # what only an adversarial step reads
        for unused in (
            "discriminator_optimizer",
            "discriminator_steps",
            "label_smoothing",
            "adversarial_gradient_clip",
            "adaptive_weight",
            "gradient_penalty",
            "inward_gradient",
        ):
            training.pop(unused, None)
    return _short(
        {
            "version": TRAINING_VERSION,
            "flow": _switched_on(variant.flow.model_dump(mode="json")),
            "training": training,
            "discriminator": discriminator,
            "adversarial_weight": variant.adversarial_weight,
            "parent": parent,
            "seed": seed,
            "dataset": dataset_hash if holdout == 0 else f"{dataset_hash} without its last {holdout} training images",
        }
    )


def _switched_on(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is None or False: an option that is added later, and switched off, leaves earlier keys alone."""
    return {
        name: _switched_on(entry) if isinstance(entry, dict) else entry
        for name, entry in value.items()
        if entry is not None and entry is not False
    }


def classifier_key(settings: ClassifierSettings, dataset_hash: str) -> str:
    """Key of the classifier behind FD-CIFAR."""
    return _short(
        {"version": CLASSIFIER_VERSION, "classifier": settings.model_dump(mode="json"), "dataset": dataset_hash}
    )


def moments_key(extractor: str, split: str, dataset_hash: str) -> str:
    """Key of the feature statistics of one split of the dataset.

    Args:
        extractor: identifies the network and its weights.
    """
    return _short({"version": MOMENTS_VERSION, "extractor": extractor, "split": split, "dataset": dataset_hash})


def _short(value: object) -> str:
    return sha256_json(value)[:KEY_LENGTH]
