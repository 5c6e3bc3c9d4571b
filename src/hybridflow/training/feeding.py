"""How chosen images reach the device: they are there already, or come from the host in time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor


class ImagesOnDevice:
    """All images on the device: a batch is one look-up there.

    Args:
        images: (N, C, H, W) uint8.
    """

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        self.images = torch.from_numpy(np.array(images)).to(device)

    def take(self, rows: Tensor, upcoming: Sequence[Tensor] = ()) -> Tensor:
        """The images ``rows`` (N,), int64 on the CPU: (N, C, H, W) uint8 on the device."""
        return self.images[to_device(rows, self.images.device)]


class ImagesOnHost:
    """Images that stay where they are, in memory or in a mapped file, for datasets that a device has no room for.

    A thread gathers the batches that will be asked for next while the device works on this one. On a GPU a batch then
    goes through pinned memory, so that neither host nor device waits for the copy.

    Args:
        images: (N, C, H, W) uint8; not copied.
    """

    def __init__(self, images: np.ndarray, device: torch.device) -> None:
        self.images, self.device = images, device
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gather images")
        self._gathered: dict[bytes, Future[Tensor]] = {}

    def take(self, rows: Tensor, upcoming: Sequence[Tensor] = ()) -> Tensor:
        """The images ``rows`` (N,), int64 on the CPU: (N, C, H, W) uint8 on the device.

        Args:
            upcoming: rows that are likely to be asked for soon. What is gathered and not among them is dropped.
        """
        future = self._gathered.pop(_key(rows), None) or self._thread.submit(self._gather, rows)
        wanted = {_key(later): later for later in upcoming}
        self._gathered = {
            key: self._gathered.get(key) or self._thread.submit(self._gather, later) for key, later in wanted.items()
        }
        return to_device(future.result(), self.device)

    def _gather(self, rows: Tensor) -> Tensor:
        return torch.from_numpy(self.images[rows.numpy()])


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """``batch`` on ``device``, without waiting for the copy.

    torch's allocator of pinned memory uses a block again only when the copies from it have ended.
    """
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True)


def _key(rows: Tensor) -> bytes:
    return rows.numpy().tobytes()
