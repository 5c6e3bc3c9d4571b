"""Small disks that can be full or read-only: tmpfs mounts, which need the right to mount."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A mounted tmpfs.

    Args:
        path: where it is mounted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def resize(self, kib: int) -> None:
        """Gives it another size; what is on it stays."""
        self._mount("-o", f"remount,size={kib}k")

    def read_only(self, yes: bool = True) -> None:
        """Refuses every write from now on, root's too, or no longer."""
        self._mount("-o", f"remount,{'ro' if yes else 'rw'}")

    def fill(self, leave: int = 0) -> None:
        """Writes a file that takes all space but ``leave`` bytes."""
        with (self.path / "filler").open("wb", buffering=0) as handle:
            try:
                while True:
                    handle.write(bytes(4096))
            except OSError:
                handle.truncate(max(handle.tell() - leave, 0))

    def empty(self) -> None:
        """Frees what :meth:`fill` took."""
        (self.path / "filler").unlink()

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.path)], check=True, capture_output=True)


@contextmanager
def small_disk(path: Path, kib: int) -> Iterator[Disk]:
    """A tmpfs of ``kib`` KiB at ``path``; skips the test where mounting is not permitted."""
    path.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(path)], capture_output=True, text=True
        )
    except FileNotFoundError:
        pytest.skip("there is no `mount`")
    if done.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted: {done.stderr.strip()}")
    try:
        yield Disk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
