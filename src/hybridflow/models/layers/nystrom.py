"""Attention by the Nystroem approximation, as the published DenseFlow computes it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def iterative_pseudo_inverse(k: Tensor) -> Tensor:
    """Moore-Penrose inverse of (N, L, L) matrices, by six iterations (Nystroemformer, arXiv 2102.03902, eq. 11).

    The starting point is scaled by the matrix's own norms, so an image's result does not depend on
    the batch it is in.
    """
    column_sums = k.abs().sum(-2).amax(-1)
    row_sums = k.abs().sum(-1).amax(-1)
    v = k.mT / (column_sums * row_sums)[:, None, None]
    eye = torch.eye(k.shape[-1], dtype=k.dtype, device=k.device)
    for _ in range(6):
        kv = k @ v
        v = 0.25 * v @ (13 * eye - kv @ (15 * eye - kv @ (7 * eye - kv)))
    return v


class NystromAttention(nn.Module):
    """Single-head attention over pixels through four landmarks.

    Two properties are the published model's and are kept, because its weights and its bits/dim depend on them:
    (N, 3e, H, W) is reshaped, not permuted, to (N, HW, 3e) and back; and all softmaxes run over the
    second-to-last axis. Only the landmarks are divided by sqrt(HW).

    Args:
        channels: m; the embedding has e = m // 2 columns.
    Shape:
        (N, m, H, W) -> (N, m, H, W); H*W must be a multiple of 4.
    """

    landmarks = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embedding = channels // 2
        self.qkv = nn.Conv2d(channels, 3 * self.embedding, 1)
        self.output = nn.Conv2d(self.embedding, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        pixels = height * width
        q, k, v = self.qkv(x).reshape(n, pixels, 3 * self.embedding).chunk(3, dim=-1)  # each (N, HW, e)
        q_landmarks, k_landmarks = self._landmarks(q), self._landmarks(k)  # each (N, 4, e)
        k1 = torch.softmax(q @ k_landmarks.mT, dim=-2)  # (N, HW, 4)
        k2 = torch.softmax(q_landmarks @ k_landmarks.mT, dim=-2)  # (N, 4, 4)
        k3 = torch.softmax(q_landmarks @ k.mT, dim=-2)  # (N, 4, HW)
        out = (k1 @ iterative_pseudo_inverse(k2)) @ (k3 @ v) + v  # (N, HW, e)
        return self.output(out.reshape(n, self.embedding, height, width))

    def _landmarks(self, t: Tensor) -> Tensor:
        n, pixels, columns = t.shape
        return t.reshape(n, self.landmarks, pixels // self.landmarks, columns).mean(2) / math.sqrt(pixels)
