"""Muon: steps whose matrices are nearly orthogonal."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the odd polynomial that draws singular values towards 1 (Jordan et al. 2024)."""


class Muon(torch.optim.AdamW):
    """AdamW that steps the weights of convolutions and linear layers by Muon.

    The step of such a weight, as a matrix with a row for each first index, is its averaged gradient (Nesterov) with all
    singular values drawn to about 1: directions that the gradient hardly shows are learned as fast as the others. Its
    root mean square is about that of a step of Adam, 0.2 times the learning rate, so one rate serves all parameters
    (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024; Liu et al., arXiv 2502.16982,
    eq. 4). torch.optim.Muon takes matrices alone, one by one and in bfloat16; here those of one shape go together, in
    their own precision.

    Args:
        model: whose parameters are trained.
        options: of AdamW; ``betas[0]`` is also the decay of the average.
    """

    def __init__(self, model: nn.Module, **options: Any) -> None:
        layers = {
            id(weight)
            for module in model.modules()
            if isinstance(module, LAYERS)
            for name, weight in module.named_parameters(recurse=False)
            if name == "weight"
        }
        weights = [parameter for parameter in model.parameters() if id(parameter) in layers]
        others = [parameter for parameter in model.parameters() if id(parameter) not in layers]
        super().__init__([{"params": others, "orthogonal": False}, {"params": weights, "orthogonal": True}], **options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Updates all parameters that have a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                self._orthogonal_step(group)

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                by_shape.setdefault(tuple(weight.shape), []).append(weight)
        decay, rate = group["betas"][0], group["lr"]
        for weights in by_shape.values():
            for weight in weights:
                if not self.state[weight]:  # AdamW cannot load a state without step counter
                    self.state[weight] |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
            gradients = [weight.grad for weight in weights]
            averages = [self.state[weight]["exp_avg"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - decay)
            ahead = torch._foreach_lerp(gradients, averages, decay)
            steps = orthogonalized(torch.stack([step.flatten(1) for step in ahead]))
            steps *= -0.2 * math.sqrt(max(steps.shape[1:])) * rate
            if group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - rate * group["weight_decay"])
            torch._foreach_add_(weights, [step.view_as(weight) for step, weight in zip(steps, weights, strict=True)])


def orthogonalized(matrices: Tensor) -> Tensor:
    """Draws all singular values of each matrix to between about 0.7 and 1.2; zero stays zero.

    Shape:
        (N, rows, columns) -> the same.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
