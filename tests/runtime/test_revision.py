"""Which revision a record names."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hybridflow.runtime import revision

ask = revision.code_revision.__wrapped__  # each time anew


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "code.py").write_text("1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "src")
    git(folder, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(revision, "CHECKOUT", folder)
    return folder


def test_changed_code_is_marked_and_other_files_are_not(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "results").write_text("new\n")
    assert ask() == head
    (checkout / "src" / "code.py").write_text("2\n")
    assert ask() == f"{head}-dirty"


def test_what_cannot_be_compared_counts_as_changed(checkout: Path) -> None:
    (checkout / ".git" / "index").write_bytes(b"garbage")
    assert ask() == f"{git(checkout, 'rev-parse', 'HEAD')}-dirty"


def test_a_copy_inside_another_checkout_has_none(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revision, "CHECKOUT", checkout / "src")
    assert ask() is None


def test_the_repository_that_git_was_told_of_is_not_asked(checkout: Path, tmp_path: Path, monkeypatch) -> None:
    git(tmp_path, "init", "--quiet", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert ask() is not None
