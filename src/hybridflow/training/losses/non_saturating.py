"""The losses of one training step. All are means over the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def generator_adversarial_loss(fake_logits: Tensor) -> Tensor:
    """Non-saturating loss of the generator: BCE of D(fake) against "real" (GAN, arXiv 1406.2661).

    Args:
        fake_logits: (N,).
    """
    return F.binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


def r1_penalty(real_logits: Tensor, real: Tensor, gamma: float) -> Tensor:
    """gamma/2 E ||grad D(x)||^2 over real images x (R1, arXiv 1801.04406, eq. 9). Differentiable itself.

    Args:
        real_logits: (N,), computed from ``real``.
        real: (N, C, H, W), the discriminator's input, with requires_grad.
        gamma: strength, above 0.
    """
    (gradient,) = torch.autograd.grad(real_logits.sum(), real, create_graph=True)
    return gamma / 2 * gradient.square().flatten(1).sum(1).mean()


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor, label_smoothing: float) -> Tensor:
    """BCE(D(x), 1 - s) + BCE(D(fake), 0): one-sided label smoothing (arXiv 1606.03498, section 3.4).

    Args:
        real_logits, fake_logits: (N,).
        label_smoothing: s in [0, 1].
    """
    real = F.binary_cross_entropy_with_logits(real_logits, torch.full_like(real_logits, 1 - label_smoothing))
    fake = F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
    return real + fake
