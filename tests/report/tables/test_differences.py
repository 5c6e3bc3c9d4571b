"""Differences between variants, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from experiment import Experiment

from hybridflow.report.tables import differences
from hybridflow.report.tables.differences import (
    against_references,
    difference_table,
    load_bpd,
    load_contributions,
    pairs_of,
)
from hybridflow.runtime.errors import UserError


def test_every_pair_is_there_once_and_a_variant_against_its_start() -> None:
    parents = {"a": None, "b": "c", "c": None}
    assert pairs_of(["a", "b", "c"], parents) == [("b", "a"), ("c", "a"), ("b", "c")]


def test_one_seed_has_paired_intervals_over_images(experiment: Experiment) -> None:
    results = experiment.read()
    found = difference_table(results).set_index(["metric", "variant", "reference"])
    pairs = [("control", "baseline"), ("dcgan-0.5", "baseline"), ("dcgan-0.5", "control")]
    assert list(found.index) == [
        (name, *pair) for name in ("bpd", "elbo", "fd_cifar", "fd_cifar_test") for pair in pairs
    ]
    assert (found.over == "images").all()
    images = {model.files.variant: load_bpd(model)[:, 1] for model in results.models}
    values = images["dcgan-0.5"] - images["baseline"]
    half = 1.959964 * values.std(ddof=1) / math.sqrt(30)
    row = found.loc["bpd", "dcgan-0.5", "baseline"]
    assert (row.difference, row.high - row.low) == pytest.approx((values.mean(), 2 * half))
    assert half < 0.01  # the images' difficulty, with a spread of 0.7, has cancelled
    assert row.sentence.startswith("dcgan-0.5 is worse than baseline: BPD higher by 0.25")
    parts = {model.files.variant: load_contributions(model)["fd_cifar"] for model in results.models}
    values = parts["control"] - parts["baseline"]
    row = found.loc["fd_cifar", "control", "baseline"]
    assert row.difference == 1
    # the distance is of 40 images, of which 30 have contributions
    assert row.high - row.low == pytest.approx(2 * 1.959964 * values.std(ddof=1) / math.sqrt(40))


def test_seeds_have_students_intervals(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment(seeds=[0, 1, 2])
    for seed, value in enumerate((39.0, 43.0, 47.5)):  # the baseline has 40, 42, 44
        metrics = {name: vars(part) | {"version": 1} for name, part in experiment.read().models[0].metrics.items()}
        metrics["fd_cifar"]["value"] = value
        experiment.change("fidelity", "control", seed, metrics=metrics)
    found = difference_table(experiment.read()).set_index(["metric", "variant", "reference"])
    row = found.loc["fd_cifar", "control", "baseline"]
    values = np.array([-1, 1, 3.5])
    half = 4.302653 * values.std(ddof=1) / math.sqrt(3)
    assert (row.low, row.high) == pytest.approx((values.mean() - half, values.mean() + half))
    assert (row.over, row.supported) == ("seeds", False)
    assert row.sentence == "FD-CIFAR of control and baseline cannot be told apart: 1.167 is within chance."


def test_a_metric_without_errors_has_no_interval(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "load_contributions", lambda model: {})
    found = difference_table(experiment.read()).set_index(["metric", "variant", "reference"])
    row = found.loc["fd_cifar", "control", "baseline"]
    assert math.isnan(row.low)
    assert row.supported is None
    assert row.sentence == "FD-CIFAR of control is higher than that of baseline by 1; its error is not known."


def test_equal_shares_cannot_be_told_apart_and_have_no_interval(
    make_experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = make_experiment(evaluation={"metrics": ["recall_cifar"]})
    hits = {"baseline": 0, "control": 0, "dcgan-0.5": 39}
    for name, count in hits.items():
        experiment.change("fidelity", name, metrics={"recall_cifar": {"value": count / 40, "se": 0.0, "version": 1}})
    monkeypatch.setattr(
        differences,
        "load_contributions",
        lambda model: {"recall_cifar": (np.arange(40) < hits[model.files.variant]).astype(float)},
    )
    found = difference_table(experiment.read()).set_index(["metric", "variant", "reference"])
    row = found.loc["recall_cifar", "control", "baseline"]
    assert math.isnan(row.low)
    assert row.supported is None
    assert row.sentence == "Recall (CIFAR) of control and baseline cannot be told apart: 0 is within chance."
    row = found.loc["recall_cifar", "dcgan-0.5", "baseline"]
    assert row.high == 1, "a share can be no more above another"
    assert row.supported


def test_what_is_printed_is_against_likelihood_training_and_the_start(experiment: Experiment) -> None:
    results = experiment.read()
    found = [(row.variant, row.reference) for row in against_references(difference_table(results), results)]
    assert found == 4 * [("control", "baseline"), ("dcgan-0.5", "baseline"), ("dcgan-0.5", "control")]


def test_bounds_of_another_evaluation_are_refused(experiment: Experiment) -> None:
    results = experiment.read()
    path = Path(results.models[1].files.bounds)
    np.save(path, np.load(path) + 1)
    with pytest.raises(UserError, match=r"control/seed0/likelihood.npy is damaged or was exchanged"):
        difference_table(results)
