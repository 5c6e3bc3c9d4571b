"""What a discriminator sees, and how its gradient reaches the generator."""

from __future__ import annotations

import torch
from torch import Tensor


def discriminator_input(levels: Tensor) -> Tensor:
    """Pixel levels 0..255 to [-1, 1]: what every discriminator sees, real or generated."""
    return levels / 127.5 - 1


class _Inward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, y: Tensor) -> Tensor:
        ctx.save_for_backward(y)
        return y.view_as(y)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        outward = ((y > 1) & (gradient < 0)) | ((y < 0) & (gradient > 0))  # descent moves against the gradient
        return gradient.masked_fill(outward, 0)


def inward_gradient(y: Tensor) -> Tensor:
    """The images themselves; outside [0, 1] they get only the gradient whose descent leads back.

    The discriminator sees clamped levels, but the straight-through gradient does not know of the clamp: a pixel that
    is white already goes on being pushed beyond white, where nothing that the discriminator sees changes any more.

    Args:
        y: (N, C, H, W), continuous.
    """
    return _Inward.apply(y)


def straight_through_levels(y: Tensor) -> Tensor:
    """Quantises continuous images and lets the gradient pass as if it had not.

    Real images lie on 256 levels. Generated ones must too, or the discriminator separates the two by
    that grid alone; but floor() has no gradient (straight-through estimator, arXiv 1308.3432).

    Args:
        y: (N, C, H, W), continuous; an image's levels are floor(256 y), clamped to 0..255.

    Returns:
        levels of the same shape and dtype; the gradient with respect to ``y`` is 256.
    """
    continuous = 256 * y - 0.5  # the centre of level k's interval is k + 1/2
    levels = torch.floor(256 * y.detach()).clamp(0, 255)
    return continuous + (levels - continuous).detach()
