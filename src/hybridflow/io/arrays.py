"""Reading .npy files that may be damaged, and writing large ones piece by piece."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType

import numpy as np


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
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.handle, header)
        self.offset = self.handle.tell()
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
