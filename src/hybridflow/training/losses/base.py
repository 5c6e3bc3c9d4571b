"""The contract of an adversarial loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class AdversarialLoss(ABC):
    """What discriminator and generator minimise. Both losses are means over all logits of the batch.

    Logits are (N,), or (N, P) of a discriminator that judges P patches of an image.

    Attributes:
        needs_real_logits: whether the generator's loss compares with logits of real images; a step that trains the
            generator then runs the discriminator on a batch of real images, too.
    """

    needs_real_logits = False

    @abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss, (); pairs by index."""

    @abstractmethod
    def generator(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """The generator's loss, (); ``real_logits`` without gradient, None unless they are needed."""

    def scores(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """How well the discriminator separates both batches, for the history: its mean logits, unless overridden."""
        return {"discriminator_real": real_logits.mean(), "discriminator_fake": fake_logits.mean()}


def pairwise_order(real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
    """Scores of a loss that sees only differences of logits: their mean sign, 1 if every real image scores higher.

    Such a loss leaves the offset of the logits open, so that their means say nothing.
    """
    return {"discriminator_order": torch.sign(real_logits - fake_logits).mean()}
