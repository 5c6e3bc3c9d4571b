"""The experiment of config.yaml at its real size: one training step of two images, two samples, and memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import IMAGES

from hybridflow.config.loading import load_settings
from hybridflow.evaluation.sampling import sample_images
from hybridflow.training.batches import Batches
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_paper_model_trains_and_samples(tmp_path: Path) -> None:
    settings = load_settings(ROOT / "config.yaml")
    variant = settings.variants["resnet18-0.5"]
    training = variant.training.model_copy(update={"batch_size": 2})
    variant = variant.model_copy(update={"training": training, "init_from": None})
    cpu = torch.device("cpu")
    batches = Batches(IMAGES, training, 0, cpu)
    job = Job(variant, 0, "key", None, *(tmp_path / name for name in "abcd"), dataset_hash="")
    state = initial_state(job, batches, cpu)
    assert sum(parameter.numel() for parameter in state.generator.parameters()) == 130_647_294
    before = {name: value.clone() for name, value in state.generator.named_parameters()}

    figures = training_step(state, batches, variant, 1e-4, seed=0)

    assert all(torch.isfinite(value) for value in figures.values())
    assert 7 < float(figures["bpd"]) < 14  # an untrained flow spends about as much as the raw 8 bits, or more
    # Most of a coupling network waits behind its last convolution, which starts at zero
    first = ("shift", "log_scale", "1.weight", "2.net.output.weight")
    watched = {n: value for n, value in state.generator.named_parameters() if "units" in n and n.endswith(first)}
    assert len(watched) == 4 * 74
    for name, value in watched.items():
        assert not torch.equal(before[name], value), name
    samples = sample_images(state.generator.eval(), range(2), 0, 1.0, cpu)
    assert samples.shape == (2, 3, 32, 32)
    assert samples.dtype == np.uint8
    assert samples.std() > 1
