"""The relativistic pairing loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from hybridflow.config.adversarial import RelativisticSettings
from hybridflow.training.losses.base import AdversarialLoss, pairwise_order


class RelativisticLoss(AdversarialLoss):
    """Logistic loss of the difference between a real and a generated image (arXiv 1807.00734, section 4).

    With logits r of real and f of generated images, paired by index, and sp(x) = ln(1 + e^x),

        L_D = E sp(-(r - f)),   L_G = E sp(-(f - r)).

    With zero-centred penalties on both sides (r1, r2) this is the loss of R3GAN (arXiv 2501.05441, section 2). The
    offset of the logits is open: ``penalties.logit_centring`` keeps it near 0.
    """

    needs_real_logits = True

    def __init__(self, settings: RelativisticSettings) -> None:
        pass

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(fake_logits - real_logits).mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        return F.softplus(real_logits - fake_logits).mean()

    def scores(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        return pairwise_order(real_logits, fake_logits)
