"""Penalties on a discriminator; they add up, whatever the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from hybridflow.config.adversarial import PenaltySettings
from hybridflow.runtime.noise import Noise

Critic = Callable[[Tensor], Tensor]
"""A discriminator with its augmentation, whose draws are the same at every call: images in [-1, 1] -> logits."""

STEP = 0.01
"""Standard deviation of the noise between two images whose logits a finite difference compares (AFM's)."""


def penalties(
    settings: PenaltySettings,
    factor: float,
    critics: Sequence[Critic],
    images: Sequence[Tensor],
    logits: Sequence[Tensor],
    noise: Noise | None,
) -> dict[str, Tensor]:
    """The penalties that ``settings`` switches on, each times ``factor``.

    Args:
        critics, images, logits: of real and of generated images; images are (N, C, H, W) in [-1, 1], with
            requires_grad where an exact penalty differentiates, logits what the critics gave for them.
        noise: draws for finite differences and for interpolates.

    Returns:
        gradient_penalty, the sum of those on gradients, and centring_penalty, each () and only if there is one.
    """
    gradient: list[Tensor] = []
    for gamma, critic, x, values in zip((settings.r1, settings.r2), critics, images, logits, strict=True):
        if gamma is None:
            continue
        if settings.finite_differences:
            gradient.append(finite_difference_penalty(critic, x, values, noise(x.shape), factor * gamma))
        else:
            gradient.append(zero_centred_penalty(values, x, factor * gamma))
    if settings.gradient_penalty is not None:
        share = torch.special.ndtr(noise((len(images[0]), 1, 1, 1)))  # uniform
        gradient.append(interpolation_penalty(critics[0], *images, share, factor * settings.gradient_penalty))
    found = {"gradient_penalty": torch.stack(gradient).sum()} if gradient else {}
    if settings.logit_centring is not None:
        found["centring_penalty"] = centring_penalty(*logits, factor * settings.logit_centring)
    return found


def zero_centred_penalty(logits: Tensor, images: Tensor, gamma: float) -> Tensor:
    """gamma/2 E ||grad D(x)||^2: R1 over real images, R2 over generated ones (arXiv 1801.04406, eq. 9-10).

    Differentiable itself.

    Args:
        logits: (N,) or (N, P), computed from ``images``.
        images: (N, C, H, W), the discriminator's input, with requires_grad.
        gamma: strength, at least 0.
    """
    (gradient,) = torch.autograd.grad(_per_image(logits).sum(), images, create_graph=True)
    return gamma / 2 * gradient.square().flatten(1).sum(1).mean()


def finite_difference_penalty(critic: Critic, images: Tensor, logits: Tensor, noise: Tensor, gamma: float) -> Tensor:
    """R1 or R2 without second derivatives: gamma/2 E (D(x + s n) - D(x))^2 / s^2 with n ~ N(0, I).

    To first order in s its expectation over n is that of :func:`zero_centred_penalty` (APT, arXiv 2501.08316; AFM,
    arXiv 2511.22475). AFM takes a quarter of the batch; here it is the whole one, because BatchNorm would give a part
    of it other statistics, a difference that has nothing to do with the gradient. Logits must be in fp32.

    Args:
        logits: (N,) or (N, P), ``critic(images)``.
        noise: (N, C, H, W), standard-normal.
    """
    difference = _per_image(critic(images + STEP * noise.to(images.dtype))) - _per_image(logits)
    return gamma / 2 * (difference / STEP).square().mean()


def interpolation_penalty(critic: Critic, real: Tensor, fake: Tensor, share: Tensor, weight: float) -> Tensor:
    """weight E (||grad D(x)|| - 1)^2 between real and generated images (WGAN-GP, arXiv 1704.00028, eq. 3).

    Args:
        real, fake: (N, C, H, W); x = real + share (fake - real), pairs by index.
        share: (N, 1, 1, 1), uniform in [0, 1].
    """
    x = torch.lerp(real.detach(), fake.detach(), share.to(real.dtype)).requires_grad_()
    (gradient,) = torch.autograd.grad(_per_image(critic(x)).sum(), x, create_graph=True)
    return weight * (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()


def centring_penalty(real_logits: Tensor, fake_logits: Tensor, weight: float) -> Tensor:
    """weight E (r + f)^2: keeps logits around 0 where the loss sees only r - f (AFM, arXiv 2511.22475)."""
    return weight * (real_logits + fake_logits).square().mean()


def _per_image(logits: Tensor) -> Tensor:
    """One number an image, (N,): the mean over patches, so that a penalty does not depend on how many there are."""
    return logits if logits.ndim == 1 else logits.flatten(1).mean(1)
