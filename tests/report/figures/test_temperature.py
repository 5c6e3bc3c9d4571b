"""The figure of metrics against temperature: a panel a metric, a line a variant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from hybridflow.report.figures.temperature import draw_temperature

TABLE = pd.DataFrame(
    [
        [metric, variant, 0, temperature, value * temperature, np.nan if metric == "fid" else 0.1]
        for metric, value in (("fid", 40.0), ("recall_cifar", 0.5))
        for variant in ("baseline", "half")
        for temperature in (0.5, 1.0)
    ],
    columns=["metric", "variant", "seed", "temperature", "value", "se"],
)


@pytest.mark.parametrize("metrics", [["fid"], ["fid", "recall_cifar"], []])
def test_a_panel_a_metric_a_line_a_variant(tmp_path: Path, drawn: list[Figure], metrics: list[str]) -> None:
    draw_temperature([tmp_path / "figure.png", tmp_path / "figure.pdf"], TABLE, metrics)
    assert [ax.get_ylabel() for ax in drawn[0].axes if ax.axison] == [
        {"fid": "FID ↓", "recall_cifar": "Recall (CIFAR) ↑"}[metric] for metric in metrics
    ]
    for ax in drawn[0].axes[: len(metrics)]:
        lines = [container.lines[0] for container in ax.containers]
        assert [container.get_label() for container in ax.containers] == ["baseline", "half"]
        assert list(lines[0].get_xdata()) == [0.5, 1.0]
    assert (tmp_path / "figure.png").stat().st_size > 0
