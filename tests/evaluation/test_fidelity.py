"""Distances of one or several sets of samples."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from hybridflow.evaluation.fidelity import measure_fidelity
from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance, save_moments
from hybridflow.runtime.errors import UserError

SAMPLING = {"images": 20, "batch_size": 5, "temperature": 1.0, "seed": 7}
COUNTS = [[20] + [0] * 9, [5, 15] + [0] * 8, [0] * 9 + [20]]


class Files:
    """Statistics of three sets of samples and of the dataset, in the features of the CIFAR-10 classifier."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rng = folder, np.random.default_rng(0)
        self.notes, self.samples, self.moments = [], [], []
        for number, counts in enumerate(COUNTS):
            note = {"checkpoint": "key", "sampling": SAMPLING} | ({"repeat": number} if number else {})
            self.notes.append(note | {"files": {"samples.npy": "ef"}})
            self.moments.append(self.draw(20))
            self.samples.append([self.save(f"set{number}", self.moments[-1], **note, class_counts=counts)])
        self.reference = {"train": self.draw(50), "test": self.draw(30)}
        self.references = [self.save(split, self.reference[split], split=split) for split in ("train", "test")]

    def draw(self, count: int) -> Moments:
        values = self.rng.normal(size=(count, 3))
        return Moments(values.mean(0), np.cov(values.T), count)

    def save(self, name: str, moments: Moments, weights_sha256: str = "ab", **described: object) -> Path:
        path = self.folder / f"{name}.npz"
        save_moments(
            path,
            moments,
            {"extractor": "cifar_classifier", "weights_sha256": weights_sha256, "samples_sha256": "ef"} | described,
        )
        return path

    def measure(self, sets: int = 3) -> dict:
        return measure_fidelity(self.notes[:sets], self.samples[:sets], self.references, 0.9)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_distances_are_means_over_sets_with_their_deviation(files: Files) -> None:
    result = files.measure()
    for split, name in (("train", "fd_cifar"), ("test", "fd_cifar_test")):
        values = [frechet_distance(moments, files.reference[split]) for moments in files.moments]
        assert len(set(values)) == 3
        assert [one[name] for one in result["sets"]] == values
        assert result[name] == pytest.approx(sum(values) / 3)
        assert result[f"{name}_sd"] == pytest.approx(statistics.stdev(values))
    assert result["fid"] is result["fid_sd"] is None
    assert [one["class_counts"] for one in result["sets"]] == COUNTS
    assert result["class_counts"] == [25, 15, 0, 0, 0, 0, 0, 0, 0, 20]
    assert (result["repeats"], result["images"], result["reference_images"]) == (3, 20, 50)
    assert (result["sampling_seed"], result["classifier_sha256"], result["classifier_accuracy"]) == (7, "ab", 0.9)


def test_one_set_has_its_distance_and_no_deviation(files: Files) -> None:
    result, several = files.measure(1), files.measure()
    assert (
        result["fd_cifar"]
        == several["sets"][0]["fd_cifar"]
        == frechet_distance(files.moments[0], files.reference["train"])
    )
    assert result["fd_cifar_sd"] is None
    assert result["sets"] == several["sets"][:1]


def test_without_features_everything_is_null(files: Files) -> None:
    result = measure_fidelity(files.notes[:1], [[]], [], None)
    assert result["fd_cifar"] is result["class_counts"] is result["reference_images"] is None
    assert result["checkpoint"] == "key"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"repeat": 1}, r"set2.npz was measured on other samples than those of key, set 2; delete it"),
        ({"samples_sha256": "cd"}, r"set2.npz was measured on other samples"),
        ({"checkpoint": "stale"}, r"set2.npz was measured on other samples"),
        ({"sampling": SAMPLING | {"temperature": 0.9}}, r"set2.npz was measured on other samples"),
        ({"class_counts": None}, r"set2.npz has no class counts; delete it"),
        ({"class_counts": [1] * 10}, r"set2.npz has no class counts; delete it"),
        ({"weights_sha256": "cd"}, r"holds features of other weights"),
    ],
)
def test_a_set_that_does_not_belong_is_refused(files: Files, change: dict, sentence: str) -> None:
    described = {"checkpoint": "key", "sampling": SAMPLING, "repeat": 2} | {"class_counts": COUNTS[2]} | change
    files.save("set2", files.moments[2], **described)
    with pytest.raises(UserError, match=sentence):
        files.measure()


def test_the_same_set_twice_is_refused(files: Files) -> None:
    files.notes[2], files.samples[2] = files.notes[1], files.samples[1]
    with pytest.raises(UserError, match="set 2; delete it"):
        files.measure()


def test_a_set_of_another_model_is_refused(files: Files) -> None:
    files.notes[1] = files.notes[1] | {"checkpoint": "stale"}
    with pytest.raises(UserError, match="set 1 of the samples of key was drawn from stale"):
        files.measure()
