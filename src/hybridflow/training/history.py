"""The metrics of a training, on disk and for TensorBoard."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TextIO

from hybridflow.io.files import write_error, write_text, writing


class History:
    """Writes the metrics of a training: a JSONL file beside the checkpoint, and TensorBoard scalars.

    The lines also live in the training's state, which is saved with the weights: a training that continues writes
    its file again from there, so that lines of a lost stretch disappear and damaged ones come back.

    Args:
        path: the JSONL file.
        monitor: folder for TensorBoard.
        lines: those logged so far, each ending in a newline; new ones are appended to this list.
    """

    def __init__(self, path: Path, monitor: Path, lines: list[str]) -> None:
        self.path, self.lines, self.images_per_second = path, lines, 0.0
        self._last = json.loads(lines[-1]) if lines else {"step": 0, "images": 0, "seconds": 0.0}
        write_text(path, "".join(lines))
        self._file: TextIO
        with writing(path):
            self._file = path.open("a", encoding="utf-8")
        self._curves = _Curves(monitor / "tensorboard", self._last["step"] + 1)

    def write(self, step: int, batch_size: int, seconds: float, lr: float, metrics: dict[str, float]) -> None:
        """Adds one row: step, images, seconds, lr, images_per_second and the metrics."""
        row = {"step": step, "images": step * batch_size, "seconds": round(seconds, 3), "lr": lr}
        rate = (row["images"] - self._last["images"]) / max(seconds - self._last["seconds"], 1e-9)
        row |= {"images_per_second": round(rate, 2)} | metrics
        self.lines.append(json.dumps(row) + "\n")
        with writing(self.path):
            self._file.write(self.lines[-1])
            self._file.flush()
        self._curves.write({name: value for name, value in row.items() if name not in ("step", "images")}, step)
        self.images_per_second, self._last = rate, row

    def close(self) -> None:
        """Puts the whole file on disk: the checkpoint follows, and with it the claim that the history is complete."""
        self._file.close()
        write_text(self.path, "".join(self.lines))
        self._curves.close()


class _Curves:
    """TensorBoard scalars: a convenience, which ends at the first error of the disk while the training goes on.

    Args:
        step: the first to be written; what a killed run wrote from there on is hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder, self.writer = folder, None
        try:
            self.writer = SummaryWriter(str(folder), purge_step=step)
        except OSError as error:
            self._end(error)

    def write(self, scalars: dict[str, float], step: int) -> None:
        try:
            for name, value in scalars.items() if self.writer else ():
                self.writer.add_scalar(name, value, step)
        except OSError as error:
            self._end(error)

    def close(self) -> None:
        try:
            if self.writer:
                self.writer.close()
        except OSError as error:
            self._end(error)

    def _end(self, error: OSError) -> None:
        self.writer = None
        print(f"TensorBoard's curves end here: {write_error(error, self.folder) or error}", file=sys.stderr, flush=True)
