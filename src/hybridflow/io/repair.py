"""What to do about a damaged or missing file."""

from __future__ import annotations

import glob
import os
import re
import shlex
from pathlib import Path

from hybridflow.io.hashing import md5_file

MADE_HERE = ("store", "results", "resources")
"""Folders of a checkout whose files the workflow makes, and makes again."""


def repair_hint(path: str | Path, *, missing: bool = False) -> str:
    """How to repair a file, in words that end a sentence.

    Only files that the workflow makes are ever said to be deletable: anything else is the user's own.

    Args:
        missing: there is nothing to delete.
    """
    path = Path(path)
    if path.with_name(path.name + ".dvc").exists():
        notes = _notes_of_entry(path)
        files = [file for note in notes if (file := note.with_suffix("")).exists()]
        # Not `dvc checkout`: DVC takes a file whose time and size did not change for unchanged.
        damaged = [copy for note in notes if (copy := _damaged_cache_object(note))]
        remove = f"rm -f {_quoted(*files, *damaged)} && " if files or damaged else ""
        return f"bring the published one back with `{remove}dvc pull {_quoted(*notes)}`"
    if not _made_here(path):
        return "replace it with a good copy"
    return "run the workflow again" if missing else f"delete it (`rm {_quoted(path)}`) and run the workflow again"


def _made_here(path: Path) -> bool:
    folders = [Path(name).resolve() for name in (*MADE_HERE, os.environ.get("HYBRIDFLOW_STORE", "store"))]
    return any(path.resolve().is_relative_to(folder) for folder in folders)


def _notes_of_entry(path: Path) -> list[Path]:
    """DVC's files about a file and, in the store, all that belong to it: its record may describe another training's."""
    if not _made_here(path):
        return [path.with_name(path.name + ".dvc")]
    return sorted(path.parent.glob(f"{glob.escape(path.with_suffix('').name)}.*.dvc"))


def _damaged_cache_object(tracked: Path) -> Path | None:
    """The copy in DVC's cache of what a ``.dvc`` file describes, if it is damaged too: DVC would bring it back."""
    found = re.search(r"^- md5: ([0-9a-f]{32})$", tracked.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    for folder in tracked.absolute().parents if found else ():
        if (folder / ".dvc").is_dir():
            copy = folder / ".dvc" / "cache" / "files" / "md5" / found[1][:2] / found[1][2:]
            if not copy.is_file() or md5_file(copy) == found[1]:
                return None
            return copy.relative_to(Path.cwd()) if copy.is_relative_to(Path.cwd()) else copy
    return None


def _quoted(*paths: Path) -> str:
    """Paths as they have to be typed: one with spaces would be several."""
    return shlex.join(map(str, paths))
