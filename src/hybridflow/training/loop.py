"""Training of one variant: the loop, which reads top to bottom.

Every random draw is a function of (seed, purpose, step), so a run that was killed continues exactly from its last
resume state: on a CPU the final weights are bit-identical.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridflow.evaluation.sampling import image_grid, save_png
from hybridflow.models.checkpoint import read_metadata, save_checkpoint
from hybridflow.models.generators.base import Generator
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.compiling import compile_networks, compiling, uncompiled
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import Batches
from hybridflow.training.checks import check_finite, check_magnitude, check_weights
from hybridflow.training.history import History
from hybridflow.training.optim import Schedule
from hybridflow.training.resume import ResumeState
from hybridflow.training.sample_distance import SampleDistance
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step

PROGRESS = ("loss", "bpd", "distance", "discriminator_real", "discriminator_fake", "discriminator_order")
"""Metrics beside the progress bar."""

NETWORK_DTYPES = {"fp32": None, "bf16": torch.bfloat16}


def train(job: Job, images: np.ndarray, device: torch.device, group: ProcessGroup = SINGLE_PROCESS) -> None:
    """Trains ``job.variant`` and writes its checkpoint and history.

    Continues from the newest sound resume state. On SIGTERM and SIGINT the state is saved before the process ends.
    All processes of a group call this, and the main one writes: they hold the same state and metrics, so they find the
    same errors, and they agree after every step on whether to stop.

    Args:
        images: training split, (N, C, H, W) uint8.
        device: of this process.

    Raises:
        UserError: the loss or a gradient is not finite, or a file cannot be used.
        SystemExit: 128 + the number of the signal that stopped the training; its state is saved.
    """
    settings = job.variant.training
    schedule = Schedule.of(job.variant, len(images))
    batches = Batches(images, settings, job.seed, device, group)
    silent = not group.is_main

    # Build the state, or continue an earlier one
    state = initial_state(job, batches, device)
    resume = ResumeState(job.resume, job.key, silent=silent)
    if (saved := resume.load()) is not None:
        state.load_state_dict(saved, device)
    group.share_state(state.models)
    if settings.compile:
        compile_networks(state.generator)
    history = History(job.history, job.monitor, state.history) if group.is_main else None
    if group.is_main:
        remove_grids(job, state.step)
    ruler = None
    if job.ruler is not None and group.is_main:
        ruler = SampleDistance(settings.distance, job.ruler, job.seed, device)
    last_save = time.monotonic()
    started = time.monotonic() - state.seconds

    with (
        Progress(schedule.total_steps, job.label, " steps", initial=state.step, shared=True, silent=silent) as progress,
        network_precision(NETWORK_DTYPES[settings.precision]),
        network_checkpointing(settings.checkpointing),
        compiling(job.label, silent=silent) if settings.compile else nullcontext(),
        graceful_stop() as stop,
    ):
        while state.step < schedule.total_steps:
            # Train the generator and the discriminator
            learning_rate = schedule.learning_rate(state.step)
            metrics = training_step(state, batches, job.variant, learning_rate, job.seed)
            for name, value in metrics.items():
                state.sums[name] = state.sums[name] + value if name in state.sums else value.clone()
            state.summed += 1
            state.step += 1
            last = state.step == schedule.total_steps

            # Log the mean metrics: the only place that waits for the device. No line mixes the discriminator's warm-up,
            # which has metrics of its own, with what follows.
            if state.step % settings.log_every == 0 or last or state.step == schedule.discriminator_warmup:
                row = {name: value / state.summed for name, value in _to_host(state.sums).items()}
                check_finite(job, state.step, row)
                check_magnitude(job, state.step, row)
                state.seconds = time.monotonic() - started
                if ruler is not None and (last or ruler.due(state.step, state.step - state.summed)):
                    row["distance"] = ruler.measure(state.result)
                    started = time.monotonic() - state.seconds  # it is no part of the training
                state.sums, state.summed = {}, 0
                if history is not None:
                    history.write(state.step, settings.batch_size, state.seconds, learning_rate, row)
                    shown = {name: row[name] for name in PROGRESS if name in row}
                    progress.update(0, **shown, images_per_s=history.images_per_second)
            progress.update(1)

            # Draw samples, before a state says that this step is done
            if group.is_main and (state.step % settings.grid_every == 0 or last):
                save_grid(state.result, job, state.step, device)

            # Save the state now and then, and before a stop
            due = time.monotonic() - last_save > 60 * settings.resume_every_minutes
            due, stopped = group.maximum(due, stop())
            if due or stopped:
                check_finite(job, state.step, _to_host(state.sums))
                check_magnitude(job, state.step, _to_host(metrics))  # of this step: a mean would hide a last jump
                check_weights(job, state)
                state.seconds = time.monotonic() - started
                if group.is_main:
                    resume.save(state.state_dict(), state.step)
                last_save = time.monotonic()
            if stopped:
                if history is not None:
                    history.close()
                raise SystemExit(128 + stopped)

    # Store the result; the resume state goes last
    check_weights(job, state)
    if history is None:
        return
    history.close()
    models = {"flow": state.result}
    if state.discriminator is not None and settings.stored.discriminator:
        models["discriminator"] = state.discriminator
    half = settings.stored.precision == "fp16"
    save_checkpoint(job.checkpoint, models, metadata(job, schedule, device), [job.history], half=half)
    resume.remove()


def metadata(job: Job, schedule: Schedule, device: torch.device) -> dict[str, Any]:
    """What a checkpoint says of itself. No times: equal runs give equal files."""
    variant = job.variant
    return {
        "key": job.key,
        "variant": variant.name,
        "seed": job.seed,
        "adversarial_weight": variant.adversarial_weight,
        "flow": variant.generator.model_dump(mode="json"),
        "discriminator": variant.discriminator.model_dump(mode="json") if variant.discriminator else None,
        "adversarial": variant.adversarial.key_values() if variant.discriminator else None,
        "training": variant.training.key_values(),
        "parent": read_metadata(job.parent)["key"] if job.parent else None,
        "dataset": job.dataset_hash,
        "steps": schedule.total_steps,
        "images": schedule.total_steps * variant.training.batch_size,
        "torch": torch.__version__,
        "device": device.type,
    }


@torch.no_grad()
def save_grid(generator: Generator, job: Job, step: int, device: torch.device) -> None:
    """Writes an 8x8 grid of samples, always of the same latents."""
    latents = generator.draw_latents(64, GeneratorNoise(derive_seed(job.seed, "grid"), device))
    with running_statistics(generator), network_precision(None), uncompiled():
        grid = image_grid(generator.decode(latents), columns=8)
    save_png(job.monitor / "grids" / f"step-{step:07d}.png", grid)


def remove_grids(job: Job, step: int) -> None:
    """Removes grids of steps after ``step``: another training left them, or this one, which takes these steps again."""
    for path in (job.monitor / "grids").glob("step-*.png"):
        if int(path.stem.removeprefix("step-")) > step:
            path.unlink()


def _to_host(metrics: dict[str, Tensor]) -> dict[str, float]:
    """All metrics in one copy."""
    if not metrics:
        return {}
    return dict(zip(metrics, torch.stack([value.double() for value in metrics.values()]).tolist(), strict=True))


@contextmanager
def graceful_stop() -> Iterator[Callable[[], int]]:
    """Within the block, SIGTERM and SIGINT are only noted; the yielded function gives the signal's number or 0."""
    received = 0

    def note(number: int, frame: object) -> None:
        nonlocal received
        received = number

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
