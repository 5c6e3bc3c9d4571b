"""Whatever is added in one file gets its jobs, its row and its column."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
from checkout import ROOT, Project, write_dataset

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

CONFIG = """
experiment: extended
extensions: [extension.py]
adversarial: {loss: absolute}
discriminators: {linear: {kind: linear}}
evaluation: {metrics: [fd_cifar, mean_distance]}
generator: {family: gaussian}
training: {distance: {extractor: cifar_classifier, every: 1, images: 100}}
variants:
  baseline: {training: {epochs: 0.5}}
  dcgan-0.5: {discriminator: linear, training: {epochs: 0.25}}
  painted:
    generator: {family: painter}
    discriminator: linear
    adversarial_weight: 1
    training: {epochs: 0.5}
"""


def test_one_file_adds_generators_a_discriminator_a_loss_and_a_metric(project: Project) -> None:
    write_dataset(project)
    shutil.copyfile(ROOT / "tests" / "helpers" / "extension.py", project.path / "extension.py")
    project.write("extended.yaml", CONFIG)
    project.snakemake("extended.yaml")
    results = project.path / "results" / "extended"
    table = pd.read_csv(results / "table1.csv", keep_default_na=False).set_index("variant")
    assert list(table.family) == ["gaussian", "gaussian", "painter"]
    assert list(table.loss) == ["", "absolute", "absolute"]
    assert (table.mean_distance.astype(float) > 0).all()
    assert table.bpd["painted"] == ""
    assert float(table.bpd["baseline"]) < 9
    assert "Mean distance" in (results / "table1.md").read_text()
    assert not (results / "painted" / "seed0" / "likelihood.json").exists()
    history = (results / "painted" / "seed0" / "training.jsonl").read_text().splitlines()
    assert all(json.loads(line)["distance"] > 0 for line in history)
    fidelity = json.loads((results / "painted" / "seed0" / "fidelity.json").read_text())
    assert fidelity["metrics"]["mean_distance"]["version"] == 1
