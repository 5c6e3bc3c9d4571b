"""Records: JSON files that say what a result is, with the SHA-256 of every file they speak for.

This is the one mechanism behind integrity. Whatever is used later is written as ordinary files and, after
them, a record: what the result is (key, settings, version, what it was made from), its numbers if it has
any, and the SHA-256 of its files. A result whose record is missing was never finished. A reader compares
files and record before it uses either, so a damaged or exchanged file is named and not used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hybridflow.io.files import copy_into_place, read_json, write_json
from hybridflow.io.hashing import sha256_file, sha256_json
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError

OWN_HASH = "record_sha256"


def record_of(path: str | Path) -> Path:
    """Where the record of a file is: ``samples.npy`` has ``samples.json``."""
    return Path(path).with_suffix(".json")


def write_record(path: str | Path, values: Mapping[str, Any], files: Iterable[str | Path] = ()) -> None:
    """Writes a record, atomically, after the files it speaks for.

    Args:
        path: the record.
        values: JSON-able; what the result is, and its numbers.
        files: finished files in the record's folder.

    Raises:
        ValueError: a number is not finite.
    """
    _write(path, values, {Path(file).name: sha256_file(file) for file in files})


def _write(path: str | Path, values: Mapping[str, Any], hashes: dict[str, str]) -> None:
    content = {**values, "files": hashes} if hashes else dict(values)
    write_json(path, {**content, OWN_HASH: sha256_json(content)})


def read_record(path: str | Path, files: Iterable[str] | None = None, **expected: Any) -> dict[str, Any]:
    """Reads a record and compares it with its own hash, with what the caller expects, and with its files.

    Args:
        path: the record.
        files: names of the files to compare; all that it speaks for if None.
        expected: values that it must have, say ``key="5bcc8062a8a1"``.

    Returns:
        The values, ``files`` (name: SHA-256) among them if it speaks for any.

    Raises:
        UserError: record or file is missing, damaged, or is not what is expected; says how to repair it.
    """
    path = Path(path)
    try:
        values = read_json(path)
        sound = isinstance(values, dict) and values.pop(OWN_HASH, None) == sha256_json(values)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; {repair_hint(path, missing=True)}.") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; {repair_hint(path)}.") from None
    except ValueError:
        sound = False
    if not sound:
        raise UserError(f"{path} is damaged; {repair_hint(path)}.")
    for name, value in expected.items():
        if values.get(name) != value:
            raise UserError(
                f"{path} describes {name} {values.get(name)!r}, but {value!r} is needed; {repair_hint(path)}."
            )
    hashes = values.get("files", {})
    for name in hashes if files is None else files:
        file = path.with_name(name)
        if not file.is_file():
            raise UserError(f"{file} is missing; {repair_hint(file, missing=True)}.")
        if hashes.get(name) != sha256_file(file):
            raise UserError(
                f"{file} is damaged or was exchanged: {path} describes another content; {repair_hint(file)}."
            )
    return values


def copy_result(source: str | Path, target: str | Path, names: Mapping[str, str], **expected: Any) -> None:
    """Copies a result to other names: the files first, then its record.

    Args:
        source, target: the record, and its copy.
        names: new name of each of its files, by the old one.
        expected: values that the record must have.

    Raises:
        UserError: as :func:`read_record`.
    """
    source, target = Path(source), Path(target)
    values = read_record(source, names, **expected)
    for old, new in names.items():
        copy_into_place(source.with_name(old), target.with_name(new))
    _write(target, values, {new: values["files"][old] for old, new in names.items()})
