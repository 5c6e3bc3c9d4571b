"""Transforms one after another."""

from __future__ import annotations

from torch import Tensor, nn

from hybridflow.models.transforms.base import Transform


class Composite(Transform):
    """Applies transforms in order; log-determinants add up."""

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        self.transforms = nn.ModuleList(transforms)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for transform in self.transforms:
            x, contribution = transform(x)
            log_det = log_det + contribution
        return x, log_det

    def inverse(self, z: Tensor) -> Tensor:
        for transform in reversed(self.transforms):
            z = transform.inverse(z)
        return z
