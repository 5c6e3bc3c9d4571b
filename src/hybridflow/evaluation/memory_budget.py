"""How much memory a computation takes, by counting the tensors it makes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SIZES = 2, 3  # rows of the two counted passes; one row alone may give views where several give copies


class LiveBytes(TorchDispatchMode):
    """Within the block, follows the bytes of all tensor storages that were made in it and are still alive.

    The count depends on the operators that run and on nothing else: not on the machine's free memory, nor on what an
    allocator keeps. A storage counts once, however many views it has, and until its last tensor is gone.

    Not counted: what was there before (weights, inputs), workspaces inside an operator, and rounding by an allocator.

    Attributes:
        live: bytes alive now.
        history: ``live`` after every operator.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        self.history: list[int] = []
        self._storages: dict[int, tuple[int, weakref.ref[Any]]] = {}  # by address: bytes, and the reference that tells

    @property
    def peak(self) -> int:
        """The most bytes that were alive after any operator: it is operators that make storages."""
        return max(self.history, default=0)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = {value.untyped_storage()._cdata for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        result = function(*args, **kwargs)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value.untyped_storage(), given)
        self.history.append(self.live)
        return result

    def _count(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        """Adds a storage that is new, or what one of ours has grown; ``given`` are the addresses of the inputs'."""
        address = storage._cdata
        if address in self._storages:
            before, reference = self._storages[address]
        elif address in given:
            return  # a view of what was there before the block, or a write to it
        else:
            before, reference = 0, weakref.ref(storage, lambda _: self._forget(address))
        self._storages[address] = storage.nbytes(), reference
        self.live += storage.nbytes() - before

    def _forget(self, address: int) -> None:
        self.live -= self._storages.pop(address)[0]


@dataclass(frozen=True)
class PassMemory:
    """Memory of a computation on n rows: after its operator t, ``moments[t]`` = (a, b) stands for a + b n bytes."""

    moments: tuple[tuple[int, int], ...]

    def bytes_of(self, rows: int) -> int:
        """The peak of a computation on so many rows."""
        return max(constant + per_row * rows for constant, per_row in self.moments)

    def rows_within(self, budget: int) -> int:
        """The most rows whose peak is at most ``budget`` bytes; 0 if not one fits."""
        if self.bytes_of(1) > budget:
            return 0
        return min((budget - constant) // per_row for constant, per_row in self.moments if per_row > 0)


def count_memory(work: Callable[[int], object]) -> PassMemory:
    """Counts the memory of ``work(rows)`` without running it on many rows.

    It runs on a few rows: once uncounted, so that what is kept for later is there, then on :data:`SIZES` rows. Both
    make the same storages one after the other, so each moment's constant part (say, bfloat16 copies of weights) and
    its part per row follow. A peak that moves to another operator with more rows is found, too.

    Args:
        work: runs the same operators whatever the number of rows, and lets go of all it makes.

    Raises:
        ValueError: it ran other operators on other numbers of rows.
    """
    work(SIZES[0])
    counted = []
    for rows in SIZES:
        with LiveBytes() as memory:
            work(rows)
        counted.append(memory.history)
    step = SIZES[1] - SIZES[0]
    slopes = [(few, (more - few) // step) for few, more in zip(*counted, strict=True)]
    return PassMemory(tuple(dict.fromkeys((few - per_row * SIZES[0], per_row) for few, per_row in slopes)))
