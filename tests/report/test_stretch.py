"""The scale of bits/dim where one variant pays far more than most."""

from __future__ import annotations

import numpy as np
import pytest

from hybridflow.report.page.tradeoff import LEFT, RIGHT, _Axis
from hybridflow.report.stretch import Stretch, stretch

WIDE = [3.74, 3.75, 3.76, 3.8, 7.3]


def test_only_what_a_linear_scale_hides_is_stretched() -> None:
    assert stretch([3.0, 3.4, 6.8]) is None
    assert stretch([3.0, 3.0, 3.0]) is None
    assert stretch([3.7, 3.7, 3.7, 5.0]) is None, "there is nothing near the lowest to show"
    scale = stretch(WIDE)
    assert (scale.low, scale.width) == pytest.approx((3.74, 0.02))


def test_it_is_linear_near_the_lowest_and_turns_back() -> None:
    scale = Stretch(3.74, 0.02)
    assert scale.forward(3.74) == 0
    assert scale.forward(3.7402) == pytest.approx(0.01, rel=1e-3)
    assert scale.forward(3.74 + 20) - scale.forward(3.74 + 2) == pytest.approx(np.log(10), rel=1e-3)
    values = np.array([3.6, *WIDE])
    np.testing.assert_allclose(scale.inverse(scale.forward(values)), values)


def test_the_page_has_every_point_and_tick_in_its_panel_and_in_order() -> None:
    axis = _Axis([*WIDE, 2.98], LEFT, RIGHT, stretch(WIDE))
    for places in ([axis.at(value) for value in [2.98, *WIDE]], [tick["at"] for tick in axis.ticks]):
        assert places == sorted(places)
        assert len(set(places)) == len(places)
        assert places[0] >= LEFT
        assert places[-1] <= RIGHT
    for tick in axis.ticks:
        assert axis.at(float(tick["label"])) == pytest.approx(tick["at"], abs=0.1)
