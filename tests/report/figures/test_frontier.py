"""The frontier figure: a panel a distance, a line a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from hybridflow.report.figures.frontier import draw_frontier

TABLE = pd.DataFrame(
    {
        "variant": ["baseline", "half", "one"],
        "factor": [0, 0.5, 1],
        "seeds": 1,
        "bpd": [3.0, 3.4, np.nan],
        "fid": [45.0, 41.0, np.nan],
        "reference_bpd": [3.05, np.nan, 6.85],
        "reference_fid": [44.0, np.nan, 31.0],
    }
)


def frontier(**over: object) -> pd.DataFrame:
    rows = [
        [metric, variant, "denseflow", recipe, weight, 1, bpd, np.nan, value, np.nan, front]
        for metric in ("fid", "fd_cifar")
        for variant, recipe, weight, bpd, value, front in (
            ("baseline", "likelihood alone", 0, 3.0, 45.0, True),
            ("half", "dcgan", 0.5, 3.4, 41.0, True),
            ("one", "dcgan", 1, 6.8, 43.0, False),
        )
    ]
    names = ["metric", "variant", "family", "recipe", "weight", "seeds", "bpd", "bpd_sd", "value", "value_sd"]
    return pd.DataFrame(rows, columns=[*names, "on_front"]).assign(bpd_min=np.nan, bpd_max=np.nan).assign(**over)


def draw(folder: Path, table: pd.DataFrame) -> None:
    draw_frontier([folder / "figure.png", folder / "figure.pdf"], table, TABLE)
    with Image.open(folder / "figure.png") as image:
        assert round(image.info["dpi"][0]) == 200
    assert (folder / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_a_recipe_is_a_line_from_likelihood_training_on(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, frontier())
    fid, fd_cifar = drawn[0].axes
    assert (fid.get_ylabel(), fd_cifar.get_ylabel()) == ("FID ↓", "FD-CIFAR ↓")
    (line,) = [line for line in fid.get_lines() if len(line.get_xdata()) == 3]
    assert list(line.get_xdata()) == [3.0, 3.4, 6.8]
    assert list(line.get_ydata()) == [45.0, 41.0, 43.0]
    for ax in (fid, fd_cifar):
        assert [text.get_text() for text in ax.texts] == ["0.5", "1"]
    (front,) = [line for line in fid.get_lines() if line.get_label() == "_front"]
    assert [tuple(point) for point in front.get_xydata()] == [(3.0, 45.0), (3.4, 41.0)]
    faces = [line.get_markerfacecolor() for line in fid.get_lines() if line.get_marker() == "s"]
    assert faces[-1] == "white"
    assert faces[0] != "white"
    names = [text.get_text() for text in drawn[0].legends[0].texts]
    assert names == ["likelihood alone", "dcgan", "Pareto front (filled points)", "reported by others"]


def test_what_others_report_is_a_cross_joined_to_its_variant(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, frontier())
    fid, fd_cifar = drawn[0].axes
    first, last = [line for line in fid.get_lines() if line.get_marker() == "x"]
    assert [tuple(point) for point in first.get_xydata()] == [(3.05, 44.0), (3.0, 45.0)]
    assert tuple(last.get_xydata()[0]) == (6.85, 31.0), "also where there is no number of ours"
    assert np.isnan(last.get_xydata()[1]).all()
    assert first.get_markevery() == [0], "the cross is at the value that others report"
    assert last.get_color() == next(line for line in fid.get_lines() if line.get_marker() == "s").get_color()
    assert not [line for line in fd_cifar.get_lines() if line.get_marker() == "x"], "nobody reports it"


def test_one_price_that_dwarfs_the_others_does_not_hide_them(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, frontier())  # of 0, 0.4 and 3.8 bits/dim
    draw(tmp_path, frontier(bpd=[3.0, 3.02, 6.8] * 2))
    plain, stretched = (figure.axes[0] for figure in drawn)
    assert plain.get_xscale() == "linear"
    assert "stretched" not in plain.get_xlabel()
    assert "stretched" in stretched.get_xlabel()
    low, half, one = stretched.transData.transform([(x, 45.0) for x in (3.0, 3.02, 6.8)])[:, 0]
    left, right = stretched.bbox.intervalx
    assert left < low < half < one < right
    assert (half - low) / (one - low) > 0.1, "in proportion, it would be 0.005"
    ticks = stretched.get_xticks()
    assert len(ticks) >= 4
    assert all(np.diff(ticks) > 0)


def test_bars_on_a_stretched_axis_end_at_seeds(tmp_path: Path, drawn: list[Figure]) -> None:
    seeds = {"bpd_sd": [0.01, 0.01, 2.9] * 2, "bpd_min": [2.99, 3.01, 4.9] * 2, "bpd_max": [3.01, 3.03, 10.1] * 2}
    for bpd in ([3.0, 3.4, 6.8], [3.0, 3.02, 6.8]):
        draw_frontier([tmp_path / "figure.png"], frontier(bpd=bpd * 2, **seeds), TABLE.assign(seeds=3))
    ends = [[part.get_segments()[0][:, 0] for part in figure.axes[0].collections] for figure in drawn]
    np.testing.assert_allclose(ends[0], [(2.99, 3.01), (3.39, 3.41), (3.9, 9.7)])
    np.testing.assert_allclose(ends[1], [(2.99, 3.01), (3.01, 3.03), (4.9, 10.1)])
    titles = [figure.legends[0].get_title().get_text() for figure in drawn]
    assert titles[0] == "mean ± sd over 3 training seeds"
    assert titles[1] == "mean ± sd over 3 training seeds; bars of BPD: lowest to highest"


def test_long_names_of_recipes_stay_on_the_page(tmp_path: Path, drawn: list[Figure]) -> None:
    table = frontier()
    table["recipe"] += table.weight.map(lambda weight: f", adversarial.discriminator_optimizer.lr {weight / 3}" * 2)
    draw(tmp_path, table)
    box = drawn[0].legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn[0].bbox.x1


def test_no_two_recipes_look_alike(tmp_path: Path, drawn: list[Figure]) -> None:
    rows = pd.concat([frontier(recipe=f"recipe {number}") for number in range(20)])
    draw(tmp_path, rows)
    looks = [(line.get_color(), line.get_marker()) for line in drawn[0].legends[0].get_lines()][:20]
    assert len({str(look) for look in looks}) == 20


def test_nothing_to_draw_is_said(tmp_path: Path, drawn: list[Figure]) -> None:
    draw(tmp_path, frontier().head(0))
    assert "No variant has both" in drawn[0].axes[0].texts[0].get_text()
