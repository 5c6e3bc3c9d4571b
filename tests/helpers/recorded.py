"""Files with their records, as the pipeline writes them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hybridflow.io.records import OWN_HASH, record_of, write_record


def save_array(path: Path, array: np.ndarray, **values: object) -> Path:
    """Writes a ``.npy`` file and its record."""
    np.save(path, array)
    return record(path, **values)


def record(path: Path, **values: object) -> Path:
    """Writes the record of a file that is there."""
    write_record(record_of(path), values, [path])
    return path


def edit(path: Path, **values: object) -> None:
    """Changes values of a record; ``...`` removes one. The files stay those that it spoke for."""
    content = {**json.loads(path.read_text(encoding="utf-8")), **values}
    content = {name: value for name, value in content.items() if value is not ... and name != OWN_HASH}
    write_record(path, content)
