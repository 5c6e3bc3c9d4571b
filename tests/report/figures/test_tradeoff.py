"""The trade-off figure: a panel a metric, and what others report in the right one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.figures.tradeoff import draw_tradeoff
from hybridflow.runtime.errors import UserError

VARIANTS = ["baseline", "half", "one"]
TABLE = pd.DataFrame(
    {
        "variant": VARIANTS,
        "seeds": 1,
        "bpd": [3.0, 3.4, 6.8],
        "bpd_sd": np.nan,
        "fid": [45.0, 41.0, 30.0],
        "fid_sd": np.nan,
        "fd_cifar": [5.0, 6.0, 7.0],
        "fd_cifar_sd": np.nan,
        "reference_bpd": [3.05, np.nan, 6.85],
        "reference_fid": [44.0, np.nan, 31.0],
    }
)
CHOSEN = ["fid", "fd_cifar", "fd_cifar_test"]  # the last is not in the table


def points(ax, reported: bool) -> list[tuple[float, float]]:
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 1 and line.get_marker() not in ("|", "_")]
    chosen = [line for line in lines if (line.get_marker() == "x") == reported]
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in chosen]


def draw(folder: Path, table: pd.DataFrame, metrics: list[str]) -> None:
    draw_tradeoff([folder / "figure.png", folder / "figure.pdf"], table, metrics)
    with Image.open(folder / "figure.png") as image:
        assert round(image.info["dpi"][0]) == 200
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_every_metric_of_the_table_has_a_panel_and_fid_has_the_references(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, TABLE, CHOSEN)
    fid, fd_cifar = drawn[0].axes
    assert (fid.get_ylabel(), fd_cifar.get_ylabel()) == ("FID ↓", "FD-CIFAR ↓")
    assert points(fid, reported=False) == [(3.0, 45.0), (3.4, 41.0), (6.8, 30.0)]
    assert points(fid, reported=True) == [(3.05, 44.0), (6.85, 31.0)]
    assert points(fd_cifar, reported=False) == [(3.0, 5.0), (3.4, 6.0), (6.8, 7.0)]
    assert points(fd_cifar, reported=True) == []
    assert [text.get_text() for text in drawn[0].legends[0].texts] == [*VARIANTS, "reference"]


def test_without_fid_our_points_are_there_and_no_reference(tmp_path: Path, drawn: list[Figure]) -> None:
    for table, chosen in ((TABLE, ["fd_cifar"]), (TABLE.assign(fid=np.nan), CHOSEN)):
        draw(tmp_path, table, chosen)
        (ax,) = drawn[-1].axes
        assert ax.get_ylabel() == "FD-CIFAR ↓"
        assert len(points(ax, reported=False)) == 3
        assert "reference" not in [text.get_text() for text in drawn[-1].legends[0].texts]


def test_nothing_to_draw_is_said(tmp_path: Path, drawn: list[Figure]) -> None:
    for table, chosen in ((TABLE, []), (TABLE.assign(bpd=np.nan), CHOSEN)):
        draw(tmp_path, table, chosen)
        assert "No variant has both" in drawn[-1].axes[0].texts[0].get_text()


def test_a_generator_without_a_likelihood_has_no_point(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, TABLE.assign(bpd=[np.nan, 3.4, 6.8], reference_bpd=np.nan), ["fid"])
    assert points(drawn[0].axes[0], reported=False)[1:] == [(3.4, 41.0), (6.8, 30.0)]
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["baseline (no bits/dim)", "half", "one"]


def test_several_seeds_have_bars(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, TABLE.assign(seeds=3, bpd_sd=0.1, fid_sd=1.0), ["fid"])
    assert drawn[0].legends[0].get_title().get_text() == "mean ± sd over 3 training seeds"
    assert len(drawn[0].axes[0].collections) == 6  # two bars a variant


def test_a_toy_metric_has_a_panel(tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "toy", Metric("toy", "Toy", "inception", abs, "a toy", better="higher"))
    draw(tmp_path, TABLE.assign(toy=[1.0, 2.0, 3.0], toy_sd=np.nan), ["toy"])
    assert drawn[0].axes[0].get_ylabel() == "Toy ↑"


def test_the_same_data_give_the_same_bytes_and_other_formats_are_refused(tmp_path: Path) -> None:
    for folder in (tmp_path / "1", tmp_path / "2"):
        draw(folder, TABLE, CHOSEN)
    for name in ("figure.png", "figure.pdf"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    with pytest.raises(UserError, match=r"must end in .png or .pdf"):
        draw_tradeoff([tmp_path / "figure.jpg"], TABLE, CHOSEN)
