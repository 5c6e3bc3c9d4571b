"""Atomic writes, and what a disk that refuses one is called in words."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hybridflow.runtime.errors import UserError, WriteError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
"""Error numbers by which a disk refuses a write; any other error is not the disk's."""


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Turns what the disk refuses within the block into a sentence that names ``path``.

    Raises:
        WriteError: instead of an exception that an error of the disk caused. Any other passes.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refused = write_error(error, path)
        if refused is None:
            raise
        raise refused from None


def write_error(error: BaseException | None, path: str | Path | None = None) -> WriteError | None:
    """The sentence for an exception that is an error of the disk, or that arose from one; None for any other.

    A writer that closes its file after the disk refused it often fails again, with another exception.

    Args:
        path: what was to be written; without it, what the exception names.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REFUSED:
            full = error.errno in FULL
            advice = "free some space" if full else "make it writable" if path else "check its permissions and the disk"
            file = path or error.filename or "a file"
            return WriteError(
                f"cannot {'write' if path or full else 'use'} {file}: {os.strerror(error.errno)}; {advice} and run the "
                "same command again."
            )
        error = error.__cause__ or error.__context__
    return None


def check_room(folder: str | Path) -> None:
    """Makes sure that a folder, or the one it would be in, takes a file of 64 KiB.

    Raises:
        WriteError: it does not.
    """
    folder = Path(folder).absolute()
    while not folder.exists():
        folder = folder.parent
    with writing(folder), TemporaryFile(dir=folder, buffering=0) as file:
        file.write(bytes(1 << 16))
        os.fsync(file.fileno())


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader sees the old content or the new, never a half-written file, whatever kills the writer:
    the content is flushed to disk before the rename, and the folder after it. On an exception the temporary file is
    removed.

    Raises:
        WriteError: the disk is full, read-only or failing; ``path`` is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            with suppress(OSError):  # on a read-only disk there is none, and removing it is refused
                temporary.unlink()


def remove_partial(path: Path) -> None:
    """Removes the temporary files that killed writers of ``path`` left; nobody may be writing it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Flushes a folder's names to disk: without it, a power cut can take back a rename that had succeeded."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes indented JSON atomically; NaN and infinities are refused (``ValueError``)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def copy_into_place(source: str | Path, target: str | Path) -> None:
    """Copies ``source`` to ``target`` atomically, with a fresh modification time.

    A copy and not a link: the store's files may be links into a DVC cache, which nothing may touch.
    """
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
