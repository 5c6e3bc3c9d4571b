"""Keys: short hashes over everything that determines an expensive result.

A result is stored under its key and found again whatever the file times say. A setting that changes
the numbers changes the key; one that does not (device, threads, how often to log) does not. No torch here:
the workflow computes keys whenever it is parsed.
"""

from __future__ import annotations

from hybridflow.config.evaluation import CifarClassifierSettings
from hybridflow.config.experiment import Settings
from hybridflow.io.hashing import sha256_json

TRAINING_VERSION = 1
"""Raise by hand when a change of the code changes trained weights: every variant then trains anew."""

MOMENTS_VERSION = 1
"""The same for the feature statistics of the reference images."""

INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""The weights file every published FID rests on: pytorch-fid's pt_inception-2015-12-05-6726825d.pth."""

KEY_LENGTH = 12


def training_key(settings: Settings, name: str, seed: int, dataset_hash: str) -> str:
    """Key of variant ``name`` trained with ``seed`` on the dataset with this content hash."""
    variant, holdout = settings.variants[name], settings.dataset.holdout
    parent = None if variant.init_from is None else training_key(settings, variant.init_from, seed, dataset_hash)
    training, discriminator = variant.training.key_values(), None
    if variant.discriminator is not None:  # only an adversarial step reads these
        discriminator = variant.discriminator.key_values()
        training |= variant.adversarial.key_values()
    return _short(
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


def classifier_key(settings: CifarClassifierSettings, dataset_hash: str) -> str:
    """Key of the classifier behind FD-CIFAR."""
    return _short({"version": settings.version, "classifier": settings.key_values(), "dataset": dataset_hash})


def moments_key(extractor: str, split: str, dataset_hash: str) -> str:
    """Key of the feature statistics of one split of the dataset.

    Args:
        extractor: identifies the network and its weights.
    """
    return _short({"version": MOMENTS_VERSION, "extractor": extractor, "split": split, "dataset": dataset_hash})


def _short(value: object) -> str:
    return sha256_json(value)[:KEY_LENGTH]
