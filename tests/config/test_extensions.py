"""Files of one's own that register entries: the sentence for one that cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hybridflow.cli.listing import listing
from hybridflow.config.adversarial import LOSSES
from hybridflow.config.loading import load_extensions, parse_settings
from hybridflow.config.metrics import METRICS
from hybridflow.runtime.errors import UserError

NAMELESS = """
from typing import Literal

from hybridflow.config.adversarial import LOSSES, AdversarialSettings
from hybridflow.config.registry import Registered


class Undescribed(AdversarialSettings):
    loss: Literal["undescribed"] = "undescribed"


LOSSES["undescribed"] = Registered(Undescribed, object)
"""
MISSPELT = """
from hybridflow.config.metrics import METRICS, Metric

METRICS["misspelt"] = Metric("misspelt", "Misspelt", "cifar_clasifier", print, "a metric")
"""
OUT_OF_RANGE = """
from hybridflow.config.training import DistanceSettings
DistanceSettings(every=0)
"""


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.txt", "", "`extensions` names 'a.txt', which is not a Python file; its name must end in .py."),
        ("a.py", "x = 1\ny = z\n", "a.py failed in line 2: NameError: name 'z' is not defined; correct it."),
        ("a.py", "x = (\n", "a.py failed: SyntaxError: '(' was never closed (a.py, line 1); correct it."),
        ("a.py", "import sys\nsys.exit(3)\n", "a.py failed in line 2: SystemExit: 3; correct it."),
        ("a.py", "raise ValueError\n", "a.py failed in line 1: ValueError; correct it."),
        (
            "a.py",
            OUT_OF_RANGE,
            "a.py failed in line 3: ValidationError: 1 validation error for DistanceSettings: every",
        ),
    ],
)
def test_a_file_that_fails_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_extensions((name,))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    assert "hybridflow_extension_a" not in sys.modules


def test_a_misspelt_extractor_of_a_metric_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "misspelt", None)
    (tmp_path / "misspelt.py").write_text(MISSPELT, encoding="utf-8")
    config = {"experiment": "test", "variants": {"a": {}}, "evaluation": {"metrics": ["misspelt"]}}
    with pytest.raises(UserError, match=r"'misspelt' is .* 'cifar_clasifier', which .* mean `cifar_classifier`\?"):
        parse_settings(config | {"extensions": [str(tmp_path / "misspelt.py")]})


def test_settings_without_a_docstring_are_listed_by_their_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOSSES, "undescribed", None)
    (tmp_path / "nameless.py").write_text(NAMELESS, encoding="utf-8")
    load_extensions((str(tmp_path / "nameless.py"),))
    assert any(line.split() == ["undescribed", "Undescribed"] for line in listing())
