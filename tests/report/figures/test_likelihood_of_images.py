"""Table and histograms of what likelihoods say of several kinds of images."""

from pathlib import Path

import numpy as np
import pytest

from hybridflow.report.figures.likelihood_of_images import draw_likelihoods, likelihood_table

BITS = {
    "test": np.array([3.0, 4.0, 5.0]),
    "constant": np.array([0.5, 1.0, 4.5]),
    "noise": np.array([9.0, 40.0, 1e9]),
}


def test_the_table_says_how_many_are_more_likely_than_the_median_test_image() -> None:
    table = likelihood_table([("baseline", 0, BITS)]).set_index("kind")
    assert table.more_likely.to_dict() == {"test": pytest.approx(1 / 3), "constant": pytest.approx(2 / 3), "noise": 0}
    assert table.loc["constant", ["variant", "images", "bpd", "bpd_median"]].tolist() == ["baseline", 3, 2.0, 1.0]
    assert table.bpd_median["noise"] == 40


def test_values_beyond_the_axis_are_drawn_at_its_end(tmp_path: Path) -> None:
    draw_likelihoods([tmp_path / "a.png"], [("baseline", BITS), ("hybrid", BITS | {"noise": np.full(3, np.nan)})])
    assert (tmp_path / "a.png").stat().st_size < 400_000
