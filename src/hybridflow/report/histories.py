"""Reads a training's history."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd


def read_history(path: str | Path) -> pd.DataFrame:
    """Reads ``training.jsonl``: one row per logged step; ``step`` and ``images`` are always there.

    That the file is the one that was written, the checkpoint's record says: compare the two first.
    """
    with Path(path).open(encoding="utf-8") as lines:
        return pd.DataFrame(map(json.loads, lines))
