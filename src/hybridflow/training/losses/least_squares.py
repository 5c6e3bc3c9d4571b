"""The least-squares loss."""

from __future__ import annotations

from torch import Tensor

from hybridflow.config.adversarial import LeastSquaresSettings
from hybridflow.training.losses.base import AdversarialLoss


class LeastSquaresLoss(AdversarialLoss):
    """Squared distance to the targets 1 for real and 0 for generated images (LSGAN, arXiv 1611.04076, eq. 9).

    With logits r of real and f of generated images,

        L_D = E (r - 1)^2 / 2 + E f^2 / 2,   L_G = E (f - 1)^2 / 2.
    """

    def __init__(self, settings: LeastSquaresSettings) -> None:
        pass

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return ((real_logits - 1).square().mean() + fake_logits.square().mean()) / 2

    def generator(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        return (fake_logits - 1).square().mean() / 2
