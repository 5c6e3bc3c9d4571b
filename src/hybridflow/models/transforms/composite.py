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


class Rearranged(Composite):
    """Transforms of values in another arrangement: rearrange, transform, put back.

    Args:
        rearrangement: a transform that only moves values (log-determinant 0).
    """

    def __init__(self, rearrangement: Transform, *transforms: Transform) -> None:
        super().__init__(*transforms)
        self.rearrangement = rearrangement

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, _ = self.rearrangement(x)
        z, log_det = super().forward(x)
        return self.rearrangement.inverse(z), log_det

    def inverse(self, z: Tensor) -> Tensor:
        z, _ = self.rearrangement(z)
        return self.rearrangement.inverse(super().inverse(z))
