"""Records, and what is said about files that do not agree with them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from recorded import edit

from hybridflow.io.records import OWN_HASH, copy_result, read_record, record_of, write_record
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


@pytest.fixture
def result(tmp_path, monkeypatch) -> Path:
    """The record of a result of two files."""
    monkeypatch.chdir(tmp_path)
    folder = Path("results")
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"weights")
    (folder / "a.txt").write_text("history")
    write_record(folder / "a.json", {"key": "k", "bpd": 3.5}, [folder / "a.bin", folder / "a.txt"])
    return folder / "a.json"


def test_a_record_comes_back(result):
    found = read_record(result, key="k")
    assert (found["key"], found["bpd"], list(found["files"])) == ("k", 3.5, ["a.bin", "a.txt"])
    assert record_of("x/dcgan-0.5-seed0.safetensors") == Path("x/dcgan-0.5-seed0.json")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda r: r.unlink(), "results/a.json is missing; run the workflow again."),
        (lambda r: r.write_text("[]"), "results/a.json is damaged; delete it (`rm results/a.json`) and run the"),
        (lambda r: r.write_bytes(b"\xff"), "results/a.json is damaged"),
        (lambda r: r.with_name("a.bin").write_bytes(b"Weights"), "results/a.bin is damaged or was exchanged"),
        (lambda r: r.with_name("a.txt").unlink(), "results/a.txt is missing; run the workflow again."),
        (lambda r: edit(r, key="other"), "results/a.json describes key 'other', but 'k' is needed; delete it"),
    ],
)
def test_what_does_not_agree_is_named(result, damage, sentence):
    damage(result)
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        read_record(result, key="k")


def test_only_the_files_that_are_used_are_compared(result):
    result.with_name("a.txt").unlink()
    read_record(result, ["a.bin"])
    read_record(result, ())
    with pytest.raises(UserError, match="describes another content"):
        read_record(result, ["a.json"])


def test_every_changed_character_of_a_record_is_found(result):
    text, value = result.read_text(), read_record(result)
    for position in (found.start() for found in re.finditer(r"\S", text)):
        result.write_text(text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :])
        with contextlib.suppress(UserError):
            assert read_record(result) == value, position


def test_numbers_that_are_not_finite_are_no_results(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_record(tmp_path / "a.json", {"bpd": float("nan")})
    (tmp_path / "a.json").write_text(f'{{"bpd": NaN, "{OWN_HASH}": "x"}}')
    with pytest.raises(UserError, match="is damaged"):
        read_record(tmp_path / "a.json")


def test_a_copy_has_a_record_of_its_own_names(result):
    names = {"a.bin": "b.bin", "a.txt": "b.txt"}
    copy_result(result, "results/copy/b.json", names, key="k")
    assert read_record("results/copy/b.json")["bpd"] == 3.5
    assert Path("results/copy/b.bin").read_bytes() == b"weights"
    result.with_name("a.bin").write_bytes(b"Weights")
    with pytest.raises(UserError, match=r"a\.bin is damaged"):
        copy_result(result, "results/copy/b.json", names)


def test_only_what_the_workflow_makes_is_said_to_be_deletable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("store/a", "results/x/a", "resources/a", str(tmp_path / "results" / "a")):
        assert repair_hint(name) == f"delete it (`rm {name}`) and run the workflow again"
        assert repair_hint(name, missing=True) == "run the workflow again"
    for name in ("a", "../a", str(tmp_path.parent / "store" / "a"), "results/../mine"):
        assert repair_hint(name) == "replace it with a good copy"
    assert repair_hint("store/my file") == "delete it (`rm 'store/my file'`) and run the workflow again"
    monkeypatch.setenv("HYBRIDFLOW_STORE", str(tmp_path.parent / "common"))
    assert "delete it" in repair_hint(tmp_path.parent / "common" / "a")


def test_a_published_file_is_brought_back_with_its_copy_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    md5 = "900150983cd24fb0d6963f7d28e17f72"  # of "abc"
    copy = Path(".dvc/cache/files/md5") / md5[:2] / md5[2:]
    (tmp_path / copy).parent.mkdir(parents=True)
    Path("store").mkdir()
    Path("store/a.npz.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 3\n  hash: md5\n  path: a.npz\n")
    assert repair_hint("store/a.npz") == "bring the published one back with `dvc pull store/a.npz.dvc`"
    Path("store/a.npz").write_text("abd")
    plain = "bring the published one back with `rm -f store/a.npz && dvc pull store/a.npz.dvc`"
    assert repair_hint("store/a.npz") == plain
    copy.write_text("abc")
    assert repair_hint("store/a.npz") == plain
    copy.write_text("abd")
    assert repair_hint("store/a.npz") == plain.replace("store/a.npz &&", f"store/a.npz {copy} &&")


def test_a_published_entry_of_the_store_is_brought_back_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("store").mkdir()
    for name in ("a-1.json", "a-1.jsonl", "a-1.jsonl.dvc", "a-1.json.dvc", "a-12.json.dvc", "a-1.lock", "a-1.npz.dvc"):
        Path("store", name).touch()
    notes = "store/a-1.json.dvc store/a-1.jsonl.dvc store/a-1.npz.dvc"
    words = f"bring the published one back with `rm -f store/a-1.json store/a-1.jsonl && dvc pull {notes}`"
    assert repair_hint("store/a-1.jsonl") == words
    assert repair_hint("store/a-1.npz", missing=True) == words
