"""Atomic writes and content hashes."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path, previous: Path | None = None) -> Iterator[Path]:
    """Yields a temporary path beside ``path`` that takes its place when the block succeeds.

    A reader sees the old content or the new, never a half-written file, whatever kills the writer:
    the content is flushed to disk before the rename, and the folder after it. On an exception the temporary file is
    removed.

    Args:
        previous: a name in the same folder that the old content is kept under, or None.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
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
        temporary.unlink(missing_ok=True)


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


def mend(path: str | Path) -> str:
    """What to do about a damaged file of the store or of the results, in words that end a sentence."""
    path = Path(path)
    note = path.with_name(path.name + ".dvc")
    if note.exists():
        # Not `dvc checkout`: DVC takes a file whose time and size did not change for unchanged.
        return f"bring the published one back with `rm {path} && dvc pull {note}`"
    return f"delete it (`rm {path}`) and run the workflow again"


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


def place(source: str | Path, target: str | Path) -> None:
    """Copies ``source`` to ``target`` atomically, with a fresh modification time.

    A copy and not a link: the store's files may be links into a DVC cache, which nothing may touch.
    """
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a value as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
