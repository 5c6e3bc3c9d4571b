"""The discretized logistic distribution of a level 0..255."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hybridflow.models.transforms.dequantization import LEVELS


def discretized_logistic_log_prob(x: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """ln P(x), (N,), nats: the mass of a logistic variable in the bins of the levels, the outer two open.

    P(x) = F((x + 1) / 256) - F(x / 256) with F(y) = sigmoid((y - mean) / s), but F = 0 below level 0 and 1 above 255

    The masses of the 256 levels sum to 1. With sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)) no
    difference of nearly equal numbers is taken (the distribution is PixelCNN++'s, arXiv 1701.05517, whose bins are
    centred on the levels).

    Args:
        x: (N, C, H, W), integers 0..255 in the dtype of ``mean``.
        mean, log_scale: (N, C, H, W); the mean in units of [0, 1], ln s.
    """
    inverse_scale = torch.exp(-log_scale)
    below = F.logsigmoid(((x + 1) / LEVELS - mean) * inverse_scale)
    above = F.logsigmoid((mean - x / LEVELS) * inverse_scale)
    width = torch.log(-torch.expm1(-inverse_scale / LEVELS))
    log_prob = torch.where(x == 0, below, torch.where(x == LEVELS - 1, above, below + above + width))
    return log_prob.flatten(1).sum(1)


def logistic_quantile(e: Tensor) -> Tensor:
    """A standard logistic variable made of a standard-normal one: h = ln Phi(e) - ln Phi(-e)."""
    return torch.special.log_ndtr(e) - torch.special.log_ndtr(-e)
