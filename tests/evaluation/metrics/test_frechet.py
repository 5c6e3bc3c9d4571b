import numpy as np
import pytest
from recorded import record
from scipy import linalg

from hybridflow.evaluation.metrics.frechet import (
    MomentAccumulator,
    Moments,
    frechet_distance,
    load_moments,
    save_moments,
)
from hybridflow.runtime.errors import UserError


def moments_of(features: np.ndarray) -> Moments:
    return Moments(features.mean(0), np.cov(features, rowvar=False), len(features))


def features(seed: int, n: int, d: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + shift


def test_equals_the_closed_form_for_diagonal_gaussians():
    mean_a, mean_b = np.array([0.0, 1.0, -2.0]), np.array([3.0, 1.0, 2.0])
    std_a, std_b = np.array([1.0, 2.0, 0.5]), np.array([2.0, 0.0, 0.5])
    expected = ((mean_a - mean_b) ** 2).sum() + ((std_a - std_b) ** 2).sum()
    distance = frechet_distance(Moments(mean_a, np.diag(std_a**2), 9), Moments(mean_b, np.diag(std_b**2), 9))
    assert distance == pytest.approx(expected, rel=1e-12)
    assert isinstance(distance, float)


def test_equals_the_matrix_square_root_form():
    a, b = moments_of(features(0, 400, 24)), moments_of(features(1, 300, 24, 1.3, 0.2))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_singular_covariances_give_the_exact_value():
    x, y = features(0, 10, 64), features(1, 14, 64, 1.2)
    centred = (x - x.mean(0)) @ (y - y.mean(0)).T
    cross = np.linalg.norm(centred, "nuc") / np.sqrt(9 * 13)
    a, b = moments_of(x), moments_of(y)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_symmetric_and_zero_for_equal_moments():
    a, b = moments_of(features(0, 60, 16)), moments_of(features(1, 50, 16))
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    assert 0 <= frechet_distance(a, a) < 1e-9 * np.trace(a.covariance)


def test_unchanged_by_a_common_shift():
    x, y = features(0, 60, 16), features(1, 50, 16)
    assert frechet_distance(moments_of(x + 7), moments_of(y + 7)) == pytest.approx(
        frechet_distance(moments_of(x), moments_of(y)), rel=1e-9
    )


@pytest.mark.parametrize("shift", [0.0, 1e6])
def test_streaming_equals_batch(shift):
    x = features(0, 103, 8, shift=shift)
    accumulator = MomentAccumulator()
    for batch in np.array_split(x, [1, 20, 20, 77]):  # uneven, one of them empty
        accumulator.update(batch)
    streamed, whole = accumulator.moments(), moments_of(x)
    assert streamed.count == 103
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(streamed.covariance, whole.covariance, rtol=1e-7, atol=1e-8)
    assert streamed.mean.dtype == streamed.covariance.dtype == np.float64


def test_float32_features_are_summed_in_float64():
    x = features(0, 4000, 4, shift=1000.0).astype(np.float32)
    accumulator = MomentAccumulator()
    for batch in np.array_split(x, 40):
        accumulator.update(batch)
    np.testing.assert_allclose(accumulator.moments().covariance, np.cov(x.astype(np.float64), rowvar=False), rtol=1e-9)


def test_accumulator_refuses_what_it_cannot_sum():
    accumulator = MomentAccumulator()
    with pytest.raises(ValueError, match="at least 2 feature vectors, got 0"):
        accumulator.moments()
    accumulator.update(np.ones((1, 3)))
    with pytest.raises(ValueError, match="at least 2 feature vectors, got 1"):
        accumulator.moments()
    with pytest.raises(ValueError, match="4 dimensions, those before had 3"):
        accumulator.update(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"shape \(N, D\)"):
        accumulator.update(np.ones(3))
    with pytest.raises(ValueError, match="non-finite"):
        accumulator.update(np.full((2, 3), np.nan))
    assert accumulator.count == 1


def test_distance_refuses_what_it_cannot_compare():
    good = moments_of(features(0, 20, 3))
    with pytest.raises(ValueError, match="3 and of 4 dimensions"):
        frechet_distance(good, moments_of(features(0, 20, 4)))
    with pytest.raises(ValueError, match="got 1"):
        frechet_distance(good, Moments(good.mean, good.covariance, 1))
    with pytest.raises(ValueError, match="non-finite"):
        frechet_distance(Moments(good.mean * np.inf, good.covariance, 20), good)
    with pytest.raises(ValueError, match="non-finite"):
        frechet_distance(good, Moments(good.mean, good.covariance * np.nan, 20))
    with pytest.raises(ValueError, match=r"covariance \(4, 4\)"):
        frechet_distance(good, Moments(good.mean, np.eye(4), 20))


def test_saved_moments_come_back(tmp_path):
    moments = moments_of(features(0, 20, 3))
    settings = {"extractor": "inception", "split": "train", "n": 20}
    save_moments(tmp_path / "a" / "moments.npz", moments, settings)
    loaded, loaded_settings = load_moments(tmp_path / "a" / "moments.npz")
    np.testing.assert_array_equal(loaded.mean, moments.mean)
    np.testing.assert_array_equal(loaded.covariance, moments.covariance.astype(np.float32))
    assert loaded.covariance.dtype == np.float64
    assert loaded.count == 20
    assert settings.items() <= loaded_settings.items()
    assert [path.name for path in sorted((tmp_path / "a").iterdir(), reverse=True)] == ["moments.npz", "moments.json"]


def test_what_is_stored_gives_the_same_distance(tmp_path):
    """Also of sets nearly alike, and of fewer vectors than dimensions, whose covariance is singular."""
    a, b = features(0, 40, 64), features(0, 40, 64) + 0.01 * features(1, 40, 64)
    stored = []
    for name, vectors in (("a", a), ("b", b)):
        save_moments(tmp_path / f"{name}.npz", moments_of(vectors), {})
        stored.append(load_moments(tmp_path / f"{name}.npz")[0])
    assert frechet_distance(*stored) == pytest.approx(frechet_distance(moments_of(a), moments_of(b)), rel=1e-4)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut short"])
def test_a_broken_file_is_named(tmp_path, content):
    path = tmp_path / "moments.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"moments\.npz is not a file of feature statistics"):
        load_moments(record(path))


def test_other_and_missing_files_are_named(tmp_path):
    path = tmp_path / "moments.npz"
    with pytest.raises(UserError, match=r"moments\.json is missing"):
        load_moments(path)
    np.savez(path, mean=np.zeros(2))
    with pytest.raises(UserError, match="is not a file of feature statistics"):
        load_moments(record(path))
    np.save(tmp_path / "plain.npy", np.zeros(2))
    with pytest.raises(UserError, match="is not a file of feature statistics"):
        load_moments(record(tmp_path / "plain.npy"))
    np.savez(path, mean=np.array([{}], dtype=object), covariance=np.zeros(1), count=2)
    with pytest.raises(UserError, match="is not a file of feature statistics"):
        load_moments(record(path))
