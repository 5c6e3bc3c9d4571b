"""Made-up experiments: the micro preset with a third variant, and whatever a test changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from checkout import MICRO, ROOT
from experiment import Experiment

from hybridflow.config.loading import load_settings


@pytest.fixture
def make_experiment(tmp_path: Path) -> Callable[..., Experiment]:
    """Makes an experiment of the variants baseline, control and dcgan-0.5 with the given sections changed."""

    def make(**changes: object) -> Experiment:
        changes["variants"] = {"control": {"init_from": "baseline"}, **changes.get("variants", {})}
        (tmp_path / "changes.yaml").write_text(yaml.safe_dump(changes))
        settings = load_settings(ROOT / "config.yaml", MICRO, tmp_path / "changes.yaml")
        return Experiment(tmp_path / "results" / "micro", settings)

    return make


@pytest.fixture
def experiment(make_experiment: Callable[..., Experiment]) -> Experiment:
    """One seed, one set of samples, FD-CIFAR."""
    return make_experiment()
