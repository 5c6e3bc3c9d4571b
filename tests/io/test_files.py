"""Atomic writes."""

import os
from pathlib import Path

import pytest

from hybridflow.io.files import atomic_path, copy_into_place, remove_partial


def test_names_reach_the_disk_after_the_content(tmp_path, monkeypatch):
    """The order that a power cut cannot turn into a file without content: data, rename, folder."""
    events, fsync, replace = [], os.fsync, Path.replace

    def log_fsync(descriptor):
        events.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "data")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(Path, "replace", lambda self, target: events.append("rename") or replace(self, target))
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("one")
    assert events == ["data", "rename", "folder"]


def test_a_failed_write_leaves_the_old_content(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "a") as temporary:
        raise KeyError(temporary.write_text("half"))
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / ".a[1].npy.77.partial").touch()
    (tmp_path / ".a1.npy.77.partial").touch()
    remove_partial(tmp_path / "a[1].npy")
    assert [path.name for path in tmp_path.iterdir()] == [".a1.npy.77.partial"]


def test_copies_are_fresh_files(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    copy_into_place(tmp_path / "link", tmp_path / "copy")
    assert not (tmp_path / "copy").is_symlink()
    assert (tmp_path / "copy").read_text() == "x"
