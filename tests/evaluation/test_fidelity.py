"""Every metric of a model's samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridflow.evaluation.fidelity import measure_fidelity
from hybridflow.evaluation.metrics.features import Features, load_vectors, write_vectors
from hybridflow.evaluation.metrics.frechet import Moments, frechet_distance, save_moments
from hybridflow.evaluation.metrics.influence import frechet
from hybridflow.evaluation.metrics.neighbours import recall
from hybridflow.io.hashing import sha256_file
from hybridflow.io.records import record_of, write_record
from hybridflow.runtime.errors import UserError

SAMPLING = {"version": 1, "images": 20, "batch_size": 5, "temperature": 1.0, "seed": 7}
COUNTS = [5, 15] + [0] * 8
NAME = "cifar_classifier"


class Files:
    """Features of samples and of the dataset, those of the CIFAR-10 classifier."""

    def __init__(self, folder: Path) -> None:
        self.folder, rng = folder, np.random.default_rng(0)
        self.vectors = rng.normal(size=(10, 3)).astype(np.float16)
        self.moments, self.reference = self.draw(rng, 20), {}
        samples = folder / "samples.npy"
        samples.write_bytes(b"images")
        write_record(samples.with_suffix(".json"), {"checkpoint": "key", "sampling": SAMPLING}, [samples])
        self.write_features()
        for split, count in (("train", 50), ("test", 30)):
            self.reference[split] = self.draw(rng, count)
            save_moments(folder / f"{split}.npz", self.reference[split], {"extractor": NAME, "weights_sha256": "ab"})
        self.write_reference_vectors()

    def draw(self, rng: np.random.Generator, count: int) -> Moments:
        values = rng.normal(size=(count, 3))
        covariance = np.cov(values.T).astype(np.float32)  # as files keep it
        return Moments(values.mean(0), covariance.astype(np.float64), count)

    def write_reference_vectors(self, **over: object) -> None:
        path = self.folder / "train-features.npy"
        write_vectors(path, np.random.default_rng(9).normal(size=(20, 3)).astype(np.float16))
        write_record(record_of(path), {"extractor": NAME, "weights_sha256": "ab"} | over, [path])

    def write_features(self, **over: object) -> None:
        of = {"samples_sha256": sha256_file(self.folder / "samples.npy")}
        record = {"extractor": NAME, "weights_sha256": "ab", "class_counts": COUNTS} | of | over
        vectors = self.folder / "features.npy"
        write_vectors(vectors, self.vectors)
        save_moments(vectors.with_suffix(".npz"), self.moments, record, [vectors])

    def measure(self, metrics: tuple[str, ...] = ("fd_cifar", "fd_cifar_test")) -> tuple[dict, dict]:
        return measure_fidelity(
            metrics,
            self.folder / "samples.json",
            {NAME: self.folder / "features.npz"} if metrics else {},
            {(NAME, split): self.folder / f"{split}.npz" for split in self.reference} if metrics else {},
            {NAME: {"accuracy": 0.9}} if metrics else {},
            {(NAME, "train"): self.folder / "train-features.npy"} if "recall_cifar" in metrics else {},
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_every_metric_has_its_value_and_error(files: Files) -> None:
    result, contributions = files.measure()
    for split, name in (("train", "fd_cifar"), ("test", "fd_cifar_test")):
        found = result["metrics"][name]
        expected = frechet(Features(files.moments, files.vectors), Features(files.reference[split], files.vectors[:0]))
        assert found["value"] == pytest.approx(frechet_distance(files.moments, files.reference[split]), rel=1e-12)
        assert found["se"] == expected.standard_error
        assert found["version"] == 1
        np.testing.assert_allclose(contributions[name], expected.contributions, rtol=1e-6)
    assert result["class_counts"] == COUNTS
    assert (result["images"], result["dimensions"]) == (20, {NAME: 3})
    assert result["reference_images"] == {"train": 50, "test": 30}
    assert (result["checkpoint"], result["sampling"]) == ("key", SAMPLING)


def test_metrics_on_vectors(files: Files) -> None:
    result, contributions = files.measure(("fd_cifar", "recall_cifar"))
    train = Features(files.reference["train"], load_vectors(files.folder / "train-features.npy")[0])
    expected = recall(Features(files.moments, files.vectors), train)
    assert result["metrics"]["recall_cifar"]["value"] == expected.value
    assert list(contributions["recall_cifar"]) == list(expected.contributions)
    assert result["feature_images"] == {"train": 20, "samples": 10}
    files.write_reference_vectors(weights_sha256="cd")
    with pytest.raises(UserError, match=r"train-features.npy hold features of different weights; delete both"):
        files.measure(("recall_cifar",))


def test_without_metrics_there_is_still_a_record_of_the_samples(files: Files) -> None:
    result = files.measure(())[0]
    assert (result["checkpoint"], result["metrics"], result["class_counts"]) == ("key", {}, None)


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"samples_sha256": "cd"}, r"features.npz was measured on other samples than those of key; delete it"),
        ({"weights_sha256": "cd"}, r"train.npz hold features of different weights; delete both"),
    ],
)
def test_features_of_something_else_are_refused(files: Files, over: dict, sentence: str) -> None:
    files.write_features(**over)
    with pytest.raises(UserError, match=sentence):
        files.measure()
