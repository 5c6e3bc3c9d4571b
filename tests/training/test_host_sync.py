"""A training step must never wait for the device: no tensor's value is read on the host."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import TINY_FLOW
from torch.utils._python_dispatch import TorchDispatchMode

from hybridflow.config.adversarial import DCGANDiscriminatorSettings, NonSaturatingSettings
from hybridflow.config.experiment import Variant
from hybridflow.config.training import TrainingSettings
from hybridflow.training.batches import Batches
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step


class HostReads(TorchDispatchMode):
    """Collects where values of tensors are read on the host (``.item()``, ``bool()``, ``float()``)."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.ops.aten._local_scalar_dense.default:
            stack = traceback.extract_stack()
            # On a CPU Adamax keeps its step counter as a CPU tensor; on a GPU it is capturable and reads nothing.
            if not any("torch/optim" in frame.filename for frame in stack):
                self.places.append("".join(traceback.format_list(stack[-6:-1])))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("optimizer", ["adam", "adamax"])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("stabilised", [False, True])
def test_a_step_reads_nothing_on_the_host(
    tmp_path: Path, optimizer: str, checkpointing: bool, stabilised: bool
) -> None:
    from hybridflow.models.layers.checkpointing import network_checkpointing

    training = TrainingSettings(
        batch_size=8,
        optimizer={"name": optimizer},
        gradient_clip=1.0,
        ema_decay=0.9,
    )
    adversarial = NonSaturatingSettings(
        gradient_clip=1.0,
        discriminator_steps=2,
        adaptive_weight=stabilised,
        inward_gradient=stabilised,
        penalties={"r1": 1.0 if stabilised else None},
        max_sample_magnitude=100.0 if stabilised else None,
    )
    variant = Variant(
        name="hybrid",
        discriminator_name="dcgan",
        discriminator=DCGANDiscriminatorSettings(width=4, spectral_norm=stabilised),
        adversarial_weight=0.5,
        init_from=None,
        generator=TINY_FLOW,
        adversarial=adversarial,
        training=training,
    )
    with np.load(Path(__file__).parents[1] / "data" / "cifar10_64.npz") as file:
        batches = Batches(file["images"], training, 0, torch.device("cpu"))
    job = Job(variant, 0, "key", None, *(tmp_path / name for name in "abcd"), dataset_hash="")
    state = initial_state(job, batches, torch.device("cpu"))
    with HostReads() as reads, network_checkpointing(checkpointing):
        for _ in range(3):
            training_step(state, batches, variant, 1e-3, seed=0)
            state.step += 1
    assert not reads.places, reads.places[0]


def test_the_counter_counts() -> None:
    with HostReads() as reads:
        float(torch.ones(()))
    assert len(reads.places) == 1
