"""Metrics against temperature: which records they are read from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from experiment import Experiment

from hybridflow.io.records import read_record, write_record
from hybridflow.report.tables.temperature import temperature_table
from hybridflow.runtime.errors import UserError


def measure(experiment: Experiment, name: str, temperature: float, offset: float) -> None:
    """A record at a temperature whose metrics are larger by ``offset`` than the samples' own."""
    run = experiment.files(name)
    record = read_record(run.fidelity, ())
    record = {key: value for key, value in record.items() if key not in ("files", "record_sha256")}
    record["sampling"] = record["sampling"] | {"temperature": temperature}
    record["metrics"] = {
        metric: entry | {"value": entry["value"] + offset, "se": None} for metric, entry in record["metrics"].items()
    }
    path = Path(run.at(f"{temperature:g}").fidelity)
    path.parent.mkdir(parents=True)
    write_record(path, record, [])


def test_a_row_per_metric_variant_and_temperature(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment(evaluation={"temperatures": [1.0, 0.5]})
    for name in experiment.settings.variants:
        measure(experiment, name, 0.5, offset=7)
    table = temperature_table(experiment.folder, experiment.settings)
    assert list(table.metric[:6]) == ["fd_cifar"] * 6
    assert list(table.variant[:4]) == ["baseline", "baseline", "control", "control"]
    assert list(table.temperature[:2]) == [0.5, 1.0]
    assert table.value[0] == table.value[1] + 7
    assert table.se.isna()[0]


def test_samples_at_another_temperature_are_refused(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment(evaluation={"temperatures": [0.5]})
    for name in experiment.settings.variants:
        measure(experiment, name, 0.5, offset=7)
    path = Path(experiment.files().at("0.5").fidelity)
    record = json.loads(path.read_text())
    record = {key: value for key, value in record.items() if key not in ("files", "record_sha256")}
    write_record(path, record | {"sampling": record["sampling"] | {"temperature": 0.75}}, [])
    with pytest.raises(UserError, match="sampling"):
        temperature_table(experiment.folder, experiment.settings)
