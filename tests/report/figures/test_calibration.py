"""The calibration figure: distances against strength, and against the number of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hybridflow.report.figures.calibration import draw_calibration
from hybridflow.report.tables.calibration import KEYS

ROWS = [
    ("clean", np.nan, "test images", 20, 64, 4.0, 0.5),
    ("clean", np.nan, "test images", 40, 64, 2.0, 0.5),
    ("halves", np.nan, "halves", 30, 30, 3.0, np.nan),
    ("noise", 5, "noise", 20, 64, 8.0, 0.4),
    ("noise", 10, "noise", 20, 64, 16.0, 0.3),
    ("jpeg", 40, "jpeg", 20, 64, 6.0, 0.4),
]


def test_a_distance_is_drawn_in_units_of_its_floor(tmp_path: Path, drawn: list[Figure]) -> None:
    table = pd.DataFrame(ROWS, columns=[*KEYS, "fd_cifar", "recall_cifar"])
    draw_calibration([tmp_path / "figure.png", tmp_path / "figure.pdf"], table)
    ladder, numbers = drawn[0].axes
    noise, jpeg, floor = ladder.get_lines()
    assert [list(line.get_ydata()) for line in (noise, jpeg)] == [[2, 4], [1.5]]
    labels = [text.get_text() for text in ladder.get_xticklabels()]
    assert [labels[int(place)] for line in (noise, jpeg) for place in line.get_xdata()] == ["σ 5", "σ 10", "JPEG 40"]
    assert floor.get_ydata()[0] == 1
    (line,) = numbers.get_lines()
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([20, 40], [4, 2])
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["FD-CIFAR"]


@pytest.mark.parametrize("metrics", [[], ["recall_cifar"]])
def test_no_distance_is_said(tmp_path: Path, drawn: list[Figure], metrics: list[str]) -> None:
    draw_calibration([tmp_path / "figure.png"], pd.DataFrame(columns=[*KEYS, *metrics]))
    assert [text.get_text() for text in drawn[0].axes[0].texts] == ["No distance was calibrated."]
