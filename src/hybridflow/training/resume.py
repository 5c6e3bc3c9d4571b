"""The saved state of a running training.

A state is kept in two slots, ``X.resume-a`` and ``X.resume-b``, written in turn, each with a record of its SHA-256
(:mod:`hybridflow.io.records`). The record goes before its slot is written again and comes back last, so a kill at any
moment leaves at least one finished state, and a slot without a record is one that a kill cut short.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hybridflow.io.files import atomic_path, writing
from hybridflow.io.records import read_record, write_record
from hybridflow.runtime.errors import UserError


class ResumeState:
    """Two slots for the state of one training.

    Args:
        path: what the names of the slots begin with.
        key: of the training; a state of another one is not continued.
        silent: print nothing (another process reads the same slots).
    """

    def __init__(self, path: Path, key: str, *, silent: bool = False) -> None:
        self.slots = [path.with_name(f"{path.name}-{letter}") for letter in "ab"]
        self.path, self.key, self.silent = path, key, silent
        self._newest: Path | None = None

    @property
    def saved(self) -> list[Path]:
        """The slots that were written to their end, and may be damaged since."""
        return [slot for slot in self.slots if _record(slot).exists()]

    def load(self) -> dict[str, Any] | None:
        """The newest sound state, its tensors on the CPU; None if none was saved yet.

        Raises:
            UserError: states were saved, and all of them are damaged.
        """
        steps: dict[Path, int] = {}
        damaged = []
        for slot in self.saved:
            try:
                steps[slot] = read_record(_record(slot), [slot.name], key=self.key)["step"]
            except UserError:
                damaged.append(str(slot))
        if damaged and not steps:
            raise UserError(
                f"the resume state of this training is damaged ({' and '.join(damaged)}); delete {self.path}-* to "
                "train this model from its start."
            )
        if not steps:
            return None
        self._newest = max(steps, key=steps.get)
        if damaged and not self.silent:
            going_on = f"going on from step {steps[self._newest]} in {self._newest}"
            print(f"the resume state {damaged[0]} is damaged; {going_on}", file=sys.stderr, flush=True)
        import torch  # here: a job that finds its training in the store needs none of it

        return torch.load(self._newest, map_location="cpu", weights_only=True)

    def save(self, state: dict[str, Any], step: int) -> None:
        """Writes nested dicts and lists of tensors, numbers and text over the older state.

        Call :meth:`load` before: it finds out which one is older.

        Raises:
            WriteError: the disk is full, read-only or failing; the newest state is as it was.
        """
        import torch

        slot = self.slots[0] if self._newest != self.slots[0] else self.slots[1]
        with writing(slot):
            _remove(slot)
        # An open file: given a path, torch writes in C++ and does not say why it could not.
        with atomic_path(slot) as temporary, temporary.open("wb") as handle:
            torch.save(state, handle)
        write_record(_record(slot), {"key": self.key, "step": step}, [slot])
        self._newest = slot

    def remove(self) -> None:
        """Removes both slots: the training is finished."""
        for slot in self.slots:
            _remove(slot)


def _record(slot: Path) -> Path:
    return slot.with_name(f"{slot.name}.json")


def _remove(slot: Path) -> None:
    _record(slot).unlink(missing_ok=True)
    slot.unlink(missing_ok=True)
