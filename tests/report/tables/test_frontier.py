"""The frontier: recipes, and what is beaten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from checkout import MICRO, ROOT
from experiment import Experiment

from hybridflow.config.experiment import Settings
from hybridflow.config.loading import load_settings
from hybridflow.report.tables.frontier import LIKELIHOOD, frontier_table, recipes, to_markdown
from hybridflow.report.tables.table import full_table

MORE = {
    "dcgan-1": {"discriminator": "dcgan", "adversarial_weight": 1.0, "init_from": "dcgan-0.5"},
    "hinge": {"discriminator": "dcgan", "adversarial_weight": 0.5, "adversarial": {"loss": "hinge"}},
    "slow": {
        "discriminator": "dcgan",
        "adversarial_weight": 0.5,
        "adversarial": {"discriminator_optimizer": {"lr": 1.0e-6}},
    },
    "resnet": {"discriminator": "resnet18", "adversarial_weight": 0.5},
}


def table_of(experiment: Experiment) -> pd.DataFrame:
    return full_table(experiment.read())


def load(path: Path, variants: dict[str, Any]) -> Settings:
    path.write_text(yaml.safe_dump({"variants": {"control": {"init_from": "baseline"}, **variants}}))
    return load_settings(ROOT / "config.yaml", MICRO, path)


def test_a_recipe_is_everything_but_the_weight(tmp_path: Path) -> None:
    settings = load(tmp_path / "few.yaml", {name: MORE[name] for name in ("dcgan-1", "resnet")})
    expected = {"baseline": LIKELIHOOD, "control": LIKELIHOOD, "dcgan-0.5": "dcgan", "dcgan-1": "dcgan"}
    assert recipes(settings.variants) == expected | {"resnet": "resnet18"}
    settings = load(tmp_path / "more.yaml", MORE)
    assert recipes(settings.variants) == {
        "baseline": LIKELIHOOD,
        "control": LIKELIHOOD,
        "dcgan-0.5": "dcgan, non_saturating (2)",
        "dcgan-1": "dcgan, non_saturating (2)",
        "hinge": "dcgan, hinge",
        "slow": "dcgan, non_saturating (1)",
        "resnet": "resnet18",
    }


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


def test_without_a_likelihood_there_is_no_point(experiment: Experiment) -> None:
    table = table_of(experiment)
    table.loc[table.variant == "dcgan-0.5", "bpd"] = np.nan
    assert list(frontier_table(table, experiment.settings).variant) == ["baseline", "control"]
    table["bpd"] = np.nan
    empty = frontier_table(table, experiment.settings)
    assert empty.empty
    assert "No variant has both" in to_markdown(empty, "micro")
