"""Training curves: panels and limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from hybridflow.report.figures.style import series_colors
from hybridflow.report.figures.training_curves import TrainingCurve, draw_training_curves


def write_history(path: Path, bpd: list[float], hybrid: bool = False, speed: float = 100.0) -> Path:
    scores = {"discriminator_real": 0.7, "discriminator_fake": 0.3} if hybrid else {}
    rows = [
        {"step": 50 * i, "images": 3200 * (i + 1), "bpd": value, "images_per_second": speed} | scores
        for i, value in enumerate(bpd)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_panels_without_data_are_left_out(tmp_path: Path, drawn: list[Figure]) -> None:
    alone = write_history(tmp_path / "a.jsonl", [4.0])
    hybrid = write_history(tmp_path / "b.jsonl", [4.0] * 60, hybrid=True)
    outputs = [tmp_path / "figure.png", tmp_path / "figure.pdf"]
    draw_training_curves(outputs, [TrainingCurve("a", "likelihood alone", alone)])
    draw_training_curves(
        outputs, [TrainingCurve("a", "likelihood alone", alone), TrainingCurve("b", "likelihood alone", hybrid)]
    )
    labels = [[ax.get_ylabel() for ax in figure.axes] for figure in drawn]
    assert labels[0] == ["bits/dim of the batch", "images per second"]
    assert labels[1] == ["bits/dim of the batch", "mean score D(image)", "images per second"]
    assert [text.get_text() for text in drawn[1].legends[0].texts] == ["a", "b"]
    assert all(path.stat().st_size for path in outputs)


def test_further_training_has_a_row_and_a_variant_one_colour(tmp_path: Path, drawn: list[Figure]) -> None:
    long = write_history(tmp_path / "a.jsonl", [4.0] * 60)
    short = [write_history(tmp_path / f"b{seed}.jsonl", [4.0] * 9, hybrid=True) for seed in (0, 1)]
    models = [
        TrainingCurve("a", "likelihood alone", long),
        *(TrainingCurve("b", "likelihood alone", path, further=True) for path in short),
    ]
    draw_training_curves([tmp_path / "figure.png"], models)
    shown = [ax for ax in drawn[0].axes if ax.get_visible()]
    assert [ax.get_ylabel() for ax in shown[:2]] == [
        "bits/dim of the batch",
        "images per second",
    ]  # no scores without one
    assert [ax.get_ylabel() for ax in shown[2:]] == [
        "bits/dim of the batch",
        "mean score D(image)",
        "images per second",
    ]
    assert shown[0].get_xlim()[1] > 5 * shown[2].get_xlim()[1]
    assert len({line.get_color() for line in shown[2].lines}) == 1
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["a", "b"]


def test_a_recipe_has_its_colour_in_the_frontier_and_its_variants_shades(tmp_path: Path, drawn: list[Figure]) -> None:
    paired = tmp_path / "pairs.jsonl"
    rows = [{"step": i, "images": 32 * i, "discriminator_order": order} for i, order in enumerate((0.2, 0.9))]
    paired.write_text("".join(json.dumps(row) + "\n" for row in rows))
    names = {"base": "likelihood alone", "half": "pairs", "other": "bce", "nearly": "pairs", "full": "pairs"}
    models = [TrainingCurve(name, recipe, paired, recipe != "likelihood alone") for name, recipe in names.items()]
    draw_training_curves([tmp_path / "figure.png"], models)
    assert drawn[0].axes[0].get_ylabel() == "mean sign of D(real) − D(fake)"
    legend = drawn[0].legends[0]
    assert [text.get_text() for text in legend.texts] == ["base", "half", "nearly", "full", "other"]
    base, half, nearly, full, other = (np.array(to_rgb(line.get_color())) for line in legend.get_lines())
    for color, expected in zip((base, full, other), series_colors(3), strict=True):
        np.testing.assert_allclose(color, expected)
    shares = [(shade - full) / (1 - full) for shade in (half, nearly)]  # of white
    np.testing.assert_allclose(shares, [[0.6] * 3, [0.3] * 3])


def test_first_steps_do_not_flatten_the_curve_but_a_late_rise_is_shown(tmp_path: Path, drawn: list[Figure]) -> None:
    fresh = write_history(tmp_path / "a.jsonl", [900.0, 30.0] + [4.0] * 98)
    risen = write_history(tmp_path / "b.jsonl", list(np.linspace(4, 7, 100)))
    draw_training_curves(
        [tmp_path / "figure.png"],
        [TrainingCurve("a", "likelihood alone", fresh), TrainingCurve("b", "likelihood alone", risen)],
    )
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 4
    assert 7 < high < 8
    assert "cut off (up to 900)" in drawn[0].axes[0].get_title()


def test_no_model_hides_the_others(tmp_path: Path, drawn: list[Figure]) -> None:
    for fast, bad in ((150.0, 4.2), (1000.0, 6.5)):
        finals = {"a": (4.0, 20.0), "b": (4.02, 100.0), "c": (4.05, 100.0), "d": (bad, fast)}
        models = [
            TrainingCurve(name, "likelihood alone", write_history(tmp_path / f"{name}.jsonl", [bpd] * 9, speed=speed))
            for name, (bpd, speed) in finals.items()
        ]
        draw_training_curves([tmp_path / "figure.png"], models)
    plain, hidden = (figure.axes for figure in drawn)
    assert [ax.get_yscale() for ax in plain] == ["linear", "linear"]
    assert [ax.get_yscale() for ax in hidden] == ["function", "log"]
    assert plain[1].get_ylim()[0] == 0
    bpd = hidden[0]
    assert bpd.get_ylabel() == "bits/dim of the batch (stretched)"
    low, third, high = bpd.transData.transform([(0, y) for y in (4.0, 4.05, 6.5)])[:, 1]
    bottom, top = bpd.bbox.intervaly
    assert bottom < low < third < high < top
    assert (third - low) / (high - low) > 0.1, "in proportion, it would be 0.02"


def test_pauses_of_the_machine_do_not_change_the_axis(tmp_path: Path, drawn: list[Figure]) -> None:
    path = write_history(tmp_path / "a.jsonl", [4.0] * 9)
    text = path.read_text().replace('"images_per_second": 100.0', '"images_per_second": 1.0', 1)
    path.write_text(text)
    draw_training_curves([tmp_path / "figure.png"], [TrainingCurve("a", "likelihood alone", path)])
    assert drawn[0].axes[1].get_yscale() == "linear"
