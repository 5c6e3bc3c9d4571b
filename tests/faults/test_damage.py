"""Every kind of artefact, damaged in every way: it is named in one sentence before it is used."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded import save_array
from torch import nn

from hybridflow.config.extractors import CifarClassifierSettings
from hybridflow.data.images import check_array, load_images, load_labels
from hybridflow.evaluation.extractors.cifar_classifier import save_classifier
from hybridflow.evaluation.extractors.cifar_network import CifarClassifier
from hybridflow.evaluation.metrics.frechet import Moments, load_moments, save_moments
from hybridflow.io.records import read_record, record_of, write_record
from hybridflow.models.checkpoint import read_metadata, save_checkpoint
from hybridflow.runtime.errors import UserError

WIDTH = CifarClassifierSettings(width=8)


def checkpoint(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    history = folder / "training.jsonl"
    history.write_text(f'{{"step": 3, "images": 12, "bpd": {seed}.5}}\n')
    path = folder / "checkpoint.safetensors"
    save_checkpoint(path, {"flow": nn.Linear(4, 4)}, {"key": f"k{seed}", "variant": "a", "seed": seed}, [history])
    return path


def dataset(folder: Path, seed: int) -> Path:
    made = [folder / f"{name}.npy" for name in ("train", "train_labels")]
    rng = np.random.default_rng(seed)
    np.save(made[0], rng.integers(0, 256, (8, 3, 32, 32), np.uint8))
    np.save(made[1], rng.integers(0, 10, 8))
    write_record(folder / "manifest.json", {"source": "cifar10"}, made)
    return made[0]


def samples(folder: Path, seed: int) -> Path:
    return save_array(folder / "samples.npy", np.full((4, 3, 32, 32), seed, np.uint8))


def bounds(folder: Path, seed: int) -> Path:
    return save_array(folder / "likelihood.npy", np.full((4, 2), float(seed)), iwbo_bpd=3.5)


def classifier(folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_classifier(folder / "classifier.safetensors", CifarClassifier(8).state_dict(), WIDTH, {"test": 0.5}, "k")
    return folder / "classifier.safetensors"


def moments(folder: Path, seed: int) -> Path:
    save_moments(folder / "features.npz", Moments(np.full(3, float(seed)), np.eye(3), 5), {"extractor": "x"})
    return folder / "features.npz"


ARTEFACTS: dict[str, tuple[Callable[[Path, int], Path], str, Callable[[Path], object]]] = {
    "checkpoint": (checkpoint, "checkpoint.json", lambda path: read_record(record_of(path), variant="a", seed=0)),
    "training history": (
        lambda folder, seed: checkpoint(folder, seed).with_name("training.jsonl"),
        "checkpoint.json",
        lambda path: read_record(path.with_name("checkpoint.json"), ["training.jsonl"]),
    ),
    "images": (dataset, "manifest.json", load_images),
    "labels": (lambda f, s: dataset(f, s).with_name("train_labels.npy"), "manifest.json", load_labels),
    "samples": (samples, "samples.json", load_images),
    "bounds": (bounds, "likelihood.json", check_array),
    "classifier": (classifier, "classifier.json", lambda path: read_record(record_of(path))),
    "feature statistics": (moments, "features.json", load_moments),
}
"""What is written, by name: how, its record, and how it is read."""


def flip(path: Path, seed: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(seed).randrange(len(content))] ^= 1 << seed % 8
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path, Path, Path], object]] = {
    "a bit": lambda file, record, other: flip(file, 1),
    "cut": lambda file, record, other: file.write_bytes(file.read_bytes()[:-1]),
    "emptied": lambda file, record, other: file.write_bytes(b""),
    "of another": lambda file, record, other: file.write_bytes(other.read_bytes()),
    "missing": lambda file, record, other: file.unlink(),
    "without record": lambda file, record, other: record.unlink(),
    "a bit of the record": lambda file, record, other: flip(record, 2),
    "the record of another": lambda file, record, other: record.write_bytes((other.parent / record.name).read_bytes()),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ARTEFACTS)
def test_damage_is_named_before_the_file_is_used(tmp_path, monkeypatch, kind, damage):
    monkeypatch.chdir(tmp_path)
    make, record, read = ARTEFACTS[kind]
    files = []
    for seed in (0, 1):
        folder = Path("results") / str(seed)
        folder.mkdir(parents=True)
        files.append(make(folder, seed))
    read(files[0])
    DAMAGES[damage](files[0], files[0].with_name(record), files[1])
    with pytest.raises(UserError) as caught:
        read(files[0])
    said = str(caught.value)
    assert "\n" not in said
    named = [file for file in (files[0], files[0].with_name(record)) if str(file) in said]
    assert named, said
    assert said.endswith(("run the workflow again.", f"delete it (`rm {named[0]}`) and run the workflow again.")), said


def test_files_that_are_not_ours_are_not_called_damaged(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "published.pt"
    torch.save({"x": torch.ones(2)}, path)
    save_file({"x": torch.ones(2)}, tmp_path / "x.safetensors", {"format": "pt"})
    for file, why in ((path, "not a safetensors file"), (tmp_path / "x.safetensors", "its header does not say")):
        with pytest.raises(UserError, match="is not a checkpoint of this pipeline") as caught:
            read_metadata(file)
        assert why in str(caught.value)
        assert "rm " not in str(caught.value)


def test_equal_checkpoints_are_equal_files(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        checkpoint(tmp_path / name, 0)
    for name in ("checkpoint.safetensors", "checkpoint.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
