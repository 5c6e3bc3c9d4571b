"""The figures of a training, on disk and for TensorBoard."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hybridflow.io.disk_errors import writing
from hybridflow.io.files import write_text
from hybridflow.io.line_checksums import Seal, open_lines
from hybridflow.training.board import Board


class History:
    """Figures of a training: a JSONL file beside the checkpoint, and TensorBoard scalars.

    Rows after ``step`` belong to a run that was killed after its last resume state; they are dropped. So are damaged
    rows: figures of earlier steps are no reason to stop a training.

    Args:
        path: the JSONL file; its rows are sealed (:mod:`hybridflow.io.line_checksums`).
        monitor: folder for TensorBoard.
        step: where training starts or continues.
        key: of the training.
    """

    def __init__(self, path: Path, monitor: Path, step: int, key: str) -> None:
        rows = _sound_rows(path, key) if path.exists() else []
        rows = [row for row in rows if row["step"] <= step]
        self.seal = Seal(key)
        write_text(path, "".join(self.seal.line(row) for row in rows))  # a kill now must not cost older rows
        self.path = path
        with writing(path):
            self.file = path.open("a", encoding="utf-8")
        self.previous = (rows[-1]["images"], rows[-1]["seconds"]) if rows else (0, 0.0)
        self.images_per_second = 0.0
        self.board = Board(monitor / "tensorboard", step)

    def write(self, step: int, batch_size: int, seconds: float, lr: float, figures: dict[str, float]) -> None:
        """One row: step, images, seconds, lr, images_per_second and the figures."""
        images = step * batch_size
        before, then = self.previous
        self.images_per_second = (images - before) / max(seconds - then, 1e-9)
        self.previous = (images, seconds)
        row = {"step": step, "images": images, "seconds": round(seconds, 3), "lr": lr}
        row |= {"images_per_second": round(self.images_per_second, 2)} | figures
        with writing(self.path):
            self.file.write(self.seal.line(row))
            self.file.flush()
        self.board.write({name: value for name, value in row.items() if name not in ("step", "images")}, step)

    def close(self) -> None:
        with writing(self.path):
            os.fsync(self.file.fileno())  # the checkpoint follows, and with it the claim that the history is complete
            self.file.close()
        self.board.close()


def _sound_rows(path: Path, key: str) -> list[dict[str, Any]]:
    """The rows of a history file up to the first that is damaged, or that a kill cut short."""
    lines = path.read_bytes().splitlines(keepends=True)
    rows, broken = open_lines(lines, key)
    if broken is not None and (broken < len(lines) - 1 or lines[-1].endswith(b"\n")):
        print(f"line {broken + 1} of {path} is damaged; it and those after it are left out", file=sys.stderr)
    return rows
