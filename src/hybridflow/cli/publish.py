"""New results of the store into DVC and to its remote."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import Entry


def publish(entries: Sequence[Entry], remote: str | None = None) -> list[Path]:
    """Adds every stored file that DVC does not track yet, and pushes all stored entries.

    Each file gets a ``.dvc`` file of its own, so that variants can be pulled one by one.

    Args:
        entries: the results a configuration needs; those that are not stored are left out.
        remote: DVC remote, or None for the repository's default.

    Returns:
        The ``.dvc`` files of all stored entries, for ``git add``.

    Raises:
        UserError: nothing is stored, a result is damaged, or dvc fails.
    """
    files = [path for entry in entries if entry.stored for path in entry.files]
    if not files:
        raise UserError("publish: none of this configuration's results is in store/; run the workflow first.")
    for entry in entries:
        if entry.stored:
            _check(entry)
    for path in files:
        # Also when it is tracked: a result made anew under the same key may differ in its bits.
        _dvc("add", "--quiet", str(path))
    notes = [note for entry in entries if entry.stored for note in entry.notes]
    _dvc("push", "--quiet", *(["--remote", remote] if remote else []), *map(str, notes))
    missing = [entry.name for entry in entries if not entry.stored]
    print(f"published {len(files)} files of {len(entries) - len(missing)} results", end="")
    print(f"; not stored yet: {', '.join(missing)}" if missing else "")
    print("now commit the .dvc files (and dvc-remote/, when that is the remote):  git add store dvc-remote")
    return notes


def _check(entry: Entry) -> None:
    """Reads all of a result, as its users will: what is damaged must not replace what others have.

    Raises:
        UserError: it is damaged, or another one than its name says.
    """
    from hybridflow.evaluation.extractors.cifar_classifier import load_classifier
    from hybridflow.evaluation.metrics.frechet import load_moments
    from hybridflow.models.checkpoint import check_content, check_key, read_metadata
    from hybridflow.report.histories import read_whole_history

    path = entry.files[0]
    if path.suffix == ".npz":
        load_moments(path)
    elif entry.name == "classifier":
        load_classifier(path, "cpu")
    else:
        check_key(path, entry.key)
        check_content(path)
        read_whole_history(entry.file(".jsonl"), read_metadata(path))


def _dvc(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        detail = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"publish: `dvc {arguments[0]}` failed: {detail}")
