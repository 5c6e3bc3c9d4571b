"""Model cards: what they say is what the records say, and what they tell a reader to do works."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from experiment import DATASET, Experiment

from hybridflow.models.checkpoint import save_checkpoint
from hybridflow.models.generators.registry import build_generator
from hybridflow.report.cards import write_cards
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.store.entries import Entry, variant_entry


def publish(experiment: Experiment, name: str, seed: int, store: Path) -> Entry:
    """Puts DVC's notes into the store, as if the variant had been published."""
    entry = variant_entry(experiment.settings, name, seed, DATASET, store)
    store.mkdir(exist_ok=True)
    for path, note in zip(entry.files, entry.notes, strict=True):
        note.write_text(yaml.safe_dump({"outs": [{"path": path.name, "md5": "0" * 32}]}))
    return entry


def test_a_card_has_what_the_records_say(make_experiment: Callable[..., Experiment], tmp_path: Path) -> None:
    experiment = make_experiment(seeds=[0, 1])
    experiment.train()
    for seed in (0, 1):
        publish(experiment, "dcgan-0.5", seed, tmp_path / "store")
    publish(experiment, "control", 0, tmp_path / "store")  # its other seed is not
    (path,) = write_cards(experiment.read(), DATASET, ["micro.yaml"], tmp_path / "store")
    assert path == experiment.folder / "cards" / "dcgan-0.5.md"
    text = path.read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    said = yaml.safe_load(header)
    assert (said["license"], said["datasets"]) == ("mit", ["uoft-cs/cifar10"])
    assert {"denseflow", "non_saturating"} <= set(said["tags"])
    (found,) = said["model-index"][0]["results"]
    assert {metric["type"]: metric["value"] for metric in found["metrics"]}["fd_cifar"] == 43  # 42 and 44
    assert re.search(r"^\| FD-CIFAR ↓ \| 43\.000 \| 1\.414 \| 42\.000 \| 44\.000 \|$", body, re.MULTILINE)
    assert "w = 0.5; the discriminator is `dcgan`" in body
    assert "from the weights of `baseline`" in body
    (recipe,) = re.findall(r"```yaml\n(.*?)```", body, re.DOTALL)
    variant = experiment.settings.variants["dcgan-0.5"]
    assert yaml.safe_load(recipe)["training"] == variant.training.model_dump(mode="json")
    for part in ("hybridflow pull --configfile micro.yaml", "## Intended use and limits", "## Licence", "## Citation"):
        assert part in body


def test_its_code_loads_the_weights_and_draws_images(experiment: Experiment, tmp_path: Path) -> None:
    experiment.train()
    entry = publish(experiment, "baseline", 0, tmp_path / "store")
    flow = build_generator(experiment.settings.variants["baseline"].generator)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    flow.initialize(images, 0)
    flow.train().log_prob(images, GeneratorNoise(0, torch.device("cpu")))  # BatchNorm's statistics
    settings = experiment.settings.variants["baseline"].generator.model_dump(mode="json")
    save_checkpoint(tmp_path / "trained.safetensors", {"flow": flow}, {"key": entry.key, "flow": settings})
    shutil.copyfile(tmp_path / "trained.safetensors", entry.file(".safetensors"))
    (path,) = write_cards(experiment.read(), DATASET, [], tmp_path / "store")
    (code,) = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) == 5
    code += "assert (images.shape, images.dtype.name) == ((16, 3, 32, 32), 'uint8')\n"
    code += f"assert metadata['key'] == {entry.key!r}\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nothing_published_is_one_sentence(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cards: no variant of this configuration is published"):
        write_cards(experiment.read(), DATASET, [], tmp_path / "store")
