"""Checksums in a file that grows line by line.

Every line of a training history is a JSON object that ends in a CRC-32 of itself and of the checksum before it; the
first one continues from the training's key. A changed, missing or exchanged line breaks the chain, and so does the
history of another training. A whole file's hash would have to stand somewhere else, and to be written after each line.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from typing import Any

FIELD = "crc32"


class Seal:
    """Makes the lines of one history.

    Args:
        key: of the training.
    """

    def __init__(self, key: str) -> None:
        self.checksum = zlib.crc32(key.encode())

    def line(self, row: dict[str, Any]) -> str:
        """``row`` with its checksum as a line of text."""
        self.checksum = _next(row, self.checksum)
        return json.dumps({**row, FIELD: f"{self.checksum:08x}"}) + "\n"


def open_lines(lines: Iterable[str | bytes], key: str | None = None) -> tuple[list[dict[str, Any]], int | None]:
    """The rows of a history without their checksums, up to the first that is broken, and that one's index (or None).

    Lines without any checksum, as an earlier version wrote them, are sound if they stand before all that have one.

    Args:
        key: of the training; without it the first row's checksum is believed.
    """
    rows: list[dict[str, Any]] = []
    checksum = None if key is None else zlib.crc32(key.encode())
    sealed = False
    for index, line in enumerate(lines):
        try:
            row = json.loads(line)
            found = row.pop(FIELD, None)
            if found is None:
                intact = not sealed and isinstance(row["step"], int)
            else:
                intact = checksum is None or int(found, 16) == _next(row, checksum)
                sealed, checksum = True, int(found, 16)
        except (ValueError, KeyError, TypeError, AttributeError):
            intact = False
        if not intact:
            return rows, index
        rows.append(row)
    return rows, None


def _next(row: dict[str, Any], checksum: int) -> int:
    return zlib.crc32(json.dumps(row).encode(), checksum)
