"""The page of details: differences, classes, the scale of the metrics, costs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from experiment import Experiment
from recorded import edit

from hybridflow.evaluation.extractors.cifar_network import CLASS_NAMES
from hybridflow.io.records import read_record, write_record
from hybridflow.models.discriminators.registry import build_discriminator
from hybridflow.models.generators.registry import build_generator
from hybridflow.report.details import write_details
from hybridflow.runtime.errors import UserError

HARDWARE = {"cpu": "A CPU", "cpus_usable": 2, "gpus": [{"name": "A GPU", "memory_gib": 24.0}]}


def page(experiment: Experiment) -> str:
    outputs = [experiment.folder / name for name in ("details.md", "differences.csv", "classes.csv", "costs.csv")]
    write_details(*outputs, experiment.read(), HARDWARE)
    return outputs[0].read_text(encoding="utf-8")


def test_the_page_has_what_was_measured(make_experiment: Callable[..., Experiment]) -> None:
    experiment = make_experiment()
    experiment.train()
    experiment.calibrate()
    text = page(experiment)

    table = pd.read_csv(experiment.folder / "differences.csv").set_index(["metric", "variant", "reference"])
    first = table.loc["bpd", "dcgan-0.5", "baseline"]
    cells = f"{first.difference:+.4g} | {first.low:+.4g} to {first.high:+.4g} | {first.sentence}"
    assert f"| BPD | dcgan-0.5 | baseline | {cells} |" in text
    assert "| FD-CIFAR | dcgan-0.5 | control |" in text
    assert "| FD-CIFAR (test) |" not in text

    classes = pd.read_csv(experiment.folder / "classes.csv")
    assert list(classes.columns) == ["variant", "seed", "images", *CLASS_NAMES]
    assert (classes[list(CLASS_NAMES)].sum(axis=1) == classes.images).all()
    # 22 of 40 are airplanes: 55 %; those above 10 % would have to change class
    assert "| baseline | 0 | 40 | 55.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 5.0 | 45.0 |" in text
    assert f"chance alone moves a share by {100 * math.sqrt(0.09 / 40):.1f}" in text

    assert "| Images | N | Against | FD-CIFAR |" in text
    assert "| half against half | 30 | 30 | 0.750 |" in text

    costs = pd.read_csv(experiment.folder / "costs.csv").set_index("variant")
    assert (costs[["steps", "seconds", "images_per_second"]] == [5, 10, 8]).all(axis=None)
    assert costs.starts_from.fillna("").to_dict() == {"baseline": "", "control": "baseline", "dcgan-0.5": "baseline"}
    variant = experiment.settings.variants["dcgan-0.5"]
    generator, discriminator = build_generator(variant.generator), build_discriminator(variant.discriminator)
    assert (costs.generator_parameters == sum(value.numel() for value in generator.parameters())).all()
    counted = [0, 0, sum(value.numel() for value in discriminator.parameters())]
    assert list(costs.discriminator_parameters) == counted
    assert "| control | baseline | cpu | 0 | 5 | 80 | 0:00:10 | 8.0 |" in text
    assert "A CPU, 2 usable CPUs, A GPU" in text


def test_long_trainings_have_their_hours(experiment: Experiment) -> None:
    experiment.train()
    files = experiment.files("control")
    Path(files.history).write_text(json.dumps({"step": 5, "images": 80, "seconds": 3600.0 * 250 + 61}) + "\n")
    record = read_record(files.checkpoint_record, ())
    write_record(files.checkpoint_record, record, [files.checkpoint, files.history])
    assert "| 250:01:01 |" in page(experiment)


def test_without_metrics_and_without_a_second_variant_the_rest_is_there(
    make_experiment: Callable[..., Experiment],
) -> None:
    experiment = make_experiment(evaluation={"metrics": []}, variants={"control": None, "dcgan-0.5": None})
    experiment.train()
    text = page(experiment)
    assert "There is no second variant" in text
    assert "Not counted" in text
    assert "The scale of" not in text
    assert "| baseline | – | cpu | 0 |" in text
    assert (experiment.folder / "classes.csv").read_text().count("\n") == 1


def test_a_checkpoint_or_history_of_another_training_is_refused(experiment: Experiment) -> None:
    experiment.train()
    Path(experiment.files("control").history).write_text('{"step": 5, "images": 80, "seconds": 1}\n')
    with pytest.raises(UserError, match=r"control/seed0/training.jsonl is damaged or was exchanged"):
        page(experiment)
    edit(Path(experiment.files("control").checkpoint_record), key="another")
    with pytest.raises(UserError, match=r"control/seed0/checkpoint.json describes key 'another', but"):
        page(experiment)
    assert not (experiment.folder / "details.md").exists()
