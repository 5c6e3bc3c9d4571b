"""A training by several processes: each holds the models and takes its rows of every batch.

A process's share of the work is chosen so that the sum is what a single process computes: all draw the whole batch's
random numbers and keep their own rows, losses are means over equally many rows, and gradients are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hybridflow.runtime.noise import Noise

BUCKET = 2**23
"""Numbers that one all-reduce of gradients takes: enough to fill a link, and only 32 MB of copies at a time."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of one training, seen from one of them. A single process communicates with nobody.

    Attributes:
        rank, size: which of how many; ``size`` > 1 needs torch's default process group.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files and messages."""
        return self.rank == 0

    def rows(self, batch: Tensor) -> Tensor:
        """This process's rows of a global batch: (N, ...) -> (N / size, ...)."""
        count = len(batch) // self.size
        return batch[self.rank * count : (self.rank + 1) * count]

    def noise(self, noise: Noise) -> Noise:
        """Draws for this process's rows, taken from ``noise`` for the global batch."""

        def draw(shape: Sequence[int]) -> Tensor:
            return self.rows(noise((self.size * shape[0], *shape[1:])))

        return draw

    def average_gradients(self, model: nn.Module) -> None:
        """Replaces the gradients of ``model`` by their means over the processes.

        The mean of equal gradients is that gradient: calling this between two backward passes and again after the
        second one is right.
        """
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        for bucket in _buckets(gradients):
            flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
            dist.all_reduce(flat)
            flat /= self.size
            parts = flat.split([gradient.numel() for gradient in bucket])
            for gradient, part in zip(bucket, parts, strict=True):
                gradient.copy_(part.view(gradient.shape))

    def average_metrics(self, metrics: dict[str, Tensor], largest: str) -> dict[str, Tensor]:
        """Means over the processes; of the metric named ``largest``, the maximum. Nothing is read on the host."""
        if self.size == 1:
            return metrics
        rows = gather(torch.stack(list(metrics.values())))  # (size, metrics)
        combined = dict(zip(metrics, rows.mean(0).unbind(), strict=True))
        if largest in metrics:
            combined[largest] = rows[:, list(metrics).index(largest)].amax()
        return combined

    def share_state(self, models: Iterable[nn.Module]) -> None:
        """Gives every process the main one's weights and buffers.

        They are computed alike everywhere, but two GPUs may round differently, and nothing later would remove that.
        """
        if self.size == 1:
            return
        for model in models:
            for value in model.state_dict().values():
                sent = value.contiguous()
                dist.broadcast(sent, 0)
                value.copy_(sent)

    def maximum(self, *numbers: int) -> list[int]:
        """The largest of each number over the processes.

        On the CPU: hosts wait for each other, but none for its device.
        """
        if self.size == 1:
            return list(numbers)
        largest = torch.tensor(numbers)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return largest.tolist()


SINGLE_PROCESS = ProcessGroup()


def gather(row: Tensor) -> Tensor:
    """The processes' tensors, one row each, differentiable: (...) -> (size, ...)."""
    return _Gather.apply(row)


class _Gather(torch.autograd.Function):
    """Gathers by adding rows that are zero elsewhere: the backward pass is then the same call.

    Exact, so that all processes get the same bits; and gloo has no reduce-scatter, the usual backward of a gather.
    """

    @staticmethod
    def forward(ctx: object, row: Tensor) -> Tensor:
        rows = row.new_zeros(dist.get_world_size(), *row.shape)
        rows[dist.get_rank()] = row
        dist.all_reduce(rows)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        """The gradient of the sum of all processes' losses, as that of the parameters before they are averaged."""
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors in groups of about ``BUCKET`` numbers."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and sum(part.numel() for part in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket
