"""Weights that were never trained, and numbers that were measured otherwise than the configuration asks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tiny import TINY_FLOW

from hybridflow.io.records import read_record
from hybridflow.models.checkpoint import load_generator, save_checkpoint
from hybridflow.models.generators.denseflow import DenseFlow
from hybridflow.models.layers.batchnorm import has_statistics
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


@pytest.mark.workflow
def test_snakemake_that_does_not_look_at_settings(finished, tmp_path):
    """With --rerun-triggers mtime a changed setting measures nothing again; the table does not take the old numbers."""
    project = finished.copy(tmp_path / "project")
    project.write("more.yaml", "evaluation: {likelihood: {importance_samples: 3}}")
    path = "results/micro/baseline/seed0/likelihood.json"
    said = project.run(
        *(sys.executable, "-m", "snakemake", "results/micro/table1.md", "--cores", "1", "--rerun-triggers", "mtime"),
        *("--forcerun", "build_table", "--configfile", "micro.yaml", "more.yaml"),
        check=False,
    ).stdout
    assert f"error: 'importance_samples' is 2 in {path}, but 3 in the configuration; delete it" in said
    assert "Traceback" not in said
    assert read_record(project.path / path)["importance_samples"] == 2
