"""One table for the scale of every extractor's metrics."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from experiment import Experiment

from hybridflow.config.extractors import INCEPTION_SHA256
from hybridflow.config.metrics import METRICS, Metric
from hybridflow.report.tables.calibration import KEYS, calibration_section, calibration_table


def test_extractors_share_a_table(make_experiment: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "toy", Metric("toy", "Toy", "efficientnet_lite0", abs, "a toy", digits=1))
    experiment = make_experiment(evaluation={"metrics": ["fd_cifar", "toy"]})
    for extractor in ("cifar_classifier", "efficientnet_lite0"):
        experiment.calibrate(extractor)
    table = calibration_table(experiment.read())
    assert list(table.columns) == [*KEYS, "fd_cifar", "toy"]
    assert list(table["count"]) == [40, 60, 30, 40, 40, 40]
    assert list(table.toy) == list(table.fd_cifar) == [1.25, 0.5, 0.75, 2.5, 5, 2]
    assert list(table.strength.dropna()) == [5, 25, 15]
    assert "| noisy images | 40 | 64 | 2.500 | 2.5 |" in calibration_section(experiment.read())


def test_it_says_how_many_images_metrics_of_vectors_see(make_experiment: Callable[..., Experiment]) -> None:
    names = ["fd_cifar", "precision_cifar", "recall_cifar", "authpct_cifar", "fd_infinity_cifar"]
    experiment = make_experiment(evaluation={"metrics": names, "table": names})
    experiment.calibrate()
    exceptions = "Precision (CIFAR), Recall (CIFAR): as many as N, 20 at most; AuthPct (CIFAR): the first 20"
    assert f"(Against: how many; {exceptions})." in calibration_section(experiment.read())[2]


def test_other_inception_weights_have_no_scale(make_experiment: Callable[..., Experiment]) -> None:
    extractors = {"inception": {"calibrated": True}}
    experiment = make_experiment(evaluation={"metrics": ["fid", "fd_cifar"], "extractors": extractors})
    experiment.calibrate("inception")
    assert "fid" not in calibration_table(experiment.read())
    for name, seed in experiment.settings.models:
        experiment.change("fidelity", name, seed, weights_sha256={"inception": INCEPTION_SHA256})
    assert list(calibration_table(experiment.read()).fid) == [1.25, 0.5, 0.75, 2.5, 5, 2]


def test_nothing_calibrated_is_no_section(make_experiment: Callable[..., Experiment]) -> None:
    results = make_experiment().read()
    assert calibration_table(results).empty
    assert calibration_section(results) == []
