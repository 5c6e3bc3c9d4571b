"""Reading an experiment's records: what is refused to be mixed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from experiment import CLASS_COUNTS, Experiment

from hybridflow.config.generators import DenseFlowSettings
from hybridflow.io.records import write_record
from hybridflow.report.results import Measured, differences
from hybridflow.runtime.errors import UserError


def test_every_model_has_its_numbers(make_experiment: Callable[..., Experiment]) -> None:
    results = make_experiment(seeds=[0, 3]).read()
    assert [row.variant.name for row in results.rows] == ["baseline", "control", "dcgan-0.5"]
    assert [(model.files.variant, model.files.seed) for model in results.models][1:3] == [
        ("baseline", 3),
        ("control", 0),
    ]
    model = results.rows[1].models[1]
    assert model.metrics == {"fd_cifar": Measured(47.0, 0.5), "fd_cifar_test": Measured(147.0, 1.5)}
    assert model.class_counts == CLASS_COUNTS
    assert model.bounds.iwbo_bpd == pytest.approx(4.29, abs=0.5)
    assert model.measured_by == {"likelihood": "a" * 40, "fidelity": "a" * 40}


@pytest.mark.parametrize(
    ("record", "change", "sentence"),
    [
        ("likelihood", {"split": "holdout"}, "'split' is 'holdout' in {path}, but 'test' in the configuration"),
        ("likelihood", {"importance_samples": 20}, "'importance_samples' is 20 in {path}, but 2 in the configuration"),
        ("likelihood", {"images": 29}, "'images' is 29 in {path}, but 30 in the configuration"),
        ("likelihood", {"seed": 1}, "'seed' is 1 in {path}, but 0 in the configuration"),
        ("likelihood", {"version": 0}, "'version' is 0 in {path}, but 1 in the configuration"),
        ("likelihood", {"seed": ...}, "{path} does not say 'seed'"),
        ("likelihood", {"checkpoint": "other"}, "{path} describes checkpoint 'other', but "),
        ("fidelity", {"images": 41}, "'images' is 41 in {path}, but 40 in the configuration"),
        ("fidelity", {"sampling": {}}, "'sampling.batch_size' is 'absent' in {path}, but 20 in the configuration"),
        ("fidelity", {"metrics": {}}, "'metrics.fd_cifar' is 'absent' in {path}, but 1 in the configuration"),
        ("fidelity", {"metrics": {"fid": {"version": 1}}}, "'metrics.fd_cifar' is 'absent' in {path}"),
        ("fidelity", {"checkpoint": "other"}, "{path} describes checkpoint 'other', but "),
        ("fidelity", {"weights_sha256": {"cifar_classifier": "c"}}, "the rows of a table must be measured alike"),
        ("fidelity", {"extractors": {"cifar_classifier": {"accuracy": {"test": 0.8}}}}, "must be measured alike"),
        ("fidelity", {"reference_images": {"train": 63, "test": 60}}, "'reference_images.train' is 63 in {path}, but"),
    ],
)
def test_numbers_that_do_not_belong_to_the_others_are_refused(
    experiment: Experiment, record: str, change: dict[str, object], sentence: str
) -> None:
    experiment.change(record, "control", **change)
    with pytest.raises(UserError, match=re.escape(sentence.format(path=getattr(experiment.files("control"), record)))):
        experiment.read()


def test_an_older_version_of_a_metric_is_refused(experiment: Experiment) -> None:
    old = {"value": 1.0, "sd": None, "values": [1.0], "version": 0}
    experiment.change("fidelity", "dcgan-0.5", metrics={"fd_cifar": old, "fd_cifar_test": old | {"version": 1}})
    with pytest.raises(UserError, match=r"'metrics.fd_cifar' is 0 in .*dcgan-0.5.*, but 1 in the configuration"):
        experiment.read()


def test_a_missing_or_damaged_record_is_named(experiment: Experiment) -> None:
    path = Path(experiment.files("control").likelihood)
    path.write_text(path.read_text().replace("0", "1", 1))
    with pytest.raises(UserError, match=r"control/seed0/likelihood.json is damaged"):
        experiment.read()
    path.unlink()
    with pytest.raises(UserError, match=r"control/seed0/likelihood.json is missing"):
        experiment.read()


@pytest.mark.parametrize("calibrated", [True, False])
def test_a_calibration_that_is_switched_off_is_not_read(
    make_experiment: Callable[..., Experiment], calibrated: bool
) -> None:
    experiment = make_experiment(evaluation={"extractors": {"cifar_classifier": {"calibrated": calibrated}}})
    write_record(experiment.folder / "reference" / "calibration-cifar_classifier.json", {"rows": []}, ())
    assert list(experiment.read().calibrations) == ["cifar_classifier"] * calibrated


def test_a_generator_without_a_likelihood_needs_no_record_of_one(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DenseFlowSettings, "has_likelihood", False)
    for name, _ in experiment.settings.models:
        Path(experiment.files(name).likelihood).unlink()
    results = experiment.read()
    assert results.likelihood is None
    assert [model.bounds for model in results.models] == [None] * 3


def test_differences_have_dotted_names() -> None:
    a = {"x": {"y": 1, "z": [1]}, "w": 1}
    assert list(differences(a, {"x": {"y": 2, "z": [1]}})) == [("w", 1, "absent"), ("x.y", 1, 2)]
    assert list(differences(a, a)) == []
