"""Locks between processes, which the operating system frees when a process ends, however it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hybridflow.io.files import writing
from hybridflow.runtime.errors import UserError

_held: list[FileLock] = []  # until this process ends


@contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Lets one process at a time into the block; the others wait, and say so on standard error.

    Args:
        path: the lock file, which stays.
        what: what the process inside does, to follow its name.

    Raises:
        WriteError: the lock file cannot be made.
    """
    lock = FileLock(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print(f"another process {what}; waiting for it", file=sys.stderr, flush=True)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def claim_run(experiment: str) -> None:
    """Keeps other runs of the experiment out of this checkout until this process ends.

    Snakemake's own locks are files that a killed run leaves behind, and two runs that start together both get theirs.

    Raises:
        UserError: another run has begun and not ended, or the lock file cannot be made.
    """
    path = Path(".snakemake") / f"{experiment}.lock"
    lock = FileLock(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout:
        raise UserError(
            f"another snakemake is making results/{experiment} in this folder; wait until it has ended, or stop it, "
            "and run the command again."
        ) from None
    _held.append(lock)
