"""New results of the store into DVC and to its remote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridflow.errors import UserError
from hybridflow.store import Entry


def publish(entries: Sequence[Entry], remote: str | None = None) -> list[Path]:
    """Adds every stored file that DVC does not track yet, and pushes all stored entries.

    Each file gets a ``.dvc`` file of its own, so that variants can be pulled one by one.

    Args:
        entries: the results a configuration needs; those that are not stored are left out.
        remote: DVC remote, or None for the repository's default.

    Returns:
        The ``.dvc`` files of all stored entries, for ``git add``.

    Raises:
        UserError: nothing is stored, or dvc fails.
    """
    files = [path for entry in entries if entry.stored for path in entry.files]
    if not files:
        raise UserError("publish: none of this configuration's results is in store/; run the workflow first.")
    for path in files:
        # Also when it is tracked: a result made anew under the same key may differ in its bits.
        _dvc("add", "--quiet", str(path))
    notes = [path.with_name(path.name + ".dvc") for path in files]
    _dvc("push", "--quiet", *(["--remote", remote] if remote else []), *map(str, notes))
    missing = [entry.name for entry in entries if not entry.stored]
    print(f"published {len(files)} files of {len(entries) - len(missing)} results", end="")
    print(f"; not stored yet: {', '.join(missing)}" if missing else "")
    print("now commit the .dvc files (and dvc-remote/, when that is the remote):  git add store dvc-remote")
    return notes


def _dvc(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        detail = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"publish: `dvc {arguments[0]}` failed: {detail}")
