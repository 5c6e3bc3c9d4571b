"""Invertible 1x1 convolution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hybridflow.models.transforms.base import Transform


class InvertibleConv1x1(Transform):
    """A full channel-mixing matrix at every pixel (Glow, arXiv 1807.03039, section 3.2).

    z = W x,   log|det| = H W ln|det W|

    W starts as a random orthogonal matrix. A model of many such layers gives them their determinants and
    inverses together (:func:`shared_determinants`, :func:`shared_inverses`); a single layer finds its own.

    Shape:
        x, z: (N, C, H, W); log_det: (N,), nats.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels))
        nn.init.orthogonal_(self.weight)
        self._log_abs_det: Tensor | None = None
        self._inverse: Tensor | None = None
        self._kept: dict[str, tuple[object, Tensor]] = {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_abs_det = self._log_abs_det
        if log_abs_det is None:
            log_abs_det = _log_abs_det(self.weight)
        log_det = x.shape[2] * x.shape[3] * log_abs_det
        return _mix_channels(self.weight, x), log_det.expand(x.shape[0])

    def inverse(self, z: Tensor) -> Tensor:
        inverse = _inverse(self.weight) if self._inverse is None else self._inverse
        return _mix_channels(inverse, z)


def _mix_channels(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix @ x`` at every pixel.

    As a matrix product and not as a convolution: cuDNN may round convolutions to TF32, and with it the inverse would no
    longer be one. In channels-last layout nothing is copied.
    """
    return F.linear(x.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


def _log_abs_det(weights: Tensor) -> Tensor:
    """ln|det W| of (..., C, C) matrices, on their device."""
    return torch.linalg.slogdet(weights).logabsdet


def _inverse(weights: Tensor) -> Tensor:
    """Inverses of (..., C, C) matrices.

    In double precision: the round trip's error is then that of one matrix product. Without the check for singular
    matrices, which would wait for the device; a singular matrix gives values that are not finite.
    """
    return torch.linalg.inv_ex(weights.double(), check_errors=False).inverse.to(weights.dtype)


def shared_determinants(layers: Sequence[InvertibleConv1x1]) -> AbstractContextManager[None]:
    """Within the block, the layers use determinants computed in one call per matrix size."""
    return _shared(layers, "_log_abs_det", _log_abs_det)


def shared_inverses(layers: Sequence[InvertibleConv1x1]) -> AbstractContextManager[None]:
    """Within the block, the layers use inverses computed in one call per matrix size."""
    return _shared(layers, "_inverse", _inverse)


@contextmanager
def _shared(
    layers: Sequence[InvertibleConv1x1], attribute: str, function: Callable[[Tensor], Tensor]
) -> Iterator[None]:
    _share(layers, attribute, function)
    try:
        yield
    finally:
        for layer in layers:
            setattr(layer, attribute, None)


def _share(layers: Sequence[InvertibleConv1x1], attribute: str, function: Callable[[Tensor], Tensor]) -> None:
    """Sets ``attribute`` of every layer to ``function`` of its weight, one call per matrix size.

    In evaluation mode and without gradients the results are kept and used again until a weight changes: sampling
    and evaluation factorise every matrix once, not once a batch. Not in training mode: fused optimisers change
    weights without counting it as a change.
    """
    sizes: dict[int, list[InvertibleConv1x1]] = defaultdict(list)
    for layer in layers:
        sizes[layer.weight.shape[0]].append(layer)
    for same_size in sizes.values():
        states = [(layer.weight.data_ptr(), layer.weight._version, layer.weight.dtype) for layer in same_size]
        keep = not (torch.is_grad_enabled() or any(layer.training for layer in same_size))
        if not keep or any(
            layer._kept.get(attribute, (None,))[0] != state for layer, state in zip(same_size, states, strict=True)
        ):
            values = function(torch.stack([layer.weight for layer in same_size])).unbind()
            for layer, state, value in zip(same_size, states, values, strict=True):
                setattr(layer, attribute, value)
                if keep:
                    layer._kept[attribute] = (state, value)
                else:  # what follows may change the weight unnoticed
                    layer._kept.pop(attribute, None)
        else:
            for layer in same_size:
                setattr(layer, attribute, layer._kept[attribute][1])
