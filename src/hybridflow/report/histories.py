"""Reads a training's history."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


def read_history(path: str | Path) -> pd.DataFrame:
    """Reads ``training.jsonl``: one row per logged step, in order of images seen.

    Lists whatever columns the file has; ``step`` and ``images`` are always there. A step that was logged twice (a
    resumed run) counts once, with its last values. Numbers that are not finite become NaN and leave a gap in a curve.
    That the file is the one that was written, the checkpoint's record says.

    Raises:
        UserError: the file cannot be read, a line is not a JSON object with ``step`` and ``images``, or there is none.
    """
    rows = {}
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {repair_hint(path, missing=True)}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged (it is not UTF-8 text); {repair_hint(path)}.") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            rows[row["step"]] = row
            float(row["images"])
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"line {number} of {path} is not a JSON object with 'step' and 'images'; {repair_hint(path)}."
            ) from None
    if not rows:
        raise UserError(f"{path} has no logged step; train longer than `training.log_every` steps.")
    history = pd.DataFrame(list(rows.values())).apply(pd.to_numeric, errors="coerce")
    return history.replace([math.inf, -math.inf], math.nan).sort_values("images", ignore_index=True)
