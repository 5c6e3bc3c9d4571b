"""A short run of the campaign of damaged files, and what it found."""

from __future__ import annotations

import contextlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
from faults.corruptions import Kind, as_markdown, campaign, damage, try_kind

from hybridflow.evaluation.metrics.frechet import Moments, load_moments, save_moments
from hybridflow.io.arrays import read_array
from hybridflow.io.files import NOTE_HASH, read_note, write_note
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


def test_nothing_damaged_is_used(tmp_path):
    counts = campaign(tmp_path, trials=5, seed=7, dvc_trials=2)
    assert all(count.outcomes.total() == (2 if "DVC" in name or "dvc" in name else 5) for name, count in counts.items())
    assert sum(count.outcomes.total() for count in counts.values()) >= 90
    page = as_markdown(counts, "command", tmp_path)
    assert "| stored checkpoint | 5 |" in page
    assert str(tmp_path) not in page


def test_the_campaign_notices_a_reader_that_notices_nothing(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(100)))
    careless = Kind("a", tmp_path / "a", lambda: str((tmp_path / "a").read_bytes()))
    with pytest.raises(AssertionError, match="was not noticed"):
        try_kind(careless, 5, 0)


def test_damage_changes_something_and_repeats():
    content = bytes(range(256)) * 4
    for seed in range(20):
        how, changed = damage(content, random.Random(seed))
        assert changed != content
        assert (how, changed) == damage(content, random.Random(seed))


def test_headers_on_which_numpy_stumbles(tmp_path):
    """numpy raises TokenError, SyntaxError, MemoryError and others on these; readers know two exceptions."""
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6.0))
    content = path.read_bytes()
    start = content.index(b"{")
    for header in (
        b"\0" * 20,
        b"{" * 40,
        b"(" * 40,
        b"{'descr': '<f8', 'fortran_order': False, 'shape': (9" + b"9" * 15,
    ):
        path.write_bytes(content[:start] + header + content[start + len(header) :])
        with pytest.raises((ValueError, OSError)):
            read_array(path)
    save_moments(tmp_path / "m.npz", Moments(np.zeros(2), np.eye(2), 3), {})
    whole = (tmp_path / "m.npz").read_bytes()
    for position in range(whole.index(b"NUMPY"), len(whole), 7):
        (tmp_path / "m.npz").write_bytes(whole[:position] + b"\0{(" + whole[position + 3 :])
        with contextlib.suppress(UserError):
            load_moments(tmp_path / "m.npz")


def test_every_changed_digit_of_a_note_is_found(tmp_path):
    path, value = tmp_path / "a.json", {"checkpoint": "k", "fid": 12.5, "sets": [{"set": 0, "fid": None}]}
    write_note(path, value)
    assert read_note(path) == value
    text, whole = path.read_text(), 0
    for position in (found.start() for found in re.finditer(r"\w", text)):
        path.write_text(text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :])
        with contextlib.suppress(UserError):
            found = read_note(path)  # the hash itself has another name now, and the values are whole
            assert {name: found[name] for name in value} == value
            whole += 1
    assert whole <= len(NOTE_HASH)
    path.write_text('{"fid": 12.5}')
    assert read_note(path) == {"fid": 12.5}, "an earlier version wrote no hash"
    assert NOTE_HASH not in read_note(path)


def test_paths_with_spaces_can_be_typed(tmp_path):
    path = tmp_path / "my store" / "a.npz"
    assert repair_hint(path) == f"delete it (`rm '{path}'`) and run the workflow again"


def test_a_damaged_copy_in_dvcs_cache_is_removed_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    md5 = "900150983cd24fb0d6963f7d28e17f72"  # of "abc"
    copy = tmp_path / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    copy.parent.mkdir(parents=True)
    Path("store").mkdir()
    Path("store/a.npz.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 3\n  hash: md5\n  path: a.npz\n")
    plain = "bring the published one back with `rm store/a.npz && dvc pull store/a.npz.dvc`"
    assert repair_hint("store/a.npz") == plain
    copy.write_text("abc")
    assert repair_hint("store/a.npz") == plain
    copy.write_text("abd")
    damaged = str(copy.relative_to(tmp_path))
    assert repair_hint("store/a.npz") == plain.replace("rm store/a.npz", f"rm -f store/a.npz {damaged}")
