"""Files that were cut, changed by a bit, or exchanged: found before they are used, and named."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hybridflow.cli.publish import publish
from hybridflow.config.evaluation import CifarClassifierSettings
from hybridflow.data.images import load_images, load_labels
from hybridflow.evaluation.extractors.cifar_classifier import CifarClassifier, load_classifier, save_classifier
from hybridflow.evaluation.fidelity import measure_fidelity
from hybridflow.evaluation.metrics.frechet import Moments, load_moments, save_moments
from hybridflow.io.content_hash import array_sha256, digest
from hybridflow.io.files import atomic_path, write_json
from hybridflow.io.line_checksums import Seal, open_lines
from hybridflow.io.repair import repair_hint
from hybridflow.io.resumable_array import GrowingArray
from hybridflow.models.checkpoint import (
    check_content,
    check_key,
    check_model,
    read_metadata,
    read_tensors,
    save_checkpoint,
)
from hybridflow.report.figures.draw import draw_samples
from hybridflow.report.histories import read_history, read_whole_history
from hybridflow.runtime.errors import UserError
from hybridflow.store.entries import Entry

METADATA = {"key": "k1", "variant": "baseline", "seed": 0, "steps": 3, "lr": 1e-3}


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Changes one bit of a file; a negative position counts from its end."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def problem(call, *arguments) -> str | None:
    """The sentence of the UserError that the call ends with, if it does."""
    try:
        call(*arguments)
    except UserError as error:
        return str(error)
    return None


def sentence(call, *arguments) -> str:
    found = problem(call, *arguments)
    assert found is not None
    assert "\n" not in found
    return found


# --- hashes -----------------------------------------------------------------------------------------------------------


def test_the_hash_is_of_the_content():
    value = {"a": torch.arange(6.0).reshape(2, 3), "b": [1, 2.5, None, True, "x"], 3: {}}
    same = {3: {}, "b": (1, 2.5, None, True, "x"), "a": torch.arange(6.0).reshape(2, 3).t().contiguous().t()}
    assert digest(value) == digest(same)
    others = [
        value | {"a": torch.arange(6.0).reshape(3, 2)},
        value | {"a": torch.arange(6.0).double().reshape(2, 3)},
        value | {"a": -torch.arange(6.0).reshape(2, 3)},  # -0.0 is not 0.0
        value | {"b": [1, 2.5, None, 1, "x"]},
        value | {"b": [1, 2.5, None, True, ["x"]]},
        value | {"b": ["1", 2.5, None, True, "x"]},
        {"a": value["a"], "b": value["b"], "3": {}},
    ]
    assert len({digest(other) for other in [value, *others]}) == len(others) + 1
    for odd in (torch.tensor(True), torch.tensor(3), torch.empty(0, 2), torch.ones(2, dtype=torch.bfloat16)):
        assert digest(odd) == digest(odd.clone())
    with pytest.raises(TypeError, match="a set has no content hash"):
        digest({"a": {1}})


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, {"flow": nn.Linear(4, 4), "discriminator": nn.Linear(2, 2)}, METADATA)
    return path


def test_every_bit_of_a_checkpoint_counts(checkpoint):
    """Bits that mean nothing (spaces of the header) may change; no other content may be returned."""
    content = checkpoint.read_bytes()
    tensors = {name: read_tensors(checkpoint, name) for name in ("flow", "discriminator")}
    found = 0
    for position in range(len(content)):
        flip(checkpoint, position, position % 8)
        said = problem(check_content, checkpoint)
        if said is not None:
            found += 1
            assert str(checkpoint) in said
            assert "\n" not in said
        else:
            assert read_metadata(checkpoint) == METADATA, position
            for name, expected in tensors.items():
                ours = read_tensors(checkpoint, name)
                assert ours.keys() == expected.keys(), position
                assert all(torch.equal(ours[key], expected[key]) for key in ours), position
        checkpoint.write_bytes(content)
    assert found > 0.9 * len(content)


def test_a_changed_weight_is_found_in_the_model_that_has_it(checkpoint):
    flip(checkpoint, -1)  # safetensors sorts by size and name: the flow's weight is last
    assert "damaged (its flow is not what was written); delete it (`rm " in sentence(read_tensors, checkpoint, "flow")
    assert "its flow is not" in sentence(check_content, checkpoint)
    assert set(read_tensors(checkpoint, "discriminator")) == {"weight", "bias"}


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_cut_checkpoints(checkpoint, length):
    checkpoint.write_bytes(checkpoint.read_bytes()[:length])
    assert f"the checkpoint {checkpoint} is damaged" in sentence(read_metadata, checkpoint)


def test_exchanged_checkpoints(checkpoint):
    check_key(checkpoint, "k1")
    check_model(checkpoint, "baseline", 0)
    assert "holds the checkpoint k1, not k2; delete it (`rm " in sentence(check_key, checkpoint, "k2")
    assert "variant 'baseline', seed 0, not of 'b', seed 0" in sentence(check_model, checkpoint, "b", 0)
    assert "not of 'baseline', seed 1" in sentence(check_model, checkpoint, "baseline", 1)


def test_checkpoints_of_an_earlier_version_have_no_hashes(tmp_path):
    path = tmp_path / "old.safetensors"
    save_file({"flow.weight": torch.ones(2)}, path, {"hybridflow-checkpoint-1": json.dumps(METADATA)})
    check_content(path)
    assert read_metadata(path) == METADATA
    assert read_tensors(path, "flow")["weight"].tolist() == [1, 1]
    assert read_tensors(path, "discriminator") == {}


def test_other_safetensors_are_no_checkpoints(tmp_path):
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors", {"format": "pt"})
    assert "is not a checkpoint of this pipeline" in sentence(read_metadata, tmp_path / "x.safetensors")


def test_a_published_file_is_brought_back_by_dvc(tmp_path):
    path = tmp_path / "a.npz"
    assert repair_hint(path) == f"delete it (`rm {path}`) and run the workflow again"
    (tmp_path / "a.npz.dvc").touch()
    assert repair_hint(path) == f"bring the published one back with `rm {path} && dvc pull {path}.dvc`"


def test_equal_checkpoints_are_equal_files(tmp_path):
    model = nn.Linear(3, 3)
    for name in "ab":
        save_checkpoint(tmp_path / name, {"flow": model}, METADATA)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- histories --------------------------------------------------------------------------------------------------------


def history(path: Path, key: str = "k1", steps: int = 3) -> Path:
    seal = Seal(key)
    rows = [{"step": i + 1, "images": 4 * (i + 1), "bpd": 5 - 0.1 * i, "seconds": 0.1} for i in range(steps)]
    path.write_text("".join(seal.line(row) for row in rows))
    return path


def test_a_history_is_read_without_its_checksums(tmp_path):
    found = read_whole_history(history(tmp_path / "h.jsonl"), METADATA)
    assert list(found.columns) == ["step", "images", "bpd", "seconds"]
    assert list(found.step) == [1, 2, 3]


def test_every_changed_character_of_a_history_is_found(tmp_path):
    path = history(tmp_path / "h.jsonl", steps=2)
    text = path.read_text()
    for position in range(len(text)):
        if text[position] in " \n":
            continue
        path.write_text(text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :])
        with pytest.raises(UserError, match=re.escape(str(path))):
            read_history(path, "k1")


def test_missing_exchanged_and_foreign_lines(tmp_path):
    path = history(tmp_path / "h.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2]))
    assert "ends at step 2, but its checkpoint has 3" in sentence(read_whole_history, path, METADATA)
    for order, row in (((1, 2), 1), ((0, 2), 2), ((1, 0, 2), 1), ((0, 2, 1), 2)):
        path.write_text("".join(lines[i] for i in order))
        assert f"row {row} is not what was written in it of the training k1" in sentence(
            read_whole_history, path, METADATA
        )
    history(path, "another")
    assert "is damaged: row 1" in sentence(read_whole_history, path, METADATA)
    assert len(read_history(path)) == 3, "without a key, the first row is believed"


def test_histories_of_an_earlier_version_have_no_checksums():
    assert open_lines(['{"step": 1}', '{"step": 2}'], "k") == ([{"step": 1}, {"step": 2}], None)
    sealed = Seal("k").line({"step": 1})
    assert open_lines([sealed, '{"step": 2}'], "k") == ([{"step": 1}], 1)


# --- arrays -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def arrays(tmp_path) -> Path:
    """A prepared dataset of 8 images, as ``data.prepare`` leaves it."""
    rng = np.random.default_rng(0)
    made = {"train": rng.integers(0, 256, (8, 3, 32, 32), np.uint8), "train_labels": np.arange(8)}
    for name, array in made.items():
        np.save(tmp_path / f"{name}.npy", array)
    write_json(tmp_path / "manifest.json", {"arrays": {name: {"sha256": array_sha256(a)} for name, a in made.items()}})
    return tmp_path


def test_a_changed_image_or_label_is_found(arrays):
    assert len(load_images(arrays / "train.npy")) == len(load_labels(arrays / "train_labels.npy")) == 8
    for name, load in (("train", load_images), ("train_labels", load_labels)):
        path = arrays / f"{name}.npy"
        content = path.read_bytes()
        flip(path, -1)
        assert f"{path} is damaged (its values do not have the SHA-256" in sentence(load, path)
        path.write_bytes(content[:-1])
        assert "cannot be read as an array" in sentence(load, path)
        path.write_bytes(content)
    (arrays / "train.npy").rename(arrays / "test.npy")
    assert len(load_images(arrays / "test.npy")) == 8, "an array without a hash is believed"


def test_a_damaged_note(arrays):
    for text in ("", "{cut", "[]", '{"arrays": 3}'):
        (arrays / "manifest.json").write_text(text)
        assert "manifest.json is damaged" in sentence(load_images, arrays / "train.npy")


def test_changed_samples_are_neither_measured_nor_drawn(tmp_path):
    path = tmp_path / "samples.npy"
    images = np.zeros((4, 3, 32, 32), np.uint8)
    np.save(path, images)
    write_json(tmp_path / "samples.json", {"checkpoint": "k", "sampling": {}, "sha256": array_sha256(images)})
    draw_samples([tmp_path / "a.png"], [("a", 0.0, path)])
    flip(path, -1)
    for call in (lambda: load_images(path), lambda: draw_samples([tmp_path / "b.png"], [("a", 0.0, path)])):
        assert f"{path} is damaged" in sentence(call)
    assert not (tmp_path / "b.png").exists()


def test_rows_that_changed_while_an_array_grew_are_computed_anew(tmp_path, capsys):
    arguments = (tmp_path / "a.npy", (4, 2), np.float64, {"key": "k"})
    expected = np.arange(8.0).reshape(4, 2)
    growing = GrowingArray(*arguments)
    growing.append(expected[:2])
    again = GrowingArray(*arguments)
    assert again.done == 2
    flip(tmp_path / ".a.npy.growing", -33)  # in the second row
    damaged = GrowingArray(*arguments)
    assert damaged.done == 0
    assert "is damaged; a.npy is computed anew" in capsys.readouterr().err
    damaged.append(expected[:3])
    os.truncate(tmp_path / ".a.npy.growing", 140)
    last = GrowingArray(*arguments)
    assert last.done == 0
    last.append(expected)
    assert last.finish() == array_sha256(expected)
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)


def test_a_growing_array_continues_the_hash(tmp_path):
    expected = np.random.default_rng(0).random((4, 2))
    GrowingArray(tmp_path / "a.npy", (4, 2), np.float64, {}).append(expected[:3])
    growing = GrowingArray(tmp_path / "a.npy", (4, 2), np.float64, {})
    growing.append(expected[3:])
    assert growing.finish() == array_sha256(expected)


# --- feature statistics and their networks ----------------------------------------------------------------------------


def test_every_changed_number_of_feature_statistics_is_found(tmp_path):
    path = tmp_path / "m.npz"
    moments = Moments(np.arange(3.0), np.eye(3), 5)
    save_moments(path, moments, {"split": "train"})
    content = path.read_bytes()
    for position in range(len(content)):
        flip(path, position, position % 8)
        said = problem(load_moments, path)
        if said is not None:
            assert str(path) in said
        else:
            found, settings = load_moments(path)
            assert settings == {"split": "train"}
            assert found.count == 5
            assert np.array_equal(found.mean, moments.mean), position
            assert np.array_equal(found.covariance, moments.covariance), position
        path.write_bytes(content)


def test_statistics_of_other_samples_are_refused(tmp_path):
    note = {"checkpoint": "k", "sampling": {"images": 5, "temperature": 1.0, "seed": 0}, "sha256": "one"}
    described = note | {"extractor": "inception", "weights_sha256": "w"}
    save_moments(tmp_path / "m.npz", Moments(np.zeros(2), np.eye(2), 5), described)
    assert measure_fidelity([note], [[tmp_path / "m.npz"]], [], None)["checkpoint"] == "k"
    found = sentence(measure_fidelity, [note | {"sha256": "two"}], [[tmp_path / "m.npz"]], [], None)
    assert "was measured on other samples" in found


def test_a_changed_classifier(tmp_path):
    path, settings = tmp_path / "c.safetensors", CifarClassifierSettings(width=2)
    save_classifier(path, CifarClassifier(2).state_dict(), settings, {"test": 0.5, "train": 0.5})
    content = path.read_bytes()
    assert load_classifier(path, "cpu")[1]["accuracy"]["test"] == 0.5
    flip(path, -1)
    assert f"the classifier {path} is damaged" in sentence(load_classifier, path, "cpu")
    path.write_bytes(content.replace(b'test\\": 0.5', b'test\\": 0.9'))
    assert path.read_bytes() != content
    assert "is damaged" in sentence(load_classifier, path, "cpu")


# --- publishing and writing -------------------------------------------------------------------------------------------


def test_damaged_results_are_not_published(tmp_path, checkpoint, monkeypatch):
    monkeypatch.setattr("hybridflow.cli.publish._dvc", lambda *arguments: pytest.fail("dvc was called"))
    entry = Entry("baseline-seed0", "k1", (".safetensors", ".jsonl"), tmp_path)
    checkpoint.rename(entry.file(".safetensors"))
    history(entry.file(".jsonl"))
    flip(entry.file(".safetensors"), -1)
    assert "its flow is not what was written" in sentence(publish, [entry])
    flip(entry.file(".safetensors"), -1)
    history(entry.file(".jsonl"), steps=2)
    assert "ends at step 2" in sentence(publish, [entry])
    other = Entry("baseline-seed0", "k2", (".safetensors", ".jsonl"), tmp_path)
    for suffix in other.suffixes:
        entry.file(suffix).rename(other.file(suffix))
    assert "holds the checkpoint k1, not k2" in sentence(publish, [other])
    moments = Entry("moments-x-train", "k3", (".npz",), tmp_path)
    moments.file(".npz").write_bytes(b"PK cut")
    assert "or damaged" in sentence(publish, [moments])


def test_names_reach_the_disk_after_the_content(tmp_path, monkeypatch):
    """The order that a power cut cannot turn into a file without content: data, rename, folder."""
    events, fsync, replace = [], os.fsync, Path.replace

    def log_fsync(descriptor):
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "data")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", log_fsync)
    monkeypatch.setattr(Path, "replace", lambda self, target: events.append("rename") or replace(self, target))
    for text in ("one", "two"):
        with atomic_path(tmp_path / "a", tmp_path / "b") as temporary:
            temporary.write_text(text)
    assert events == ["data", "rename", "folder", "data", "rename", "rename", "folder"]
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("two", "one")
