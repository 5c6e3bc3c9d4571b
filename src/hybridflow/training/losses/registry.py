"""Adversarial losses by name."""

from __future__ import annotations

from hybridflow.config.adversarial import LOSSES, AdversarialSettings
from hybridflow.training.losses.base import AdversarialLoss


def build_loss(settings: AdversarialSettings) -> AdversarialLoss:
    """The loss that ``settings.loss`` names."""
    return LOSSES[settings.loss].load()(settings)
