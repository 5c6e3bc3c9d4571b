"""The figures: order and pixels of the samples, panels, limits, and labels that keep clear of each other."""

import itertools
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from recorded import save_array

from hybridflow.report.figures import draw as figures
from hybridflow.report.figures.labels import label_points
from hybridflow.report.histories import read_history
from hybridflow.report.tables.table import COLUMNS, write_csv
from hybridflow.runtime.errors import UserError


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved, kept open for a look at their parts."""
    kept = []
    original = figures.save_figure

    def save(figure, outputs):
        kept.append(figure)
        original(figure, outputs)

    monkeypatch.setattr(figures, "save_figure", save)
    return kept


def outputs(folder):
    return [folder / "figure.png", folder / "figure.pdf"]


def assert_written(folder):
    png, pdf = outputs(folder)
    with Image.open(png) as image:
        assert round(image.info["dpi"][0]) == 200
    assert pdf.read_bytes().startswith(b"%PDF")
    assert not list(folder.glob("*.partial"))


def save_flat(path, level, count=4):
    save_array(path, np.full((count, 3, 32, 32), level, dtype=np.uint8))
    return path


def test_samples_stand_by_factor_and_keep_their_order_when_equal(tmp_path, drawn):
    factors = [("c", 1.0), ("a", 0.0), ("b2", 0.5), ("b1", 0.5), ("z", 0.75)]
    panels = [(name, factor, save_flat(tmp_path / f"{name}.npy", 10)) for name, factor in factors]
    figures.draw_samples(outputs(tmp_path), panels, rows=2, columns=2)
    assert_written(tmp_path)
    titles = [ax.get_title() for ax in drawn[0].axes]
    assert titles == ["a\nfactor 0", "b2\nfactor 0.5", "b1\nfactor 0.5", "z\nfactor 0.75", "c\nfactor 1"]
    corners = [ax.get_position() for ax in drawn[0].axes]
    assert corners[0].x0 < corners[1].x0 < corners[2].x0 < corners[3].x0
    assert corners[4].x0 == corners[0].x0  # the fifth starts a second row
    assert corners[4].y1 < corners[0].y0


def test_samples_are_enlarged_by_whole_pixels_without_smoothing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    save_array(tmp_path / "s.npy", images)
    figures.draw_samples(outputs(tmp_path), [("a", 0.0, tmp_path / "s.npy")], rows=2, columns=2)
    picture = np.asarray(Image.open(tmp_path / "figure.png").convert("RGB"))
    grid = figures.tile_images(images, 2, 2)
    scale = -(-figures.PANEL_WIDTH // grid.shape[1])
    expected = grid.repeat(scale, 0).repeat(scale, 1)
    bottom, left = picture.shape[0] - figures.MARGIN, figures.MARGIN
    panel = picture[bottom - len(expected) : bottom, left : left + expected.shape[1]]
    assert np.array_equal(panel, expected)


def test_tiles_run_row_by_row_and_missing_images_stay_white():
    images = np.stack([np.full((3, 4, 4), level, dtype=np.uint8) for level in (10, 20, 30)])
    canvas = figures.tile_images(images, 2, 2)
    assert canvas.shape == (10, 10, 3)
    assert [canvas[0, 0, 0], canvas[0, 6, 0], canvas[6, 0, 0], canvas[6, 6, 0], canvas[4, 0, 0]] == [
        10,
        20,
        30,
        255,
        255,
    ]


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 3, 8, 8), np.float32), np.zeros((4, 8, 8, 3), np.uint8), np.zeros((0, 3, 8, 8), np.uint8)],
)
def test_samples_of_another_kind_are_refused(tmp_path, array):
    save_array(tmp_path / "s.npy", array)
    with pytest.raises(UserError, match=r"s.npy holds .* but uint8 images of shape \(N, 3, H, W\) are needed"):
        figures.draw_samples(outputs(tmp_path), [("a", 0.0, tmp_path / "s.npy")])
    assert not list(tmp_path.glob("figure*"))


def test_missing_samples_are_named(tmp_path):
    with pytest.raises(UserError, match=r"gone.json is missing"):
        figures.draw_samples(outputs(tmp_path), [("a", 0.0, tmp_path / "gone.npy")])
    with pytest.raises(UserError, match="no samples to draw"):
        figures.draw_samples(outputs(tmp_path), [])


def write_points(path, fid, fd_cifar, sd=None):
    rows = []
    for i, (name, bpd) in enumerate([("baseline", 3.06), ("baseline_continued", 3.05), ("half", 3.34), ("one", 6.8)]):
        row = dict.fromkeys(COLUMNS)
        row.update(variant=name, discriminator="none", factor=0.0, seeds=1 if sd is None else 3, bpd=bpd, bpd_sd=sd)
        row.update(fid=45.0 - i if fid else None, fid_sd=sd, fd_cifar=6.0 - i / 10 if fd_cifar else None)
        rows.append(row)
    write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))
    return path


@pytest.mark.parametrize(
    ("fid", "fd_cifar", "expected"),
    [
        (True, True, [("FID ↓", 8), ("FD-CIFAR ↓", 4)]),
        (True, False, [("FID ↓", 8)]),
        (False, True, [("FD-CIFAR ↓", 4), ("FID ↓", 4)]),
        (False, False, [("FID ↓", 4)]),
    ],
)
def test_tradeoff_never_mixes_metrics(tmp_path, drawn, fid, fd_cifar, expected):
    figures.draw_tradeoff(outputs(tmp_path), write_points(tmp_path / "t.csv", fid, fd_cifar))
    assert_written(tmp_path)
    assert [(ax.get_ylabel(), len(ax.texts)) for ax in drawn[0].axes] == expected
    for ax in drawn[0].axes:
        texts = [text.get_text() for text in ax.texts]
        assert ("half" in texts) == (fid if ax.get_ylabel() == "FID ↓" else fd_cifar)
        assert ("no discriminator" in texts) == (ax.get_ylabel() == "FID ↓")


def boxes(figure, ax):
    figure.set_dpi(200)
    canvas = FigureCanvasAgg(figure)  # saving as PDF has put another one in place
    canvas.draw()
    renderer = canvas.get_renderer()
    return [super(type(text), text).get_window_extent(renderer) for text in ax.texts]


@pytest.mark.parametrize("sd", [None, 0.4])
def test_tradeoff_labels_keep_clear_of_each_other(tmp_path, drawn, sd):
    figures.draw_tradeoff(outputs(tmp_path), write_points(tmp_path / "t.csv", True, True, sd))
    for ax in drawn[0].axes:
        assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes(drawn[0], ax), 2))
        assert all(text.get_fontsize() >= 8 for text in ax.texts)


def test_labels_of_coincident_points_are_spread_inside_the_axes():
    figure, ax = plt.subplots()
    ax.set(xlim=(0, 1), ylim=(0, 1))
    figure.canvas.draw()
    label_points(ax, [(0.98, 0.98)] * 6, [f"a long label {i}" for i in range(6)])
    found = boxes(figure, ax)
    frame = ax.get_window_extent().frozen()
    plt.close(figure)
    assert not any(a.overlaps(b) for a, b in itertools.combinations(found, 2))
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1 for box in found)


def write_history(path, bpd, hybrid=False):
    lines = []
    for i, value in enumerate(bpd):
        row = {"step": 50 * i, "images": 3200 * (i + 1), "bpd": value, "images_per_second": 100.0}
        if hybrid:
            row.update(discriminator_real=0.7, discriminator_fake=0.3)
        lines.append(json.dumps(row))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_training_leaves_out_panels_without_data(tmp_path, drawn):
    alone = write_history(tmp_path / "a.jsonl", [4.0, 3.9])
    figures.draw_training(outputs(tmp_path), [("a", alone)])
    assert_written(tmp_path)
    assert [ax.get_ylabel() for ax in drawn[0].axes] == ["bits/dim of the batch", "images per second"]
    hybrid = write_history(tmp_path / "b.jsonl", [4.0] * 60, hybrid=True)
    figures.draw_training(outputs(tmp_path), [("a", alone), ("b", hybrid)])
    assert [ax.get_ylabel() for ax in drawn[1].axes][1] == "mean score D(image)"
    assert [text.get_text() for text in drawn[1].legends[0].texts] == ["a", "b"]


def test_training_draws_a_single_logged_step(tmp_path, drawn):
    figures.draw_training(outputs(tmp_path), [("a", write_history(tmp_path / "a.jsonl", [4.0], hybrid=True))])
    assert_written(tmp_path)
    assert len(drawn[0].axes) == 3


def test_first_steps_do_not_flatten_the_curve_but_a_late_rise_is_shown(tmp_path, drawn):
    fresh = write_history(tmp_path / "a.jsonl", [900.0, 30.0] + [4.0] * 98)
    risen = write_history(tmp_path / "b.jsonl", list(np.linspace(4, 7, 100)))
    figures.draw_training(outputs(tmp_path), [("a", fresh), ("b", risen)])
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 4
    assert 7 < high < 8
    assert "cut off (up to 900)" in drawn[0].axes[0].get_title()


def test_history_repeated_and_broken_steps(tmp_path):
    path = tmp_path / "h.jsonl"
    path.write_text(
        '{"step": 1, "images": 10, "bpd": 9}\n{"step": 2, "images": 20, "bpd": NaN}\n'
        '{"step": 1, "images": 10, "bpd": 5}\n'
    )
    history = read_history(path)
    assert list(history.step) == [1, 2]
    assert history.bpd[0] == 5
    assert np.isnan(history.bpd[1])
    path.write_text('{"step": 1, "images": 10}\n{"step": 2, "ima')
    with pytest.raises(UserError, match=r"line 2 of .*h.jsonl is not a JSON object"):
        read_history(path)
    path.write_text("\n")
    with pytest.raises(UserError, match="has no logged step"):
        read_history(path)
    path.unlink()
    with pytest.raises(UserError, match="cannot read"):
        read_history(path)


def test_same_data_give_the_same_bytes_and_other_formats_are_refused(tmp_path):
    table = write_points(tmp_path / "t.csv", True, True)
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        figures.draw_tradeoff(outputs(folder), table)
    for a, b in zip(outputs(first), outputs(second), strict=True):
        assert a.read_bytes() == b.read_bytes()
    with pytest.raises(UserError, match=r"must end in .png or .pdf"):
        figures.draw_tradeoff([tmp_path / "figure.jpg"], table)
