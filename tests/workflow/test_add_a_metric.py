"""The worked example of a metric does what its page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from checkout import ROOT

from hybridflow.cli.main import main
from hybridflow.config.loading import load_settings
from hybridflow.config.metrics import METRICS
from hybridflow.evaluation.metrics.features import Features, evaluate
from hybridflow.evaluation.metrics.frechet import MomentAccumulator

PAGE = (ROOT / "docs/add-a-metric.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's files; the registry forgets the metric afterwards."""
    monkeypatch.chdir(tmp_path)
    for name, entry in list(METRICS.items()):
        monkeypatch.setitem(METRICS, name, entry)
    (tmp_path / "variety.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    yield tmp_path
    METRICS.pop("variety_cifar", None)


def features(vectors: np.ndarray) -> Features:
    accumulator = MomentAccumulator()
    accumulator.update(vectors)
    return Features(accumulator.moments(), vectors.astype(np.float16))


def test_the_metric_is_chosen_and_computed(here: Path) -> None:
    settings = load_settings(ROOT / "config.yaml", here / "mine.yaml")
    assert settings.evaluation.metrics == ("fd_cifar", "variety_cifar")
    vectors = np.random.default_rng(0).standard_normal((50, 6))
    assert evaluate(METRICS["variety_cifar"], features(2 * vectors), features(vectors)) == pytest.approx(4)


def test_the_list_has_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--extension", "variety.py"]) == 0
    assert "variety_cifar" in capsys.readouterr().out
