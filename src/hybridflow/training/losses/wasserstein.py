"""The Wasserstein loss."""

from __future__ import annotations

from torch import Tensor

from hybridflow.config.adversarial import WassersteinSettings
from hybridflow.training.losses.base import AdversarialLoss, pairwise_order


class WassersteinLoss(AdversarialLoss):
    """Difference of the mean logits (WGAN, arXiv 1701.07875, eq. 2-3).

    With logits r of real and f of generated images,

        L_D = E f - E r,   L_G = -E f.

    -L_D bounds the Wasserstein distance times the discriminator's Lipschitz constant, which only a penalty
    (``penalties.gradient_penalty``: arXiv 1704.00028) or spectral normalisation bounds.
    """

    def __init__(self, settings: WassersteinSettings) -> None:
        pass

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return fake_logits.mean() - real_logits.mean()

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return -fake_logits.mean()

    def scores(self, real_logits: Tensor, fake_logits: Tensor) -> dict[str, Tensor]:
        return pairwise_order(real_logits, fake_logits)
