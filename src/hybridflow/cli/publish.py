"""Results of the store to and from DVC's remotes."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from hybridflow.cli.dvc import run_dvc
from hybridflow.io.files import write_text
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import Entry


def publish(entries: Sequence[Entry], remote: str | None = None) -> list[Path]:
    """Adds the stored files of shared entries to DVC, pushes all of them, and prints what to commit.

    Each file gets a ``.dvc`` file of its own, so that variants can be pulled one by one. One that is not on the
    default remote says on which it is, so that a pull finds it there.

    Args:
        entries: the results a configuration needs.
        remote: DVC remote, or None for the repository's default.

    Returns:
        The ``.dvc`` files of all stored entries, for ``git add``.

    Raises:
        UserError: nothing is stored, a result is damaged, or dvc fails.
    """
    entries = [entry for entry in entries if entry.shared]
    stored = [entry for entry in entries if entry.stored]
    missing = [entry.name for entry in entries if not entry.stored]
    if not stored:
        raise UserError("publish: none of this configuration's results is in store/; run the workflow first.")
    for entry in stored:
        read_record(entry.record, key=entry.key)  # what is damaged must not replace what others have
    default = run_dvc("publish", "config", "core.remote").strip()
    target = remote or default
    if not target:
        raise UserError("publish: DVC has no default remote; name one with --remote, or `dvc remote default NAME`.")
    folder = _folder_of(target)
    # Also what is tracked: a result that was computed again under the same key may differ in its bits.
    run_dvc("publish", "add", *(str(path) for entry in stored for path in entry.files))
    notes = [note for entry in stored for note in entry.notes]
    for note in notes:
        _name_remote(note, target if target != default else None)
    run_dvc("publish", "push", "--remote", target, *map(str, notes), remote=target)
    print(f"pushed to the remote {target!r}:")
    for entry in stored:
        for path in entry.files:
            print(f"  {path}  ({path.stat().st_size / 1e6:,.1f} MB)")
    if missing:
        print(f"not in the store yet: {', '.join(missing)}")
    print("to share them, commit:")
    print(f"  git add {shlex.join([*map(str, notes), *([folder] if folder else [])])}")
    return notes


def pull(entries: Sequence[Entry]) -> None:
    """Brings what is published of a configuration and not here, each file from the remote that its ``.dvc`` file names.

    DVC would refuse to replace what was computed here: the same numbers, and perhaps other bits.

    Raises:
        UserError: dvc fails, or a remote lacks a file.
    """
    missing = [entry for entry in entries if not entry.stored]
    published = [entry for entry in missing if entry.published]
    default = run_dvc("pull", "config", "core.remote").strip()
    notes: dict[str, list[str]] = {}
    for note in (note for entry in published for note in entry.notes):
        notes.setdefault(_content(note)["outs"][0].get("remote", default), []).append(str(note))
    for remote, its_notes in notes.items():
        run_dvc("pull", "pull", *its_notes, remote=remote)
    here = f"; {len(entries) - len(missing)} were here" if len(missing) < len(entries) else ""
    rest = "; the others are not published" if len(published) < len(missing) else ""
    print(f"pulled: {len(published)} of {len(entries)} results{here}{rest}")


def _name_remote(note: Path, remote: str | None) -> None:
    """Writes into a ``.dvc`` file on which remote its file is; None for the default one."""
    content = _content(note)
    (out,) = content["outs"]
    if out.get("remote") != remote:
        out.pop("remote", None)
        out |= {"remote": remote} if remote else {}
        write_text(note, yaml.safe_dump(content, sort_keys=False))


def _content(note: Path) -> dict[str, Any]:
    return yaml.safe_load(note.read_text(encoding="utf-8"))


def _folder_of(remote: str) -> str | None:
    """The folder of this project in which a remote is, if it is one: it has to be committed, too.

    Raises:
        UserError: there is no such remote; a ``.dvc`` file that named it would stop every dvc command.
    """
    url = run_dvc("publish", "config", f"remote.{remote}.url").strip()
    if not url:
        raise UserError(f"publish: there is no remote {remote!r}; `dvc remote list` names those that there are.")
    folder, project = Path(".dvc", url).resolve(), Path.cwd().resolve()  # DVC's paths are relative to its own folder
    return str(folder.relative_to(project)) if "://" not in url and folder.is_relative_to(project) else None
