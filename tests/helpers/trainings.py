"""Small trainings: their settings, what they leave, and what a step reads on the host."""

from __future__ import annotations

import json
import multiprocessing
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pictures
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hybridflow.config.loading import parse_settings
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.training.batches import Batches
from hybridflow.training.loop import train
from hybridflow.training.resume import ResumeState
from hybridflow.training.state import Job, State, initial_state
from hybridflow.training.step import training_step

CPU = torch.device("cpu")
IMAGES = pictures.IMAGES[:32]

TINY = {
    "experiment": "test",
    "generator": {
        "units": [2, 1],
        "steps_per_unit": [1, 1],
        "growth_rate": 2,
        "coupling": {"mid_channels": [4, 4], "depth": 1, "growth": 4},
        "dequantization": {"steps": 1, "mid_channels": 4, "context_channels": 2, "depth": 1, "growth": 4},
    },
    "discriminators": {
        "dcgan": {"kind": "dcgan", "width": 4},
        "wide": {"kind": "dcgan", "width": 6},
        "spectral": {"kind": "dcgan", "width": 4, "spectral_norm": True},
        "norm_free": {"kind": "norm_free", "widths": [4, 4, 4, 4], "full_resolution": True},
        "resnet18": {"kind": "resnet18", "width": 16},  # oneDNN damages memory in its 4-channel layers on AVX2
        "sngan_resnet": {"kind": "sngan_resnet", "width": 4},
        "layer_norm": {"kind": "layer_norm", "width": 4},
        "patchgan": {"kind": "patchgan", "width": 4, "layers": 1},
    },
    "adversarial": {"discriminator_optimizer": {"name": "adam", "lr": 1e-3, "betas": [0.5, 0.999]}},
    "training": {
        "batch_size": 4,
        "epochs": 1.25,
        "optimizer": {"name": "adam", "lr": 1e-3},
        "warmup_steps": 2,
        "final_phase": {"epochs": 0.25, "lr": 1e-4},
        "log_every": 5,
        "device": "cpu",
        "resume_every_minutes": 1e-9,  # a resume state after every step
    },
    "variants": {
        "baseline": {},
        "hybrid": {
            "discriminator": "dcgan",
            "adversarial_weight": 0.5,
            "adversarial": {"gradient_clip": 1.0},
            "training": {"ema_decay": 0.9, "gradient_clip": 50.0},
        },
        "two-steps": {"discriminator": "dcgan", "adversarial_weight": 0.25, "adversarial": {"discriminator_steps": 2}},
        "balanced": {"discriminator": "dcgan", "adversarial_weight": 0.25, "adversarial": {"adaptive_weight": True}},
        "adversarial": {"discriminator": "dcgan", "adversarial_weight": 1},
        "stabilised": {
            "discriminator": "spectral",
            "adversarial_weight": 0.5,
            "adversarial": {
                "penalties": {"r1": 2.0},
                "adaptive_weight": True,
                "inward_gradient": True,
                "max_sample_magnitude": 1e3,
            },
        },
        "everything": {
            "discriminator": "norm_free",
            "adversarial_weight": 0.5,
            "adversarial": {
                "loss": "relativistic",
                "warmup_steps": 3,
                "discriminator_steps": 2,
                "discriminator_optimizer": {"lr": 1e-3, "betas": [0, 0.9], "anneal": {"shape": "cosine", "to": 0.1}},
                "penalties": {
                    "r1": 0.5,
                    "r2": 0.5,
                    "finite_differences": True,
                    "gradient_penalty": 0.1,
                    "logit_centring": 0.01,
                    "anneal": {"shape": "linear", "to": 0.5},
                },
                "real_images": "flipped",
                "diff_augment": ["color", "translation", "cutout"],
                "gradient_normalisation": True,
                "gradient_clip": 0.5,
                "inward_gradient": True,
            },
            "training": {"ema_decay": 0.9, "gradient_clip": 1.0, "optimizer": {"name": "muon"}},
        },
        "exact": {
            "discriminator": "sngan_resnet",
            "adversarial_weight": 0.5,
            "adversarial": {"loss": "relativistic", "penalties": {"r1": 0.5, "r2": 0.5}},
        },
        "augmented": {
            "discriminator": "norm_free",
            "adversarial_weight": 0.5,
            "adversarial": {
                "loss": "relativistic",
                "penalties": {"r1": 0.5},
                "real_images": "flipped",
                "diff_augment": ["color", "translation", "cutout"],
            },
        },
        "hinge": {"discriminator": "resnet18", "adversarial_weight": 0.5, "adversarial": {"loss": "hinge"}},
        "least-squares": {
            "discriminator": "patchgan",
            "adversarial_weight": 0.5,
            "adversarial": {"loss": "least_squares"},
        },
        "wasserstein": {
            "discriminator": "layer_norm",
            "adversarial_weight": 0.5,
            "adversarial": {"loss": "wasserstein", "penalties": {"gradient_penalty": 10.0}},
        },
        "stabilised-child": {
            "discriminator": "spectral",
            "adversarial_weight": 1,
            "init_from": "stabilised",
        },
        "spectral-child": {"discriminator": "spectral", "adversarial_weight": 1, "init_from": "hybrid"},
        "child": {"discriminator": "dcgan", "adversarial_weight": 1, "init_from": "hybrid"},
        "other-child": {"discriminator": "wide", "adversarial_weight": 1, "init_from": "hybrid"},
    },
}


def job(
    folder: Path, name: str = "baseline", seed: int = 0, parent: Path | None = None, adversarial: Any = None, **training
) -> Job:
    """A small training in a folder; ``training`` and ``adversarial`` change settings of every variant."""
    changed = {"training": TINY["training"] | training, "adversarial": TINY["adversarial"] | (adversarial or {})}
    settings = parse_settings(TINY | changed)
    return Job(
        settings.variants[name],
        seed,
        f"key-{name}",
        parent,
        folder / "model.safetensors",
        folder / "model.jsonl",
        folder / "model.resume",
        folder / "monitor",
        "hash",
    )


def rows(path: Path) -> list[dict[str, Any]]:
    """The history without the numbers that time takes part in."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in found]


def start(work: Job, group: ProcessGroup = SINGLE_PROCESS) -> tuple[Batches, State]:
    """The batches of a training and its state before the first step."""
    batches = Batches(IMAGES, work.variant.training, work.seed, CPU, group)
    return batches, initial_state(work, batches, CPU)


def resume_state(work: Job) -> dict[str, Any] | None:
    """The saved state of a training."""
    return ResumeState(work.resume, work.key).load()


def last_saved(work: Job) -> int:
    """When the last state was saved; 0 before the first."""
    times = [0]
    for path in work.resume.parent.glob("model.resume-*.json"):
        with suppress(FileNotFoundError):  # the training that is looked at removes a record before it writes the next
            times.append(path.stat().st_mtime_ns)
    return max(times)


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    """Waits until ``condition()`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.002)


def train_on_one_thread(work: Job) -> None:
    """The whole training, whoever started the process: bytes are equal on one thread alone."""
    torch.set_num_threads(1)
    train(work, IMAGES, CPU)


def fork_server(*preload: str) -> Any:
    """Starts processes quickly: torch is imported once, in a server that forks them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainings", "torch.utils.tensorboard", "torch._dynamo", *preload])
    return context


def take_steps(work: Job, batches: Batches, state: State, count: int, lr: float = 1e-2) -> dict[str, torch.Tensor]:
    """Trains some steps; returns the metrics of the last."""
    for _ in range(count):
        metrics = training_step(state, batches, work.variant, lr, work.seed)
        state.step += 1
    return metrics


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
