"""Standard-normal noise as an explicit argument: drawn from a generator, or given."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

Noise = Callable[[Sequence[int]], Tensor]
"""Maps a shape to standard-normal draws of that shape. Stochastic transforms take one."""


class GeneratorNoise:
    """Draws from one generator, in the order of use.

    Args:
        seed: seeds the generator; equal seeds give equal draws on one kind of device.
        device: where the draws are made.
        dtype: floating-point type of the draws.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        self.device, self.dtype = torch.device(device), dtype
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self.generator, device=self.device, dtype=self.dtype)


class GivenNoise:
    """Hands out given tensors one after another (to repeat a recorded computation).

    Raises:
        ValueError: on a call whose shape is not that of the next tensor, or when none is left.
    """

    def __init__(self, draws: Iterable[Tensor]) -> None:
        self.draws = list(draws)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        if not self.draws:
            raise ValueError(f"no noise left for shape {tuple(shape)}")
        draw = self.draws.pop(0)
        if draw.shape != tuple(shape):
            raise ValueError(f"expected noise of shape {tuple(shape)}; got {tuple(draw.shape)}")
        return draw


def standard_normal_log_prob(e: Tensor) -> Tensor:
    """ln N(e; 0, I) summed over all but the first axis: (N, ...) -> (N,), nats."""
    return -0.5 * (e.square().flatten(1).sum(1) + e[0].numel() * math.log(2 * math.pi))
