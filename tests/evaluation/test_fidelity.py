"""Metrics of one or several sets of samples."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np
import pytest

from hybridflow.evaluation.fidelity import measure_fidelity
from hybridflow.evaluation.metrics.features import Features, load_vectors, write_vectors
from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance, save_moments
from hybridflow.evaluation.metrics.neighbours import recall
from hybridflow.io.records import record_of, write_record
from hybridflow.runtime.errors import UserError

SAMPLING = {"version": 1, "images": 20, "batch_size": 5, "temperature": 1.0, "seed": 7}
COUNTS = [[20] + [0] * 9, [5, 15] + [0] * 8, [0] * 9 + [20]]
NAME = "cifar_classifier"


class Files:
    """Statistics of three sets of samples and of the dataset, in the features of the CIFAR-10 classifier."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        self.moments, self.reference = [], {}
        for number in range(3):
            (folder / f"set{number}").mkdir()
            self.write_set(number)
            self.moments.append(self.draw(rng, 20))
            self.write_features(number)
        for split, count in (("train", 50), ("test", 30)):
            self.reference[split] = self.draw(rng, count)
            save_moments(folder / f"{split}.npz", self.reference[split], {"extractor": NAME, "weights_sha256": "ab"})
        self.write_reference_vectors()

    def draw(self, rng: np.random.Generator, count: int) -> Moments:
        values = rng.normal(size=(count, 3))
        return Moments(values.mean(0), np.cov(values.T), count)

    def write_reference_vectors(self, **over: object) -> None:
        path = self.folder / "train-features.npy"
        write_vectors(path, np.random.default_rng(9).normal(size=(20, 3)).astype(np.float16))
        write_record(record_of(path), {"extractor": NAME, "weights_sha256": "ab"} | over, [path])

    def write_set(self, number: int, **over: object) -> None:
        samples = self.folder / f"set{number}" / "samples.npy"
        samples.write_bytes(bytes([number]))
        record = {"checkpoint": "key", "sampling": SAMPLING} | ({"repeat": number} if number else {}) | over
        write_record(samples.with_suffix(".json"), record, [samples])

    def write_features(self, number: int, **over: object) -> None:
        from hybridflow.io.hashing import sha256_file

        of = {"samples_sha256": sha256_file(self.folder / f"set{number}" / "samples.npy")}
        record = {"extractor": NAME, "weights_sha256": "ab", "class_counts": COUNTS[number]} | of | over
        vectors = self.folder / f"features{number}.npy"
        write_vectors(vectors, self.vectors(number))
        save_moments(vectors.with_suffix(".npz"), self.moments[number], record, [vectors])

    def vectors(self, number: int) -> np.ndarray:
        return np.random.default_rng(number).normal(size=(10, 3)).astype(np.float16)

    def measure(self, sets: int = 3, metrics: tuple[str, ...] = ("fd_cifar", "fd_cifar_test")) -> dict:
        return measure_fidelity(
            metrics,
            [self.folder / f"set{number}" / "samples.json" for number in range(sets)],
            [{NAME: self.folder / f"features{number}.npz"} if metrics else {} for number in range(sets)],
            {(NAME, split): self.folder / f"{split}.npz" for split in self.reference} if metrics else {},
            {NAME: {"accuracy": 0.9}} if metrics else {},
            {(NAME, "train"): self.folder / "train-features.npy"} if "recall_cifar" in metrics else {},
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_values_are_means_over_sets_with_their_deviation(files: Files) -> None:
    result = files.measure()
    for split, name in (("train", "fd_cifar"), ("test", "fd_cifar_test")):
        values = [frechet_distance(moments, files.reference[split]) for moments in files.moments]
        found = result["metrics"][name]
        assert found["values"] == values
        assert found["value"] == pytest.approx(sum(values) / 3)
        assert found["sd"] == pytest.approx(statistics.stdev(values))
        assert found["version"] == 1
    assert result["class_counts"] == COUNTS
    assert (result["sets"], result["images"], result["dimensions"]) == (3, 20, {NAME: 3})
    assert result["reference_images"] == {"train": 50, "test": 30}
    assert (result["checkpoint"], result["sampling"]) == ("key", SAMPLING)


def test_metrics_on_vectors(files: Files) -> None:
    result = files.measure(metrics=("fd_cifar", "recall_cifar"))
    train = Features(files.reference["train"], load_vectors(files.folder / "train-features.npy")[0])
    sets = [Features(moments, files.vectors(number)) for number, moments in enumerate(files.moments)]
    assert result["metrics"]["recall_cifar"]["values"] == [recall(one, train) for one in sets]
    assert result["feature_images"] == {"train": 20, "samples": 10}
    files.write_reference_vectors(weights_sha256="cd")
    with pytest.raises(UserError, match=r"train-features.npy hold features of different weights; delete both"):
        files.measure(metrics=("recall_cifar",))


def test_one_set_has_its_value_and_no_deviation(files: Files) -> None:
    found = files.measure(1)["metrics"]["fd_cifar"]
    assert found["value"] == frechet_distance(files.moments[0], files.reference["train"])
    assert found["sd"] is None


def test_without_metrics_there_is_still_a_record_of_the_samples(files: Files) -> None:
    result = files.measure(1, ())
    assert (result["checkpoint"], result["metrics"], result["class_counts"]) == ("key", {}, None)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"samples_sha256": "cd"}, r"features2.npz was measured on other samples than those of key, set 2; delete it"),
        ({"weights_sha256": "cd"}, r"features2.npz hold features of different weights; delete both"),
    ],
)
def test_features_of_something_else_are_refused(files: Files, over: dict, sentence: str) -> None:
    files.write_features(2, **over)
    with pytest.raises(UserError, match=sentence):
        files.measure()


@pytest.mark.parametrize("over", [{"checkpoint": "stale"}, {"sampling": SAMPLING | {"version": 2}}, {"repeat": 1}])
def test_a_set_that_was_drawn_otherwise_is_refused(files: Files, over: dict) -> None:
    files.write_set(2, **over)
    files.write_features(2)
    with pytest.raises(UserError, match="set 2 of the samples of key was drawn from"):
        files.measure()
