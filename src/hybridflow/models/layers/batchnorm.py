"""Which statistics BatchNorm uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hybridflow.runtime.distributed import gather


class BatchNorm2d(nn.BatchNorm2d):
    """torch's BatchNorm, which can also take its batch statistics from the batches of all processes of a group.

    torch's own layer for that (SyncBatchNorm) works on CUDA alone. Here the processes exchange mean and variance of
    their equally large batches, once in the forward pass and once in the backward pass, on any backend.

    Whether it does is an attribute and not a context: a checkpointed network is computed again in the backward pass,
    which runs in a thread of its own on CUDA.

    Shape:
        (N, C, H, W) -> (N, C, H, W), N of this process.
    """

    across_processes = False

    def forward(self, x: Tensor) -> Tensor:
        if not (self.across_processes and self.training):
            return super().forward(x)
        h = x.to(torch.promote_types(x.dtype, torch.float32))
        variance, mean = torch.var_mean(h, (0, 2, 3), correction=0)
        every = gather(torch.stack((mean, variance)))  # (processes, 2, C)
        means, variances = every.unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._follow(mean.detach(), variance.detach(), len(every) * h.numel() // h.shape[1])
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], h, scale[:, None, None]).to(x.dtype)

    def _follow(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics; like torch's, the variance's is that of the unbiased estimate."""
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var.dtype), self.momentum)


def share_statistics(model: nn.Module) -> None:
    """From now on, every :class:`BatchNorm2d` of ``model`` uses the statistics of the batches of all processes."""
    for module in model.modules():
        if isinstance(module, BatchNorm2d):
            module.across_processes = True


def has_statistics(model: nn.Module) -> bool:
    """Whether every BatchNorm of ``model`` has seen a training batch (reads the device)."""
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return all(bool(layer.num_batches_tracked > 0) for layer in layers if layer.num_batches_tracked is not None)


@contextmanager
def running_statistics(model: nn.Module) -> Iterator[None]:
    """Within the block, every BatchNorm of ``model`` uses its running statistics and leaves them alone.

    With batch statistics a coupling network computes other scales from a batch of samples than from a
    batch of data, so the inverse pass would not be the inverse of the forward pass.
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()
