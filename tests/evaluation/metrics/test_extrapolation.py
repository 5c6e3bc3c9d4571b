"""The distance of infinitely many samples."""

from __future__ import annotations

import numpy as np
import pytest

from hybridflow.evaluation.metrics.extrapolation import frechet_infinity
from hybridflow.evaluation.metrics.features import NO_VECTORS, Features
from hybridflow.evaluation.metrics.frechet import MomentAccumulator, Moments, frechet_distance
from hybridflow.evaluation.metrics.influence import frechet

D = 16
EXACT = Features(Moments(np.zeros(D), np.eye(D), 10**6), NO_VECTORS)


def draw(seed: int, deviation: float) -> Features:
    vectors = np.random.default_rng(seed).normal(0, deviation, (300, D)).astype(np.float16)
    accumulator = MomentAccumulator()
    accumulator.update(vectors)
    return Features(accumulator.moments(), vectors)


@pytest.mark.parametrize("deviation", [1.0, 1.5])
def test_the_bias_of_few_samples_goes_away(deviation: float) -> None:
    truth, sets = D * (deviation - 1) ** 2, [draw(seed, deviation) for seed in range(20)]
    biased = np.mean([frechet_distance(one.moments, EXACT.moments) for one in sets]) - truth
    extrapolated = np.mean([frechet_infinity(one, EXACT).value for one in sets]) - truth
    assert biased > 0.1
    assert abs(extrapolated) < 0.4 * biased


def test_its_error_is_the_spread_over_sets_of_samples() -> None:
    found = [frechet_infinity(draw(seed, 1.5), EXACT) for seed in range(200)]
    spread = np.std([one.value for one in found], ddof=1)
    assert np.mean([one.standard_error for one in found]) == pytest.approx(spread, rel=0.15)
    alone = np.mean([frechet(draw(seed, 1.5), EXACT).standard_error for seed in range(20)])
    assert spread > 1.1 * alone  # extrapolating costs precision, so the distance's own error would be too small


def test_it_is_the_same_every_time() -> None:
    assert frechet_infinity(draw(0, 1.2), EXACT).value == frechet_infinity(draw(0, 1.2), EXACT).value
