"""Atomic writes."""

from __future__ import annotations

import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hybridflow.io.disk_errors import writing
from hybridflow.io.hashing import sha256_json
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError

NOTE_HASH = "content_sha256"
"""Name of the entry that a JSON file about measurements ends with."""


@contextmanager
def atomic_path(path: str | Path, previous: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader sees the old content or the new, never a half-written file, whatever kills the writer:
    the content is flushed to disk before the rename, and the folder after it. On an exception the temporary file is
    removed.

    Args:
        previous: a name in the same folder that the old content is kept under, or None.

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
                os.fchmod(handle.fileno(), 0o666 & ~_umask())  # some writers make files only their owner can read
                os.fsync(handle.fileno())
            old = _second_name(path, previous) if previous is not None and path.exists() else None
            temporary.replace(path)
            if old is not None:
                old.replace(previous)
            sync_folder(path.parent)
        finally:
            with suppress(OSError):  # on a read-only disk there is none, and asking is refused
                temporary.unlink()


def remove_partial(path: Path) -> None:
    """Removes the temporary files that killed writers of ``path`` left; nobody may be writing it."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        leftover.unlink(missing_ok=True)


def _second_name(path: Path, previous: Path) -> Path | None:
    """Another name of ``path``'s content that becomes ``previous`` later, so that ``path`` is there all the time."""
    name = previous.with_name(f".{previous.name}.{os.getpid()}.partial")
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:  # a file system without hard links
        path.replace(previous)
        return None
    return name


def sync_folder(folder: Path) -> None:
    """Flushes a folder's names to disk: without it, a power cut can take back a rename that had succeeded."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


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


def write_note(path: str | Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON object with a hash of its other entries, atomically (:func:`read_note`)."""
    write_json(path, {**value, NOTE_HASH: sha256_json(value)})


def read_note(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object, without the hash that :func:`write_note` gave it. An earlier version wrote none.

    Raises:
        UserError: the file is missing, is no JSON object, or is not what was written.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run the workflow again.") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UserError(f"{path} is damaged (it is not a JSON object); {repair_hint(path)}.")
    if value.pop(NOTE_HASH, None) not in (None, sha256_json(value)):
        raise UserError(f"{path} is damaged (its values are not what was written); {repair_hint(path)}.")
    return value


def place(source: str | Path, target: str | Path) -> None:
    """Copies ``source`` to ``target`` atomically, with a fresh modification time.

    A copy and not a link: the store's files may be links into a DVC cache, which nothing may touch.
    """
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
