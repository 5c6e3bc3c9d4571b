"""The worked example of a family does what its page says."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path

import pytest
import torch
from checkout import ROOT

from hybridflow.cli.main import main
from hybridflow.config.generators import GENERATORS
from hybridflow.config.loading import load_extensions, load_settings
from hybridflow.models.checkpoint import save_checkpoint
from hybridflow.models.generators.registry import build_generator
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.batches import Batches
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step

PAGE = (ROOT / "docs/add-a-family.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's only block of a language."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the example's files; the registry forgets the family afterwards."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linear_flow.py").write_text(block("python"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(block("yaml"), encoding="utf-8")
    yield tmp_path
    GENERATORS.pop("linear", None)


def test_it_is_a_flow_that_trains(here: Path) -> None:
    settings = load_settings(ROOT / "config.yaml", ROOT / "presets/smoke.yaml", here / "mine.yaml")
    variant = settings.variants["linear"]
    x = torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    flow = build_generator(variant.generator, (3, 4, 4)).double()
    encoding = flow.encode(x, GeneratorNoise(1, dtype=torch.float64))
    torch.testing.assert_close(flow.decode(encoding.latents), encoding.y)
    exact = torch.distributions.Normal(0.5, 0.3).log_prob(encoding.y).flatten(1).sum(1) - 48 * math.log(256)
    torch.testing.assert_close(encoding.log_prob, exact, rtol=1e-6, atol=0)

    cpu, images = torch.device("cpu"), torch.full((32, 3, 32, 32), 200, dtype=torch.uint8).numpy()
    batches = Batches(images, variant.training, 0, cpu)
    job = Job(variant, 0, "key", None, *(here / name for name in "abcd"), dataset_hash="")
    state = initial_state(job, batches, cpu)
    losses = [training_step(state, batches, variant, 0.02, 0)["loss"].item() for _ in range(5)]
    assert losses == sorted(losses, reverse=True)


def test_the_list_has_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--extension", "linear_flow.py"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  linear ")]
    assert "6,144" in line
    assert "6,144 parameters" in PAGE


def test_its_checkpoints_can_be_sampled(here: Path) -> None:
    load_extensions(("linear_flow.py",))
    settings = GENERATORS["linear"].settings()
    save_checkpoint(
        here / "linear.safetensors", {"flow": build_generator(settings)}, {"key": "k", "flow": settings.model_dump()}
    )
    del GENERATORS["linear"], sys.modules["hybridflow_extension_linear_flow"]  # as in a new process
    assert main(["sample", "linear.safetensors", "--n", "2", "--extension", "linear_flow.py"]) == 0
    assert (here / "grid.png").is_file()
