"""Every system of the preset runs through the whole workflow."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from checkout import Project, write_dataset

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SMALL = """
experiment: systems
dataset: {holdout: 0}
discriminators: {norm_free: {widths: [4, 4, 4, 4]}, layer_norm: {width: 2}}
training: &few {epochs: 0.5, warmup_steps: 2, final_phase: {epochs: 0}, distance: {every: 100, images: 100}}
evaluation: {metrics: [fd_cifar], table: null, likelihood: {importance_samples: 2}}
variants:
  baseline: null
  dcgan-0.5: null
  denseflow: null
  denseflow-0.5: null
  nice-0.5: null
  realnvp: {generator: {width: 2}}
  vae: {generator: {width: 4}}
  vae-mean: {generator: {family: vae, width: 4, sample: mean}}
  gan: {generator: {width: 4}, training: *few}
  glow: {generator: {steps: 1, width: 4}, training: *few}
  glow-0.5: {generator: {steps: 1, width: 4}, training: *few, adversarial: {warmup_steps: 2}}
  realnvp-0.5: null
  nice-control: null
  realnvp-control: null
  glow-control: {generator: {steps: 1, width: 4}, training: *few}
  denseflow-control: null
"""


def test_the_systems_stand_in_one_table(project: Project) -> None:
    write_dataset(project)
    project.write("small.yaml", SMALL)
    # the preset below the micro experiment, whose sizes hold
    project.snakemake("presets/systems-cpu.yaml", "micro.yaml", "small.yaml")
    results = project.path / "results" / "systems"
    table = pd.read_csv(results / "table1.csv", keep_default_na=False).set_index("variant")
    families = {
        **{"nice": "nice", "realnvp": "realnvp", "glow": "glow", "glow-0.5": "glow", "glow-control": "glow"},
        **{"vae": "vae", "vae-mean": "vae", "flow-gan": "nice", "gan": "dcgan"},
    }
    assert table.family.to_dict() == families
    assert (table.fd_cifar.astype(float) > 0).all()
    assert [name for name in table.index if table.bpd[name] == ""] == ["gan"]
    assert (table.bpd.drop("gan").astype(float) < 20).all()
    assert table.bpd["vae"] == table.bpd["vae-mean"]  # how it samples does not concern it
    assert table.fd_cifar["vae"] != table.fd_cifar["vae-mean"]
    (row,) = [line for line in (results / "table1.md").read_text().splitlines() if line.startswith("| gan ")]
    assert "| – |" in row
    assert "gan" not in set(pd.read_csv(results / "frontier.csv").variant)
    assert not (results / "gan" / "seed0" / "likelihood.json").exists()
    costs = pd.read_csv(results / "costs.csv").set_index("variant")
    assert (costs.generator_parameters > 0).all()
    history = [json.loads(line) for line in (results / "gan" / "seed0" / "training.jsonl").read_text().splitlines()]
    assert not any("bpd" in line for line in history)
    round_trips = {
        name: json.loads((results / name / "seed0" / "likelihood.json").read_text())["round_trip_levels"]
        for name in families
        if name != "gan"
    }
    assert [name for name, error in round_trips.items() if error is None] == ["vae", "vae-mean"]
    reconstructed = pd.read_csv(results / "pictures" / "reconstruction.csv").variant
    assert set(reconstructed) == {"nice", "realnvp", "glow", "glow-0.5", "glow-control", "flow-gan"}
