"""TensorBoard scalars of a training: a convenience that must not end it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from hybridflow.io.disk_errors import disk_error


class Board:
    """Writes scalars until the disk refuses one; then a line says so, and the training goes on without.

    The history holds the same figures (:class:`hybridflow.training.history.History`).

    Args:
        folder: for TensorBoard's files.
        step: where training starts or continues; what a killed run wrote after it is hidden.
    """

    def __init__(self, folder: Path, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        self.writer: SummaryWriter | None = None
        try:
            self.writer = SummaryWriter(str(folder), purge_step=step)
        except OSError as error:
            self._give_up(error)
        _quiet_writers()

    def write(self, figures: Mapping[str, float], step: int) -> None:
        """Adds one scalar for every figure."""
        if self.writer is None:
            return
        try:
            for name, value in figures.items():
                self.writer.add_scalar(name, value, step)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """Waits until everything is written."""
        try:
            if self.writer is not None:
                self.writer.close()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.writer = None
        print(f"TensorBoard's curves end here: {disk_error(error, self.folder) or error}", file=sys.stderr, flush=True)


def _quiet_writers() -> None:
    """Keeps the tracebacks of TensorBoard's writing threads off the terminal: the error is raised once more by the
    next call of the writer."""
    before = threading.excepthook
    if getattr(before, "__name__", None) == "_without_writers":
        return

    def _without_writers(arguments: threading.ExceptHookArgs) -> None:
        if type(arguments.thread).__module__.startswith("tensorboard.") and isinstance(arguments.exc_value, OSError):
            return
        before(arguments)

    threading.excepthook = _without_writers
