"""Content hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def sha256_file(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def md5_file(path: str | Path) -> str:
    """Hexadecimal MD5 of a file's content: what others published it with, against damage alone."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


KEY_LENGTH = 12


def short_key(value: Any) -> str:
    """The key of a result: the first digits of the SHA-256 of everything that determines it."""
    return sha256_json(value)[:KEY_LENGTH]


def sha256_json(value: Any) -> str:
    """Hexadecimal SHA-256 of a value as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
