"""Balance of the likelihood's and the adversarial gradient by their norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST_NORM = 1e-12
"""Below it a gradient counts as absent: the scale stays finite, and what it scales is next to nothing."""


def take_gradients(model: nn.Module) -> dict[str, Tensor]:
    """Removes the gradients that the model's parameters carry and returns them by parameter name."""
    taken = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            taken[name], parameter.grad = parameter.grad, None
    return taken


def add_balanced(model: nn.Module, adversarial: dict[str, Tensor], weight: float, clip: float | None) -> Tensor:
    """Adds the adversarial gradient to the likelihood's, brought to the same norm first.

    With w the adversarial weight and norms over all parameters of the model,

        gradient = (1 - w) g_likelihood + w s g_adversarial,   s = ||g_likelihood|| / ||g_adversarial||.

    The idea is VQGAN's adaptive weight (arXiv 2012.09841, eq. 7), which takes the norms at the last layer of
    the decoder alone. Nothing is read on the host. Needs the memory of one more gradient.

    Args:
        model: its parameters carry (1 - w) g_likelihood, w < 1; they end with the sum above.
        adversarial: g_adversarial without any weight, by parameter name; used up.
        weight: w.
        clip: largest norm of w s g_adversarial, or None. Clipping before the scale would change nothing.

    Returns:
        s, ().
    """
    parameters = dict(model.named_parameters())
    likelihood = [parameter.grad for parameter in parameters.values() if parameter.grad is not None]
    likelihood_norm = nn.utils.get_total_norm(likelihood) / (1 - weight)
    adversarial_norm = nn.utils.get_total_norm(adversarial.values())
    scale = likelihood_norm / adversarial_norm.clamp_min(SMALLEST_NORM)
    factor = weight * scale
    if clip is not None:
        factor = torch.minimum(factor, clip / adversarial_norm.clamp_min(SMALLEST_NORM))
    torch._foreach_mul_(list(adversarial.values()), factor)
    for name, gradient in adversarial.items():
        parameter = parameters[name]
        parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)
    return scale
