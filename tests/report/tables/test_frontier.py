"""The frontier: what is beaten."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from experiment import Experiment

from hybridflow.report.tables.frontier import frontier_table, to_markdown
from hybridflow.report.tables.table import full_table


def table_of(experiment: Experiment) -> pd.DataFrame:
    return full_table(experiment.read())


def test_a_variant_beaten_in_both_is_not_on_the_front(experiment: Experiment) -> None:
    table = table_of(experiment)
    table["bpd"], table["fd_cifar"] = [3.0, 3.1, 3.2], [50.0, 50.0, 40.0]
    found = frontier_table(table, experiment.settings)
    assert list(found.metric) == ["fd_cifar"] * 3  # fd_cifar_test is not printed
    assert dict(zip(found.variant, found.on_front, strict=True)) == {
        "baseline": True,
        "control": False,
        "dcgan-0.5": True,
    }
    text = to_markdown(found, "micro")
    assert "| dcgan | 0.5 | dcgan-0.5 | 3.200 | 40.000 | yes |" in text
    assert "| likelihood alone | 0 | control | 3.100 | 50.000 | – |" in text


def test_it_names_the_lowest_and_the_highest_seed(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment(seeds=[0, 1, 2])
    table = table_of(experiment)
    found = frontier_table(table, experiment.settings).set_index("variant")
    assert list(found.bpd_min) == list(table.set_index("variant").bpd_min[found.index])
    np.testing.assert_allclose(found.bpd_max - found.bpd_min, 0.2)


def test_without_a_likelihood_there_is_no_point(experiment: Experiment) -> None:
    table = table_of(experiment)
    table.loc[table.variant == "dcgan-0.5", "bpd"] = np.nan
    assert list(frontier_table(table, experiment.settings).variant) == ["baseline", "control"]
    table["bpd"] = np.nan
    empty = frontier_table(table, experiment.settings)
    assert empty.empty
    assert "No variant has both" in to_markdown(empty, "micro")
