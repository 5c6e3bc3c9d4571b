"""Invertible 1x1 convolution."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.transforms.base import Transform


class InvertibleConv1x1(Transform):
    """A full channel-mixing matrix at every pixel (Glow, arXiv 1807.03039, section 3.2).

    z = W x,   log|det| = H W ln|det W|

    W starts as a random orthogonal matrix.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels))
        nn.init.orthogonal_(self.weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_abs_det = torch.linalg.slogdet(self.weight).logabsdet
        log_det = x.shape[2] * x.shape[3] * log_abs_det
        return F.conv2d(x, self.weight[:, :, None, None]), log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        # In double precision: the round trip's error is then that of one matrix product.
        inverse = torch.linalg.inv(self.weight.double()).to(z.dtype)
        return F.conv2d(z, inverse[:, :, None, None])
