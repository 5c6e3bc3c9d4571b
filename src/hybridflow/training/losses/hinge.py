"""The hinge loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hybridflow.config.adversarial import HingeSettings
from hybridflow.training.losses.base import AdversarialLoss


class HingeLoss(AdversarialLoss):
    """Hinge loss with margin 1 (Geometric GAN, arXiv 1705.02894; SNGAN, arXiv 1802.05957, eq. 16-17).

    With logits r of real and f of generated images,

        L_D = E max(0, 1 - r) + E max(0, 1 + f),   L_G = -E f.
    """

    def __init__(self, settings: HingeSettings) -> None:
        pass

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return -fake_logits.mean()
