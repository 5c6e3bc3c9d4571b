"""Reads a training's history."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hybridflow.io.line_checksums import FIELD, open_lines
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


def read_history(path: str | Path, key: str | None = None) -> pd.DataFrame:
    """Reads ``training.jsonl``: one row per logged step, in order of images seen.

    Lists whatever columns the file has; ``step`` and ``images`` are always there. A step that was logged twice (a
    resumed run) counts once, with its last values. Numbers that are not finite become NaN and leave a gap in a curve.

    Args:
        key: of the training; with it, the history of another one is refused.

    Raises:
        UserError: the file cannot be read, a line is not a JSON object with ``step`` and ``images`` or does not have
            its checksum (:mod:`hybridflow.io.line_checksums`), or there is none.
    """
    rows = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"figures: cannot read {path}: {error.strerror}; train the variant again.") from None
    except UnicodeDecodeError:
        raise UserError(f"figures: {path} is damaged (it is not UTF-8 text); {repair_hint(path)}.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            row.pop(FIELD, None)
            rows[row["step"]] = row
            float(row["images"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise UserError(
                f"figures: line {number} of {path} is not a JSON object with 'step' and 'images'; {repair_hint(path)}."
            ) from None
    if not rows:
        raise UserError(f"figures: {path} has no logged step; train longer than `training.log_every` steps.")
    _, broken = open_lines([line for line in lines if line.strip()], key)
    if broken is not None:
        whose = "" if key is None else f" of the training {key}"
        raise UserError(
            f"{path} is damaged: row {broken + 1} is not what was written in it{whose}; {repair_hint(path)}."
        )
    history = pd.DataFrame(list(rows.values())).apply(pd.to_numeric, errors="coerce")
    return history.replace([math.inf, -math.inf], math.nan).sort_values("images", ignore_index=True)


def read_whole_history(path: str | Path, checkpoint: Mapping[str, Any]) -> pd.DataFrame:
    """Reads the history that belongs to a checkpoint, to its last step.

    Args:
        checkpoint: its metadata.

    Raises:
        UserError: see :func:`read_history`; or the history ends earlier.
    """
    history = read_history(path, checkpoint["key"])
    last = int(history["step"].max())
    if last != checkpoint["steps"]:
        raise UserError(
            f"{path} is damaged: it ends at step {last}, but its checkpoint has {checkpoint['steps']}; {repair_hint(path)}."
        )
    return history
