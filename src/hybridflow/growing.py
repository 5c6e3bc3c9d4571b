"""Arrays that are computed batch by batch and survive a kill."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.files import sync_folder, write_json


class GrowingArray:
    """A ``.npy`` file that gets its name only when all rows are there.

    Until then the rows stand in ``.{name}.growing`` beside it, with a note of how many are finished, their hash, and
    what they were computed from; a later run of the same computation goes on after them, unless they are damaged.

    Args:
        path: the file to make.
        shape, dtype: of the whole array.
        identity: JSON-able description of the computation; rows of another one are not kept.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: Any, identity: dict[str, Any]) -> None:
        self.path = path
        self.growing = path.with_name(f".{path.name}.growing")
        self.note = path.with_name(f".{path.name}.growing.json")
        self.identity = {**identity, "shape": list(shape), "dtype": np.dtype(dtype).str}
        path.parent.mkdir(parents=True, exist_ok=True)
        self.done, self.hasher = 0, hashlib.sha256()
        if not self._continue():
            self.array = np.lib.format.open_memmap(self.growing, mode="w+", dtype=dtype, shape=shape)

    def append(self, rows: np.ndarray) -> None:
        """Writes the next rows; they are on disk before they count as finished."""
        self.array[self.done : self.done + len(rows)] = rows
        self.array.flush()
        self.hasher.update(self.array[self.done : self.done + len(rows)])
        self.done += len(rows)
        write_json(self.note, {"done": self.done, "sha256": self.hasher.hexdigest(), **self.identity})

    def finish(self) -> str:
        """Gives the complete file its name, and returns the SHA-256 of the array's bytes (without the header)."""
        if self.done != len(self.array):
            raise RuntimeError(f"{self.path}: {self.done} of {len(self.array)} rows are finished")
        self.array._mmap.close()
        self.growing.replace(self.path)
        sync_folder(self.path.parent)
        self.note.unlink()
        return self.hasher.hexdigest()

    def _continue(self) -> bool:
        """Opens what an earlier run of the same computation finished, if there is something and it is sound."""
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
            done, expected = int(found.pop("done")), found.pop("sha256", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        if found != self.identity or not self.growing.exists():
            return False
        try:
            array = np.load(self.growing, mmap_mode="r+", allow_pickle=False)
            sound = [list(array.shape), array.dtype.str] == [self.identity["shape"], self.identity["dtype"]]
        except (OSError, ValueError, EOFError):
            sound = False
        if sound:
            self.hasher.update(array[:done])
            sound = expected in (None, self.hasher.hexdigest())  # None: the note of an earlier version
        if not sound:
            print(f"{self.growing} is damaged; {self.path.name} is computed anew", file=sys.stderr, flush=True)
            self.hasher = hashlib.sha256()
            return False
        self.array, self.done = array, done
        return True
