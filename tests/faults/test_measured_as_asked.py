"""Weights that were never trained, and numbers that were measured otherwise than the configuration asks."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from checkout import MICRO, ROOT, Project
from tiny import TINY_FLOW

from hybridflow.config.experiment import Settings
from hybridflow.config.loading import load_settings
from hybridflow.io.records import read_record, write_record
from hybridflow.models.checkpoint import load_generator, save_checkpoint
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.layers.batchnorm import has_statistics
from hybridflow.report.asked import check_asked
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise


def saved(path: Path, flow: DenseFlow) -> Path:
    save_checkpoint(path, {"flow": flow}, {"key": "k", "flow": TINY_FLOW.model_dump(mode="json")})
    return path


def test_a_flow_that_never_saw_data_is_refused(tmp_path):
    """First no ActNorm, then no BatchNorm; both after one batch are fine."""
    torch.manual_seed(0)
    flow = DenseFlow(TINY_FLOW, (3, 32, 32))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with pytest.raises(UserError, match="layers never saw data"):
        load_generator(saved(tmp_path / "fresh", flow))
    flow.eval().initialize(images, 0)  # ActNorm sets itself, and BatchNorm in evaluation mode learns nothing
    assert not flow.ready
    assert not has_statistics(flow)
    with pytest.raises(UserError, match="layers never saw data"):
        load_generator(saved(tmp_path / "initialised", flow))
    flow.train().log_prob(images, GeneratorNoise(0, torch.device("cpu")))
    assert has_statistics(flow)
    load_generator(saved(tmp_path / "trained", flow))


def test_one_layer_without_statistics_is_enough(tmp_path):
    torch.manual_seed(0)
    flow = DenseFlow(TINY_FLOW, (3, 32, 32))
    flow.initialize(torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8), 0)
    assert has_statistics(flow)
    layers = [module for module in flow.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    layers[-1].reset_running_stats()
    with pytest.raises(UserError, match="layers never saw data"):
        load_generator(saved(tmp_path / "one", flow))


def measured(folder: Path, settings: Settings, **changes: object) -> tuple[dict, dict]:
    """Evaluation files of the variant ``baseline`` as the settings ask for, with changes."""
    likelihood = {"checkpoint": "k", "split": "test", "importance_samples": 2, "seed": 0, "images": 30}
    fidelity = {"checkpoint": "k", "images": 40, "temperature": 1.0, "sampling_seed": 0, "repeats": 1}
    files = []
    for name, values in (("likelihood", likelihood), ("fidelity", fidelity)):
        own = {key.removeprefix(f"{name}_"): value for key, value in changes.items() if key.startswith(f"{name}_")}
        write_record(folder / f"{name}.json", values | own)
        files.append({("baseline", 0): folder / f"{name}.json"})
    return files[0], files[1]


@pytest.mark.parametrize(
    ("name", "value", "asked"),
    [
        ("likelihood_checkpoint", "other", "'k'"),
        ("likelihood_split", "holdout", "'test'"),
        ("likelihood_importance_samples", 20, "2"),
        ("likelihood_seed", 1, "0"),
        ("likelihood_images", 29, "30"),
        ("fidelity_checkpoint", "other", "'k'"),
        ("fidelity_images", 41, "40"),
        ("fidelity_temperature", 0.9, "1.0"),
        ("fidelity_sampling_seed", 3, "0"),
        ("fidelity_repeats", 3, "1"),
    ],
)
def test_numbers_that_the_configuration_does_not_ask_for(tmp_path, name, value, asked):
    settings = load_settings(ROOT / "config.yaml", MICRO)
    check_asked(settings, {("baseline", 0): "k"}, *measured(tmp_path, settings))
    file, _, setting = name.partition("_")
    path = tmp_path / f"{file}.json"
    expected = (
        f"table: {setting!r} is {value!r} in {path}, but the configuration asks for {asked}; replace it with "
        "a good copy."
    )
    with pytest.raises(UserError, match=f"^{re.escape(expected)}$"):
        check_asked(settings, {("baseline", 0): "k"}, *measured(tmp_path, settings, **{name: value}))


@pytest.mark.workflow
def test_snakemake_that_does_not_look_at_settings(finished, tmp_path):
    """With --rerun-triggers mtime a changed setting measures nothing again; the table does not take the old numbers."""
    shutil.copytree(finished.path, tmp_path / "project", symlinks=True)
    project = Project(tmp_path / "project")
    project.write("more.yaml", "evaluation: {likelihood: {importance_samples: 3}}")
    path = "results/micro/baseline/seed0/likelihood.json"
    said = project.run(
        *(sys.executable, "-m", "snakemake", "results/micro/table1.md", "--cores", "1", "--rerun-triggers", "mtime"),
        *("--forcerun", "build_table", "--configfile", "micro.yaml", "more.yaml"),
        check=False,
    ).stdout
    assert f"error: table: 'importance_samples' is 2 in {path}, but the configuration asks for 3; delete it" in said
    assert "Traceback" not in said
    assert read_record(project.path / path)["importance_samples"] == 2
