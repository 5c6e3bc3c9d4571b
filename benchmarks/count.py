"""What trainings cost, counted and not timed: floating-point operations, and operations that launch GPU kernels.

    python benchmarks/count.py                                    the variants of config.yaml
    python benchmarks/count.py presets/gpu-hour.yaml              of a preset over it
    python benchmarks/count.py --variants baseline                some of them

Steps of two images run on the CPU: neither count depends on the device, and operations per image not on the batch. The
minutes follow from two assumptions, a rate and a time per launch, of which the one that takes longer counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from hybridflow.config.experiment import Settings, Variant
from hybridflow.config.loading import load_settings
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.training.batches import Batches
from hybridflow.training.optim import Schedule
from hybridflow.training.state import Job, State, initial_state
from hybridflow.training.step import training_step

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
BATCH = 2
CIFAR10 = 50_000
ALLOCATIONS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view", "lift_fresh"}


class Operations(TorchDispatchMode):
    """Counts what torch computes: floating-point operations by torch's own formulas, and launches.

    A launch is an operation that is neither a view nor an allocation. Each takes a kernel or several on a GPU (a
    convolution's backward pass at least two), so ``launches`` bounds the kernels from below. torch's FlopCounterMode
    follows modules, too, which penalties with second derivatives do not allow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flop, self.launches = 0, 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        name = function._schema.name.removeprefix("aten::")
        self.launches += not (function.is_view or name in ALLOCATIONS)
        if (formula := flop_registry.get(function.overloadpacket)) is not None:
            self.flop += formula(*args, **(kwargs or {}), out_val=result)
        return result


@dataclass(frozen=True)
class Counts:
    """Of one batch: floating-point operations per image, and launches whatever the batch."""

    flop_per_image: float
    launches: int


def counts(work: Callable[[], Any], images: int) -> Counts:
    """Counts what ``work`` does for a batch of ``images``."""
    with Operations() as found:
        work()
    return Counts(found.flop / images, found.launches)


def counted_step(variant: Variant) -> tuple[Counts, State]:
    """One step of a training in which both models learn, after one that fills the optimisers; and its state."""
    training = variant.training.model_copy(update={"batch_size": BATCH, "devices": 1})
    variant = variant.model_copy(update={"training": training, "init_from": None})
    images = np.random.default_rng(0).integers(0, 256, (2 * BATCH, 3, 32, 32), dtype=np.uint8)
    batches = Batches(images, training, 0, CPU)
    state = initial_state(Job(variant, 0, "", None, *(Path(),) * 4, dataset_hash=""), batches, CPU)
    if state.discriminator is not None:
        state.step = variant.adversarial.warmup_steps
    training_step(state, batches, variant, 1e-5, 0)
    return counts(lambda: training_step(state, batches, variant, 1e-5, 0), BATCH), state


def counted_generator(generator: Any) -> dict[str, Counts]:
    """Sampling, and one sample of the bound."""
    generator.eval()
    with torch.no_grad():
        latents = generator.draw_latents(BATCH, GeneratorNoise(0))
        found = {"sampling": counts(lambda: generator.decode(latents), BATCH)}
        if hasattr(generator, "log_prob"):
            x = torch.zeros(BATCH, 3, 32, 32, dtype=torch.uint8)
            found["bound"] = counts(lambda: generator.log_prob(x, GeneratorNoise(0)), BATCH)
    return found


def table(settings: Settings, names: list[str], tflops: float, microseconds: float) -> str:
    """Every variant's training, then sampling and bound, as Markdown."""
    lines = ["| work | parameters | batch | steps | GFLOP/image | TFLOP/step | launches/step | minutes |"]
    lines += ["|---|" + "--:|" * 7]
    total = 0.0

    def add(name: str, parameters: str, batch: int, steps: int, found: Counts) -> None:
        nonlocal total
        flop = batch * found.flop_per_image
        minutes = steps * max(flop / (tflops * 1e12), found.launches * microseconds * 1e-6) / 60
        total += minutes
        cells = [name, parameters, str(batch), f"{steps:,}", f"{found.flop_per_image / 1e9:.3g}", f"{flop / 1e12:.3g}"]
        lines.append("| " + " | ".join([*cells, f"{found.launches:,}", f"{minutes:.1f}"]) + " |")

    images = CIFAR10 - settings.dataset.holdout
    for name in names:
        variant = settings.variants[name]
        found, state = counted_step(variant)
        parameters = f"{sum(p.numel() for p in state.generator.parameters()):,}"
        if state.discriminator is not None:
            parameters += f" + {sum(p.numel() for p in state.discriminator.parameters()):,}"
        steps = Schedule.of(variant, images).total_steps
        add(name, parameters, variant.training.batch_size, steps, found)
        print(lines[-1], file=sys.stderr, flush=True)
    sampling, bound = settings.sampling, settings.evaluation.likelihood
    for name, found in counted_generator(state.generator).items():
        batch = sampling.batch_size if name == "sampling" else bound.batch_size
        each = sampling.images if name == "sampling" else (bound.images or 10_000) * bound.importance_samples
        add(f"{name}, {len(names)} models", "", batch, len(names) * -(-each // batch), found)
    lines.append(f"| sum | | | | | | | {total:.1f} |")
    assumed = f"Counted; minutes assume {tflops:g} TFLOP/s or {microseconds:g} µs a launch, whichever takes longer."
    return "\n".join([assumed, "", *lines])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", type=Path, help="go over config.yaml, later ones over earlier ones")
    parser.add_argument("--variants", nargs="+", help="default: all")
    parser.add_argument("--tflops", type=float, default=100, help="assumed rate, TFLOP/s (default: 100)")
    parser.add_argument("--microseconds", type=float, default=20, help="assumed time per launch (default: 20)")
    options = parser.parse_args()
    settings = load_settings(ROOT / "config.yaml", *options.presets)
    print(table(settings, options.variants or list(settings.variants), options.tflops, options.microseconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
