"""The loss of the original GAN."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridflow.config.adversarial import NonSaturatingSettings
from hybridflow.training.losses.base import AdversarialLoss


class NonSaturatingLoss(AdversarialLoss):
    """Binary cross-entropy; the generator maximises log D(fake) (GAN, arXiv 1406.2661, section 3).

    With D = sigmoid of logits r of real and f of generated images, and one-sided label smoothing s (arXiv 1606.03498,
    section 3.4),

        L_D = -E [(1 - s) log D(r) + s log(1 - D(r))] - E log(1 - D(f)),   L_G = -E log D(f).
    """

    def __init__(self, settings: NonSaturatingSettings) -> None:
        self.smoothing = settings.label_smoothing

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, 1 - self.smoothing))
        fake = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        return real + fake

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))

    def scores(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        """The mean probabilities of "real"."""
        return super().scores(torch.sigmoid(real_logits), torch.sigmoid(fake_logits))
