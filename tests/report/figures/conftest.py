"""Figures kept open for a look at their parts."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from hybridflow.report.figures import calibration, frontier, samples, temperature, training_curves


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    kept: list[Figure] = []
    original = samples.save_figure

    def save(figure, outputs):
        kept.append(figure)
        original(figure, outputs)

    for module in (calibration, frontier, samples, temperature, training_curves):
        monkeypatch.setattr(module, "save_figure", save)
    return kept
