"""Arrays that are computed batch by batch and survive a kill."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.files import write_json


class GrowingArray:
    """A ``.npy`` file that gets its name only when all rows are there.

    Until then the rows stand in ``.{name}.growing`` beside it, with a note of how many are finished and
    of what they were computed from; a later run of the same computation goes on after them.

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
        self.done = self._finished()
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.done == 0:
            self.array = np.lib.format.open_memmap(self.growing, mode="w+", dtype=dtype, shape=shape)
        else:
            self.array = np.load(self.growing, mmap_mode="r+", allow_pickle=False)

    def append(self, rows: np.ndarray) -> None:
        """Writes the next rows; they are on disk before they count as finished."""
        self.array[self.done : self.done + len(rows)] = rows
        self.array.flush()
        self.done += len(rows)
        write_json(self.note, {"done": self.done, **self.identity})

    def finish(self) -> None:
        """Gives the complete file its name."""
        if self.done != len(self.array):
            raise RuntimeError(f"{self.path}: {self.done} of {len(self.array)} rows are finished")
        self.array._mmap.close()
        self.growing.replace(self.path)
        self.note.unlink()

    def _finished(self) -> int:
        try:
            found = json.loads(self.note.read_text(encoding="utf-8"))
            done = int(found.pop("done"))
        except (OSError, ValueError, KeyError):
            return 0
        return done if found == self.identity and self.growing.exists() else 0
