"""``.npy`` files: reading ones that may be damaged, filling large ones in any order or batch by batch across kills."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from hybridflow.io.files import remove_partial, sync_folder, writing
from hybridflow.io.records import read_record, write_record
from hybridflow.runtime.errors import UserError


def read_array(path: str | Path, *, mapped: bool = False) -> np.ndarray:
    """The array of a ``.npy`` file.

    Args:
        mapped: map it into memory, read-only.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged. numpy itself raises nearly anything on a damaged header.
    """
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    if not isinstance(array, np.ndarray):
        raise ValueError("it is not a .npy file")
    return array


def _write_header(handle: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Writes the header of a C-order array; returns where its values begin."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)
    return handle.tell()


class ArrayWriter:
    """A C-order .npy file of known shape that is filled in any order, without holding the array.

    Plain writes and not a memory map: on a full disk a write is an error, a map is a SIGBUS.

    Args:
        path: the file to write.
        shape: the array's shape.
        dtype: its element type.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self.handle = path.open("wb+")
        self.offset = _write_header(self.handle, shape, self.dtype)
        self.rows = 0

    def write(self, start: int, rows: np.ndarray) -> None:
        """Puts ``rows``, (n, *shape[1:]), at ``start``."""
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype or start + len(rows) > self.shape[0]:
            raise ValueError(f"{rows.dtype} {rows.shape} at {start} does not fit into {self.dtype} {self.shape}")
        self.handle.seek(self.offset + start * self.row_bytes)
        self.handle.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def sha256(self) -> str:
        """SHA-256 of the array's bytes, without the header."""
        if self.rows != self.shape[0]:
            raise ValueError(f"{self.rows} of {self.shape[0]} rows were written")
        digest = hashlib.sha256()
        self.handle.seek(self.offset)
        while block := self.handle.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: TracebackType | None) -> None:
        self.handle.close()


class ResumableArray:
    """A ``.npy`` file that is computed batch by batch, and gets its name when all rows are there.

    Until then the rows are in ``.{name}.rows`` beside it, with a record of how many are finished, their hash, and
    what they are computed from; a later run of the same computation goes on after them, unless they are damaged.

    The file has its full size from the start, so that a disk without room for it is noticed before hours of work. Rows
    are written and not mapped into memory: on a full disk a write is an error, a map ends the process.

    Args:
        path: the file to make.
        shape, dtype: of the whole array.
        identity: JSON-able description of the computation; rows of another one are not kept.

    Attributes:
        done: how many rows are finished.

    Raises:
        WriteError: the disk refuses the file.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: np.typing.DTypeLike, identity: dict[str, Any]
    ) -> None:
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype)
        self.rows, self.record = path.with_name(f".{path.name}.rows"), path.with_name(f".{path.name}.rows.json")
        self.identity = {"identity": identity, "shape": list(shape), "dtype": self.dtype.str}
        self.row_bytes = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        self.done, self.hasher = 0, hashlib.sha256()
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_partial(self.record)  # of a process that was killed while it wrote it
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
        # The hash is carried on from batch to batch: one of the whole file would be read again for each of them.
        write_record(self.record, {"done": self.done, "sha256": self.hasher.hexdigest(), **self.identity})

    def finish(self) -> None:
        """Gives the complete file its name."""
        if self.done != self.shape[0]:
            raise RuntimeError(f"{self.path}: {self.done} of {self.shape[0]} rows are finished")
        with writing(self.path):
            self.handle.close()
            self.rows.replace(self.path)
            sync_folder(self.path.parent)
            self.record.unlink(missing_ok=True)

    def _start(self) -> None:
        """Makes the file with its header and room for all rows."""
        self.handle = self.rows.open("wb+")
        try:
            offset = _write_header(self.handle, self.shape, self.dtype)
            self.handle.flush()
            if self.shape[0] * self.row_bytes > 0:
                os.posix_fallocate(self.handle.fileno(), offset, self.shape[0] * self.row_bytes)
        except OSError:
            self.handle.close()
            with suppress(OSError):
                self.rows.unlink()  # what is half made would keep the space that others need
            raise

    def _continue(self) -> bool:
        """Opens what an earlier run of the same computation finished, if there is something and it is sound."""
        if not (self.record.exists() and self.rows.exists()):
            return False
        try:
            found = read_record(self.record)
            if any(found.get(name) != value for name, value in self.identity.items()):
                return False  # of other weights or settings
            self.handle = self.rows.open("rb+")
            if self._read_rows(found["done"]) == found["sha256"]:
                self.done = found["done"]
                return True
            self.handle.close()
        except UserError:
            pass  # a damaged record
        print(f"{self.rows} is damaged; {self.path.name} is computed from its start", file=sys.stderr, flush=True)
        self.hasher = hashlib.sha256()
        return False

    def _read_rows(self, done: int) -> str | None:
        """Leaves the file open behind the finished rows; their hash, None if the file has another form."""
        expected = io.BytesIO()
        offset = _write_header(expected, self.shape, self.dtype)
        if (
            self.rows.stat().st_size != offset + self.shape[0] * self.row_bytes
            or self.handle.read(offset) != expected.getvalue()
        ):
            return None
        left = done * self.row_bytes
        while block := self.handle.read(min(left, 1 << 20)):
            self.hasher.update(block)
            left -= len(block)
        return self.hasher.hexdigest()
