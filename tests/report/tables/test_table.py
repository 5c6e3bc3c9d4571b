"""Table 1: its numbers, its notes, and its three forms."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from experiment import BPD, Experiment

from hybridflow.config.extractors import INCEPTION_SHA256
from hybridflow.config.generators import DenseFlowSettings
from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.tables import columns
from hybridflow.report.tables.columns import Column
from hybridflow.report.tables.render import escape_latex
from hybridflow.report.tables.table import read_csv, write_csv, write_table
from hybridflow.runtime.errors import UserError

ENDINGS = ("", "_sd", "_low", "_high", "_min", "_max")
COLUMNS = ["variant", "discriminator", "loss", "factor", "family", "seeds", *(f"bpd{end}" for end in ENDINGS)]


def write(experiment: Experiment) -> tuple[pd.DataFrame, str, str]:
    """The table as numbers, Markdown and LaTeX."""
    csv, markdown, latex = (experiment.folder / f"table1.{kind}" for kind in ("csv", "md", "tex"))
    write_table(csv, markdown, latex, experiment.read())
    return read_csv(csv), markdown.read_text(encoding="utf-8"), latex.read_text(encoding="utf-8")


def rows(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines() if line.startswith("|")]


def test_one_row_a_variant_with_means_and_deviations_over_seeds(make_experiment: Callable[..., Experiment]) -> None:
    table, markdown, _ = write(make_experiment(seeds=[0, 1]))
    distances = [f"{name}{end}" for name in ("fd_cifar", "fd_cifar_test") for end in ENDINGS]
    assert list(table.columns) == [*COLUMNS, *distances, "reference_bpd", "reference_fid"]
    assert list(table.variant) == ["baseline", "control", "dcgan-0.5"]
    assert list(table.discriminator) == ["none", "none", "dcgan"]
    assert list(table.loss.fillna("")) == ["", "", "non_saturating"]
    assert list(table.family) == ["denseflow"] * 3
    assert list(table.seeds) == [2] * 3
    assert list(table.bpd) == pytest.approx([bpd + 0.05 for bpd in BPD.values()], abs=0.5)
    assert list(table.bpd_sd) == pytest.approx([0.1 / math.sqrt(2)] * 3)
    assert list(table.fd_cifar) == [41, 42, 43]
    assert list(table.fd_cifar_sd) == pytest.approx([math.sqrt(2)] * 3)
    assert list(table.fd_cifar_min) == [40, 41, 42]
    assert list(table.fd_cifar_max) == [42, 43, 44]
    assert list(table.fd_cifar_test) == [141, 142, 143]
    assert "| dcgan-0.5 | dcgan | 0.5 |" in markdown
    assert "± 0.071 | 43.000 ± 1.414 | 3.35 | 41.5 |" in markdown


def test_metrics_on_feature_vectors_name_their_numbers_of_images(make_experiment: Callable[..., Experiment]) -> None:
    names = ["fd_cifar", "coverage_cifar", "authpct_cifar", "fd_infinity_cifar"]
    experiment = make_experiment(evaluation={"metrics": names, "table": names})
    experiment.calibrate()
    table, markdown, _ = write(experiment)
    assert list(table.coverage_cifar) == [140, 141, 142]
    for heading, images, others, scale, number in (
        ("FD-CIFAR", 40, 64, "the same 64", "1.250 for test images, N = 40"),
        ("Coverage", 10, 10, "as many", "1.250 for test images, N = 10"),
        ("AuthPct", 10, 20, "the same 20", "1.2 for test images, N = 10"),
        ("FD∞", 10, 64, "the same 64", "1.250 for test images, N = 10"),
    ):
        lines = [line for line in markdown.splitlines() if line.startswith(f"- {heading}")]
        assert f"{images} generated images against {others} training images" in lines[0]
        assert f" of other images against {scale} training images: {number};" in lines[1]


def test_one_seed_has_errors_over_images(experiment: Experiment) -> None:
    table, markdown, latex = write(experiment)
    assert table[["bpd_sd", "fd_cifar_sd", "bpd_min", "bpd_max"]].isna().all(axis=None)
    assert list(table.fd_cifar_low) == pytest.approx([40 - 0.98, 41 - 0.98, 42 - 0.98], abs=1e-3)
    assert list(table.fd_cifar_high) == pytest.approx([40 + 0.98, 41 + 0.98, 42 + 0.98], abs=1e-3)
    assert (
        rows(markdown)[0] == "| Variant | Discriminator | Factor | BPD ↓ | FD-CIFAR ↓ | Reference BPD | Reference FID |"
    )
    assert rows(markdown)[3].endswith("| 41.000 ± 0.500 | – | – |")  # nobody reports anything for it
    assert r"41.000 $\pm$ 0.500" in latex
    assert "One training seed: ± is the standard error over images" in markdown


def test_several_seeds_have_deviations_and_intervals_over_them(make_experiment: Callable[..., Experiment]) -> None:
    table, markdown, _ = write(make_experiment(seeds=[0, 1, 2]))
    assert table.fd_cifar_sd[0] == pytest.approx(2)  # 40, 42, 44
    half = 4.302653 * 2 / math.sqrt(3)  # Student's quantile with 2 degrees of freedom
    assert (table.fd_cifar_low[0], table.fd_cifar_high[0]) == pytest.approx((42 - half, 42 + half))
    assert "42.000 ± 2.000" in markdown
    assert "± is the sample standard deviation over them" in markdown


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_intervals_of_shares_stay_within_their_limits(make_experiment: Callable[..., Experiment], seeds) -> None:
    experiment = make_experiment(seeds=seeds, evaluation={"metrics": ["recall_cifar"]})
    for name, values in {"baseline": (0, 0, 0), "control": (0.01, 0, 0.03), "dcgan-0.5": (0.99, 1, 0.97)}.items():
        for seed, value in enumerate(values[: len(seeds)]):
            entry = {"value": value, "se": value and 0.02, "version": 1}
            experiment.change("fidelity", name, seed, metrics={"recall_cifar": entry})
    table, _, _ = write(experiment)
    nothing, few, most = table[["recall_cifar_low", "recall_cifar_high"]].to_numpy()
    assert np.isnan(nothing).all(), "no hit is no certainty that there can be none"
    assert few[0] == 0 < few[1]
    assert most[0] < 1 == most[1]


def test_the_configuration_chooses_what_is_printed(make_experiment: Callable[..., Experiment]) -> None:
    table, markdown, _ = write(make_experiment(evaluation={"table": ["fd_cifar_test"]}))
    assert {"fd_cifar", "fd_cifar_test"} < set(table.columns)
    assert "| BPD ↓ | FD-CIFAR (test) ↓ |" in markdown
    with pytest.raises(UserError, match=r"`evaluation.table` names 'fd_cofar', which is not in `evaluation.metrics`"):
        make_experiment(experiment="other", evaluation={"table": ["fd_cofar"]})


def test_the_notes_say_how_it_was_measured(experiment: Experiment) -> None:
    experiment.calibrate()
    _, markdown, latex = write(experiment)
    for part in (
        "The experiment micro is a small run: its numbers are not comparable",
        "BPD: bits per dimension of 30 images of the test split, importance-weighted bound with K = 2",
        "the features of our CIFAR-10 classifier; not FID (test accuracy 91.2 %). 40 generated images against",
        "FD-CIFAR of other images against the same 64 training images: 1.250 for test images, N = 40; 5.000 for "
        "noisier images, N = 40.",
        "Reference: what others report for CIFAR-10, as they measured it (master's thesis (FER Zagreb, 2022)",
        "(standard error over images 0.1",
        ", FD-CIFAR (test) 140.000",
    ):
        assert part in markdown
        assert escape_latex(part) in latex
    assert "singular" not in markdown


def test_few_images_and_many_features_get_a_note(make_experiment: Callable[..., Experiment]) -> None:
    _, markdown, _ = write(make_experiment(evaluation={"extractors": {"cifar_classifier": {"width": 10}}}))
    assert "FD-CIFAR is of 40 images with 40 features: the covariance of so few is singular" in markdown


def test_no_reference_stands_beside_other_images(experiment: Experiment) -> None:
    own = experiment.settings.dataset.model_copy(update={"source": "folder"})
    experiment.settings = experiment.settings.model_copy(update={"dataset": own})
    table, markdown, _ = write(experiment)
    assert table[["reference_bpd", "reference_fid"]].isna().all(axis=None)
    assert "eference" not in markdown
    assert "thesis" not in markdown


def test_a_distance_of_other_inception_weights_is_never_called_fid(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment(evaluation={"metrics": ["fid", "fd_cifar"]})
    table, markdown, _ = write(experiment)
    assert table.fid.isna().all()
    assert "FID is left out: the Inception weights of this experiment (SHA-256 abababab...) are a stand-in" in markdown
    assert "| – | 140.000 ± 1.500 | 3.05 | 44 |" in rows(markdown)[2]
    for name, _ in experiment.settings.models:
        weights = {"inception": INCEPTION_SHA256, "cifar_classifier": "c"}
        experiment.change("fidelity", name, weights_sha256=weights)
    table, markdown, _ = write(experiment)
    assert list(table.fid) == [40, 41, 42]
    assert "| 40.0 ± 0.5 | 140.000 ± 1.500 | 3.05 | 44 |" in rows(markdown)[2]


def test_bits_per_dimension_alone_make_a_table(make_experiment: Callable[..., Experiment]) -> None:
    table, markdown, _ = write(make_experiment(evaluation={"metrics": []}))
    assert list(table.columns) == [*COLUMNS, "reference_bpd", "reference_fid"]
    assert "The samples were not compared" in markdown
    assert "generated images" not in markdown


def test_a_generator_without_a_likelihood_has_a_dash(experiment: Experiment) -> None:
    class Gan(DenseFlowSettings):
        has_likelihood = False

    variants = experiment.settings.variants
    gan = variants["control"].model_copy(update={"generator": Gan(**variants["control"].generator.model_dump())})
    experiment.settings = experiment.settings.model_copy(update={"variants": variants | {"control": gan}})
    table, markdown, _ = write(experiment)
    assert list(table.bpd.isna()) == [False, True, False]
    assert "| control | none | 0 | – | 41.000 ± 0.500 |" in markdown
    assert "- control: FD-CIFAR (test) 141.000" in markdown


def test_latex_is_escaped_and_balanced(experiment: Experiment) -> None:
    experiment.calibrate()
    _, _, latex = write(experiment)
    assert latex.count(r"\begin{") == latex.count(r"\end{") == 3
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert all(line.count(" & ") == 6 and line.endswith(r" \\") for line in body.strip().splitlines())
    assert latex.isascii()
    assert not re.search(r"(?<!\\)[_%#]", latex.split("\n", 1)[1])
    assert escape_latex(r"a_b&50%\~") == r"a\_b\&50\%\textbackslash{}\textasciitilde{}"


def test_names_that_look_like_something_else_stay_names(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", pd.DataFrame({"variant": ["NA", "007"], "bpd": [1 / 3, None]}))
    table = read_csv(tmp_path / "t.csv")
    assert list(table.variant) == ["NA", "007"]
    assert table.bpd[0] == 0.3333333333
    assert math.isnan(table.bpd[1])


def test_a_metric_is_one_declaration(
    make_experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Metric("toy", "Toy", "cifar_classifier", abs, "a toy", digits=1, better="higher")
    monkeypatch.setitem(METRICS, "toy", toy)
    table, markdown, _ = write(make_experiment(evaluation={"metrics": ["toy"]}))
    assert list(table.toy) == [40, 41, 42]
    assert {"toy_sd", "toy_low", "toy_high"} < set(table.columns)
    assert "| Toy ↑ |" in markdown
    assert "| 42.0 ± 0.5 |" in markdown
    assert "Toy: a toy (test accuracy 91.2 %). 40 generated images against 64 training images" in markdown


def test_a_metric_that_is_not_calibrated_has_no_scale(make_experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Metric("toy", "Toy", "cifar_classifier", abs, "a toy", reference="test")  # calibration is on training images
    monkeypatch.setitem(METRICS, "toy", toy)
    experiment = make_experiment(evaluation={"metrics": ["fd_cifar", "toy"]})
    experiment.calibrate()
    _, markdown, _ = write(experiment)
    assert "FD-CIFAR of other images" in markdown
    assert "Toy of other images" not in markdown


def test_a_column_is_one_object(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Column(
        "steps", "Steps", lambda row: 5.0, "{:.0f}k".format, spread=lambda row: 2.0, further={"sd": lambda row: 2.0}
    )
    monkeypatch.setattr(columns, "MODEL_COLUMNS", [*columns.MODEL_COLUMNS, toy])
    table, markdown, latex = write(experiment)
    assert list(table.steps) == [5.0] * 3
    assert "| Steps | FD-CIFAR ↓ |" in markdown
    assert "| 5k ± 2k |" in markdown
    assert r"& 5k $\pm$ 2k &" in latex


def test_families_have_a_column_where_they_differ(experiment: Experiment) -> None:
    (family,) = [column for column in columns.MODEL_COLUMNS if column.name == "family"]
    assert "Family" not in write(experiment)[1]
    assert not family.shown(["denseflow", "denseflow"])
    assert family.shown(["denseflow", "nice"])
