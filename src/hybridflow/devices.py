"""Which device a job computes on."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hybridflow.errors import UserError

if TYPE_CHECKING:
    import torch


def gpus_claimed(device: str) -> int:
    """How many GPUs a job with this ``device`` setting takes from the workflow's ``gpu`` resource."""
    return 0 if device == "cpu" else 1


@contextmanager
def claim_device(setting: str, locks: Path | None = None) -> Iterator[torch.device]:
    """Yields the device for a job and keeps its GPU from other jobs of this machine meanwhile.

    The workflow's ``gpu`` resource only counts: it does not say which GPU a job may use. So every job
    takes the first one whose lock file is free, and waits when all are taken. A scheduler that has
    set CUDA_VISIBLE_DEVICES to one GPU has chosen already; its choice is the only one in sight.

    Args:
        setting: ``auto`` (a GPU if there is one), ``cpu`` or ``cuda``.
        locks: folder of the lock files; the default is one per user in the temporary folder.

    Raises:
        UserError: ``cuda`` was asked for and there is none.
    """
    import torch

    count = 0 if setting == "cpu" else torch.cuda.device_count()
    if count == 0:
        if setting == "cuda":
            raise UserError(
                "training.device is 'cuda' but torch sees no CUDA device; use 'auto' or 'cpu', or mend the driver."
            )
        yield torch.device("cpu")
        return
    if locks is None:
        locks = Path(tempfile.gettempdir()) / f"hybridflow-gpus-{os.getuid()}"
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        for index in range(count):
            lock = FileLock(locks / f"{_identity(index)}.lock")
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                torch.cuda.set_device(index)
                yield torch.device("cuda", index)
            finally:
                lock.release()
            return
        time.sleep(2)


def _identity(index: int) -> str:
    """The same name for one GPU in processes that see different subsets of the machine's GPUs."""
    visible = [part.strip() for part in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if part.strip()]
    return f"gpu{visible[index]}" if index < len(visible) else f"gpu{index}"
