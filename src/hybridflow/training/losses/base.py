"""The contract of an adversarial loss."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class AdversarialLoss(ABC):
    """What discriminator and generator minimise. Both losses are means over the batch.

    Attributes:
        needs_real_logits: whether the generator's loss compares with logits of real images; a step that trains the
            generator then runs the discriminator on a batch of real images, too.
    """

    needs_real_logits = False

    @abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss, (); logits are (N,), pairs by index."""

    @abstractmethod
    def generator(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """The generator's loss, (); ``real_logits`` (N,) without gradient, None unless they are needed."""
