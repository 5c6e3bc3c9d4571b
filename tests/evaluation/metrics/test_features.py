"""Feature vectors in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hybridflow.config.metrics import METRICS, Metric, metrics_of
from hybridflow.evaluation.metrics.features import Features, evaluate, load_vectors, write_vectors
from hybridflow.evaluation.metrics.frechet import Moments
from hybridflow.io.records import record_of, write_record
from hybridflow.runtime.errors import UserError

VECTORS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float16)


def written(path: Path, vectors: np.ndarray) -> Path:
    write_vectors(path, vectors)
    write_record(record_of(path), {"extractor": "x"}, [path])
    return path


def test_vectors_come_back(tmp_path: Path) -> None:
    vectors, record = load_vectors(written(tmp_path / "a.npy", VECTORS))
    assert np.array_equal(vectors, VECTORS)
    assert record["extractor"] == "x"


def test_a_damaged_or_another_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", VECTORS)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"a\.npy is damaged or was exchanged"):
        load_vectors(path)
    np.save(path, np.zeros(3))
    write_record(record_of(path), {}, [path])
    with pytest.raises(UserError, match=r"a\.npy is not a file of feature vectors"):
        load_vectors(path)


def test_values_that_float16_cannot_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="beyond 65504"):
        write_vectors(tmp_path / "a.npy", np.array([[np.inf]], np.float16))


def test_a_metric_gets_what_it_needs() -> None:
    a, b = (Features(Moments(x.mean(0), np.cov(x.T), 20), x) for x in (VECTORS.astype(float), VECTORS + 1.0))
    assert evaluate(METRICS["fd_imagenet"], a, b) == pytest.approx(3, rel=1e-3)  # rounding to float16 of b
    assert evaluate(METRICS["precision_imagenet"], a, a) == 1


@pytest.mark.parametrize("metric", metrics_of("x", "x", "X"), ids=lambda metric: metric.name)
def test_a_metric_sees_the_images_that_it_says(metric: Metric) -> None:
    """A reference of 40 images whose first 30 or 20 vectors are kept, of which 20 generated ones may use fewer."""
    fake, real = (np.random.default_rng(seed).normal(size=(count, 3)) for seed, count in ((1, 20), (2, 40)))

    def features(vectors: np.ndarray, kept: int) -> Features:
        moments = Moments(vectors.mean(0), np.cov(vectors.T), len(vectors))
        return Features(moments, vectors[:kept].astype(np.float16))

    generated = features(fake, 20)
    more, fewer, other = features(real, 30), features(real, 20), features(real[:30], 30)
    value = evaluate(metric, generated, more)
    assert (value != evaluate(metric, generated, fewer)) == (metric.seen == "kept")
    assert (value != evaluate(metric, generated, other)) == (metric.seen == "all")
