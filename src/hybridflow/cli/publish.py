"""New results of the store into DVC and to its remote."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import Entry

LAST_LINES = 4
"""As many lines of a failed dvc command are shown; its reason is in the last ones."""


def publish(entries: Sequence[Entry], remote: str | None = None) -> list[Path]:
    """Adds every stored file to DVC, pushes all of them, and prints what to commit.

    Each file gets a ``.dvc`` file of its own, so that variants can be pulled one by one.

    Args:
        entries: the results a configuration needs; those that are not stored are left out.
        remote: DVC remote, or None for the repository's default.

    Returns:
        The ``.dvc`` files of all stored entries, for ``git add``.

    Raises:
        UserError: nothing is stored, a result is damaged, or dvc fails.
    """
    stored = [entry for entry in entries if entry.stored]
    missing = [entry.name for entry in entries if not entry.stored]
    if not stored:
        raise UserError("publish: none of this configuration's results is in store/; run the workflow first.")
    for entry in stored:
        read_record(entry.record, key=entry.key)  # what is damaged must not replace what others have
    target = remote or _default_remote()
    # Also what is tracked: a result that was computed again under the same key may differ in its bits.
    _dvc("add", *(str(path) for entry in stored for path in entry.files))
    notes = [note for entry in stored for note in entry.notes]
    _dvc("push", "--remote", target, *map(str, notes))
    print(f"pushed to the remote {target!r}:")
    for entry in stored:
        for path in entry.files:
            print(f"  {path}  ({path.stat().st_size / 1e6:,.1f} MB)")
    if missing:
        print(f"not in the store yet: {', '.join(missing)}")
    folder = _folder_of(target)
    print("to share them, commit:")
    print(f"  git add {shlex.join([*map(str, notes), *([folder] if folder else [])])}")
    return notes


def _default_remote() -> str:
    name = _dvc("config", "core.remote").strip()
    if not name:
        raise UserError("publish: DVC has no default remote; name one with --remote, or `dvc remote default NAME`.")
    return name


def _folder_of(remote: str) -> str | None:
    """The folder of this project in which a remote is, if it is one: it has to be committed, too."""
    url = _dvc("config", f"remote.{remote}.url").strip()
    folder, project = Path(".dvc", url).resolve(), Path.cwd().resolve()  # DVC's paths are relative to its own folder
    return str(folder.relative_to(project)) if "://" not in url and folder.is_relative_to(project) else None


def _dvc(*arguments: str) -> str:
    """The output of a dvc command.

    Raises:
        UserError: it fails; the sentence ends with dvc's own last lines.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [
            line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip() and "any troubles" not in line
        ]
        said = "\n  ".join(["", *lines[-LAST_LINES:]])
        raise UserError(f"publish: `dvc {arguments[0]}` failed and says:{said}")
    return done.stdout
