"""The contract of a transform."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from hybridflow.runtime.noise import Noise


class Transform(nn.Module, ABC):
    """An invertible map of image batches.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats, one value an image, never reduced over the batch.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns ``z`` and ``log_det`` = ln |det dz/dx|; never in place."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """Returns ``x``; differentiable (``no_grad`` is the caller's decision)."""


class StochasticTransform(nn.Module, ABC):
    """A map that draws noise on the way to the latent and drops it on the way back.

    Its ``log_weight`` takes the place of the log-determinant: it makes the sum over all transforms a
    stochastic lower bound on the log-likelihood (SurVAE flows, arXiv 2007.02731).
    """

    @abstractmethod
    def forward(self, x: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Returns ``z`` and ``log_weight`` of shape (N,), nats."""

    @abstractmethod
    def inverse(self, z: Tensor) -> Tensor:
        """Returns ``x``; deterministic and differentiable."""
