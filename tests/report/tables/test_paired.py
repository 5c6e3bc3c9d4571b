"""Differences of bits/dim, image by image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from experiment import Experiment

from hybridflow.report.tables.paired import load_bpd, paired_difference, paired_table, pairs_of
from hybridflow.runtime.errors import UserError


def test_paired_difference_is_that_of_the_images() -> None:
    mean, error, z = paired_difference(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 6.0]))
    assert (mean, error) == (1.0, pytest.approx(1 / math.sqrt(3)))  # differences 1, 2, 0: deviation 1
    assert z == pytest.approx(math.sqrt(3))
    assert math.isnan(paired_difference(np.ones(3), np.ones(3))[2])


def test_every_pair_is_there_once_and_a_variant_against_its_start() -> None:
    parents = {"a": None, "b": "c", "c": None}
    assert pairs_of(["a", "b", "c"], parents) == [("b", "a"), ("c", "a"), ("b", "c")]


def test_the_pairs_have_their_differences(experiment: Experiment) -> None:
    results = experiment.read()
    bpd = {model.files.variant: load_bpd(model) for model in results.models}
    paired = paired_table(results).set_index(["variant", "reference"])
    assert list(paired.index) == [("control", "baseline"), ("dcgan-0.5", "baseline"), ("dcgan-0.5", "control")]
    assert (paired.images == 30).all()
    for (variant, reference), row in paired.iterrows():
        for place, bound in enumerate(("elbo", "iwbo")):
            values = bpd[variant][:, place] - bpd[reference][:, place]
            error = values.std(ddof=1) / math.sqrt(30)
            found = [row[f"{bound}_{part}"] for part in ("difference", "se", "z")]
            assert found == pytest.approx([values.mean(), error, values.mean() / error])
            assert error < 0.01  # the images' difficulty, with a spread of 0.7, has cancelled
    assert paired.iwbo_difference["dcgan-0.5", "baseline"] == pytest.approx(0.25, abs=0.002)


def test_bounds_of_another_evaluation_are_refused(experiment: Experiment) -> None:
    results = experiment.read()
    path = Path(results.models[1].files.bounds)
    np.save(path, np.load(path) + 1)
    with pytest.raises(UserError, match=r"control/seed0/likelihood.npy is damaged or was exchanged"):
        paired_table(results)
