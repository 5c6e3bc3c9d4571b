"""Arrays that are computed batch by batch and survive a kill."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.io.disk_errors import writing
from hybridflow.io.files import sync_folder, write_json


class GrowingArray:
    """A ``.npy`` file that gets its name only when all rows are there.

    Until then the rows stand in ``.{name}.growing`` beside it, with a note of how many are finished, their hash, and
    what they were computed from; a later run of the same computation goes on after them, unless they are damaged.

    The file has its full size from the start, so that a disk without room for it is noticed before hours of work. Rows
    are written and not mapped into memory: on a full disk a write is an error, a map ends the process.

    Args:
        path: the file to make.
        shape, dtype: of the whole array.
        identity: JSON-able description of the computation; rows of another one are not kept.

    Raises:
        WriteError: the disk refuses the file.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, identity: dict[str, Any]) -> None:
        self.path = path
        self.growing = path.with_name(f".{path.name}.growing")
        self.note = path.with_name(f".{path.name}.growing.json")
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.identity = {**identity, "shape": list(shape), "dtype": self.dtype.str}
        self.row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self.done, self.hasher = 0, hashlib.sha256()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._continue():
                self._start()

    def append(self, rows: np.ndarray) -> None:
        """Writes the next rows; they are on disk before they count as finished."""
        if rows.shape[1:] != self.shape[1:] or self.done + len(rows) > self.shape[0]:
            raise ValueError(f"{rows.shape} after {self.done} rows does not fit into {self.shape}")
        content = np.ascontiguousarray(rows, self.dtype)
        with writing(self.path):
            self.handle.write(content.data)
            self.handle.flush()
            os.fsync(self.handle.fileno())
        self.hasher.update(content)
        self.done += len(rows)
        write_json(self.note, {"done": self.done, "sha256": self.hasher.hexdigest(), **self.identity})

    def finish(self) -> str:
        """Gives the complete file its name, and returns the SHA-256 of the array's bytes (without the header)."""
        if self.done != self.shape[0]:
            raise RuntimeError(f"{self.path}: {self.done} of {self.shape[0]} rows are finished")
        with writing(self.path):
            self.handle.close()
            self.growing.replace(self.path)
            sync_folder(self.path.parent)
            self.note.unlink()
        return self.hasher.hexdigest()

    def _start(self) -> None:
        """Makes the file with its header and room for all rows."""
        self.handle = self.growing.open("wb+")
        try:
            header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(self.handle, header)
            self.handle.flush()
            offset, size = self.handle.tell(), self.shape[0] * self.row_bytes
            if size > 0:
                os.posix_fallocate(self.handle.fileno(), offset, size)
        except OSError:
            self.handle.close()
            with suppress(OSError):
                self.growing.unlink()  # what is half made would keep the space that others need
            raise

    def _continue(self) -> bool:
        """Opens what an earlier run of the same computation finished, if there is something and it is sound."""
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
            done, expected = int(found.pop("done")), found.pop("sha256", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if found != self.identity or not self.growing.exists():
            return False
        if not self._read_rows(done, expected):
            print(f"{self.growing} is damaged; {self.path.name} is computed anew", file=sys.stderr, flush=True)
            self.handle.close()
            self.hasher = hashlib.sha256()
            return False
        self.done = done
        return True

    def _read_rows(self, done: int, expected: str | None) -> bool:
        """Reads the finished rows into the hash, and leaves the file open behind them; whether they are sound."""
        self.handle = self.growing.open("rb+")
        try:
            version = np.lib.format.read_magic(self.handle)
            header = np.lib.format.read_array_header_1_0(self.handle) if version == (1, 0) else None
        except OSError:
            raise
        except Exception:  # numpy raises nearly anything on a damaged header
            return False
        offset, end = self.handle.tell(), self.shape[0] * self.row_bytes
        if header != (self.shape, False, self.dtype) or not 0 <= done <= self.shape[0]:
            return False
        if self.growing.stat().st_size != offset + end:
            return False
        left = done * self.row_bytes
        while block := self.handle.read(min(left, 1 << 20)):
            self.hasher.update(block)
            left -= len(block)
        return left == 0 and expected in (None, self.hasher.hexdigest())  # None: the note of an earlier version
