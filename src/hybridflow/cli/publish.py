"""Results of the store to and from DVC's remotes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from hybridflow.cli.dvc import run_dvc
from hybridflow.io.files import write_text, writing
from hybridflow.io.hashing import md5_file
from hybridflow.io.records import read_record
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import Entry

NO_DEFAULT = "DVC has no default remote; name one with `dvc remote default NAME`"


def publish(entries: Sequence[Entry], remote: str | None = None) -> None:
    """Adds the stored files of shared entries to DVC, pushes those that are new, and prints what to commit.

    Each file gets a ``.dvc`` file of its own, so that variants can be pulled one by one. One that is not on the
    default remote says on which it is, so that a pull finds it there. A result that is published with the same
    content stays on the remote where it is.

    Args:
        entries: the results a configuration needs.
        remote: DVC remote, or None for the repository's default.

    Raises:
        UserError: nothing is stored, a result is damaged, or dvc fails; the ``.dvc`` files are then as before.
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
        raise UserError(f"publish: {NO_DEFAULT}, or another with --remote.")
    folder = _folder_of(target)
    notes = [note for entry in stored for note in entry.notes]
    with _kept_on_failure(notes):
        new = _add(stored)
        new_notes = [note for entry in new for note in entry.notes]
        for note in new_notes:
            _name_remote(note, target if target != default else None)
        if new:
            run_dvc("publish", "push", "--remote", target, *map(str, new_notes), remote=target)
    if new:
        print(f"pushed to the remote {target!r}:")
    for path in (path for entry in new for path in entry.files):
        print(f"  {path}  ({path.stat().st_size / 1e6:,.1f} MB)")
    if len(new) < len(stored):
        print(f"already published: {len(stored) - len(new)} of {len(stored)} results")
    if missing:
        print(f"not in the store yet: {', '.join(missing)}")
    print("to share them, commit:")
    print(f"  git add {shlex.join([*map(str, notes), *([folder] if folder else [])])}")


def pull(entries: Sequence[Entry]) -> None:
    """Brings what is published of a configuration and not here, each file from the remote that its ``.dvc`` file names.

    DVC would refuse to replace what was computed here: the same numbers, and perhaps other bits. It would then bring
    nothing at all, so an entry of which such a file is here, as of a training that is not finished, is left out.

    Raises:
        UserError: dvc fails, no remote is known, or a remote lacks a file.
    """
    missing = [entry for entry in entries if not entry.stored]
    published = [entry for entry in missing if entry.published]
    begun = {entry: files for entry in published if (files := _own_files(entry))}
    wanted = [entry for entry in published if entry not in begun]
    default = run_dvc("pull", "config", "core.remote").strip()
    notes: dict[str, list[str]] = {}
    for note in (note for entry in wanted for note in entry.notes):
        notes.setdefault(_out(note).get("remote", default), []).append(str(note))
    if "" in notes:
        raise UserError(f"pull: {NO_DEFAULT}.")
    for remote, its_notes in notes.items():
        run_dvc("pull", "pull", *its_notes, remote=remote)
    here = f"; {len(entries) - len(missing)} were here" if len(missing) < len(entries) else ""
    rest = "; the others are not published" if len(published) < len(missing) else ""
    print(f"pulled: {len(wanted)} of {len(entries)} results{here}{rest}")
    if begun:
        names = ", ".join(f"{entry.name}-{entry.key}" for entry in begun)
        remove = shlex.join(str(path) for files in begun.values() for path in files)
        print(
            f"left out, because begun here: {names}; finish the training, or stop it, `rm -f {remove}` and pull again"
        )


def _add(stored: Sequence[Entry]) -> list[Entry]:
    """Adds entries to DVC, and returns those that are not published yet with this content.

    Also what is tracked is added: a result that was computed again under the same key may differ in its bits.
    """
    before = {note: note.read_text(encoding="utf-8") for entry in stored if entry.published for note in entry.notes}
    md5 = {note: _out(note)["md5"] for note in before}
    run_dvc("publish", "add", *(str(path) for entry in stored for path in entry.files))
    same = [entry for entry in stored if all(md5.get(note) == _out(note)["md5"] for note in entry.notes)]
    for note in (note for entry in same for note in entry.notes):
        write_text(note, before[note])  # with the remote that it names
    return [entry for entry in stored if entry not in same]


@contextmanager
def _kept_on_failure(notes: Sequence[Path]) -> Iterator[None]:
    """Gives ``.dvc`` files their old text back if the block fails: one that is here names content that was pushed."""
    before = {note: note.read_bytes() if note.exists() else None for note in notes}
    try:
        yield
    except BaseException:  # Ctrl-C during a push, too
        for note, content in before.items():
            with writing(note):
                note.unlink(missing_ok=True) if content is None else note.write_bytes(content)
        raise


def _own_files(entry: Entry) -> list[Path]:
    """The files here of an incomplete entry, if one of them is not what its ``.dvc`` file describes; else none."""
    here = [(path, note) for path, note in zip(entry.files, entry.notes, strict=True) if path.exists()]
    own = any(md5_file(path) != _out(note)["md5"] for path, note in here)
    return [path for path, _ in here] if own else []


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


def _out(note: Path) -> dict[str, Any]:
    """What a ``.dvc`` file says of its one file: its MD5, and its remote if that is not the default one."""
    (out,) = _content(note)["outs"]
    return out


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
