"""Which devices a job computes on."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from hybridflow.runtime.allocator import keep_freed_memory
from hybridflow.runtime.errors import UserError

if TYPE_CHECKING:
    import torch


def gpus_claimed(device: str, devices: int = 1) -> int:
    """How many GPUs a job with these settings takes from the workflow's ``gpu`` resource."""
    return 0 if device == "cpu" else devices


@contextmanager
def claim_device(setting: str, locks: Path | None = None) -> Iterator[torch.device]:
    """Yields the one device of a job (:func:`claim_devices`), made torch's current one."""
    import torch

    with claim_devices(setting, 1, locks) as (device,):
        if device.type == "cuda":
            torch.cuda.set_device(device.index)
        yield device


@contextmanager
def claim_devices(setting: str, count: int, locks: Path | None = None) -> Iterator[list[torch.device]]:
    """Yields the devices for a job and keeps its GPUs from other jobs of this machine meanwhile.

    The workflow's ``gpu`` resource only counts: it does not say which GPUs a job may use. So every job
    takes the first ones whose lock files are free, and waits when there are not enough. A lock has its GPU's UUID for a
    name. Under a scheduler, the GPUs that it gave the job are all that the job sees.

    A job gets all its GPUs or none, so that two jobs never wait for each other's. One that computes on the CPU keeps
    the memory it frees (:func:`hybridflow.runtime.allocator.keep_freed_memory`).

    Args:
        setting: ``auto`` (GPUs if there are any), ``cpu`` or ``cuda``.
        count: how many; without a GPU that many times the CPU.
        locks: folder of the lock files; the default is one per user in the temporary folder.

    Raises:
        UserError: the setting is ``cuda`` and there is none, or there are fewer GPUs than ``count``.
    """
    import torch

    present = 0 if setting == "cpu" else torch.cuda.device_count()
    if present == 0:
        if setting == "cuda":
            raise UserError(
                "training.device is 'cuda' but torch sees no CUDA device; use 'auto' or 'cpu', or repair the driver."
            )
        keep_freed_memory()
        yield [torch.device("cpu")] * count
        return
    if present < count:
        raise UserError(
            f"training.devices is {count} but torch sees only {present} CUDA devices on this machine; lower it, or set "
            "training.device to 'cpu'."
        )
    if locks is None:
        locks = Path(tempfile.gettempdir()) / f"hybridflow-gpus-{os.getuid()}"
    locks.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = _take(count, present, locks)
    while not held:
        time.sleep(2)
        held = _take(count, present, locks)
    try:
        yield [torch.device("cuda", index) for index in held]
    finally:
        for lock in held.values():
            lock.release()


def _take(count: int, present: int, locks: Path) -> dict[int, FileLock]:
    """The first ``count`` free GPUs and their locks, or nothing if there are fewer.

    Only one job at a time tries for several: two that each hold what the other one needs could give up and try again
    in step for ever.
    """
    held: dict[int, FileLock] = {}
    with FileLock(locks / "several.lock") if count > 1 else nullcontext():
        for index in range(present):
            lock = FileLock(locks / f"{_identity(index)}.lock")
            with suppress(Timeout):
                lock.acquire(blocking=False)
                held[index] = lock
            if len(held) == count:
                return held
        for lock in held.values():
            lock.release()
    return {}


def _identity(index: int) -> str:
    """The same name for one GPU in processes that see different subsets of the machine's GPUs.

    Its number will not do: where a scheduler confines every job to its own devices, each job counts them from 0.
    """
    import torch

    return f"gpu-{torch.cuda.get_device_properties(index).uuid}"
