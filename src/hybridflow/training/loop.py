"""Training of one variant: the loop, which reads top to bottom.

Every random draw is a function of (seed, purpose, step), so a run that was killed continues exactly
where its last resume state stands: on a CPU the final weights are bit-identical.
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
from hybridflow.models.checkpoint import (
    load_resume_state,
    read_metadata,
    remove_resume_state,
    resume_state_exists,
    save_checkpoint,
    save_resume_state,
)
from hybridflow.models.generators.base import Flow
from hybridflow.models.layers.batchnorm import running_statistics
from hybridflow.models.layers.checkpointing import network_checkpointing
from hybridflow.models.layers.compiling import compile_networks, compiling, uncompiled
from hybridflow.models.layers.precision import network_precision
from hybridflow.runtime.distributed import ALONE, Replicas
from hybridflow.runtime.noise import GeneratorNoise
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.batches import Batches
from hybridflow.training.checks import check_finite, check_magnitude, check_weights
from hybridflow.training.history import History
from hybridflow.training.schedule import Schedule
from hybridflow.training.state import Job, initial_state
from hybridflow.training.step import training_step

NETWORK_DTYPES = {"fp32": None, "bf16": torch.bfloat16}


def train(job: Job, images: np.ndarray, device: torch.device, replicas: Replicas = ALONE) -> None:
    """Trains ``job.variant`` and writes its checkpoint and history.

    Continues from ``job.resume`` when that exists, and from the state before it when that is damaged. On SIGTERM
    and SIGINT the state is saved before the process ends. Replicas all call this, and the first one writes: they hold
    the same state and figures, so they find the same errors, and they agree after every step on whether to stop.

    Args:
        images: training split, (N, C, H, W) uint8.
        device: of this replica.

    Raises:
        UserError: the loss or a gradient is not finite, or a file cannot be used.
    """
    settings = job.variant.training
    schedule = Schedule(settings, len(images))
    batches = Batches(images, settings, job.seed, device, replicas)

    # Build the state, or continue an earlier one
    state = initial_state(job, batches, device)
    if resume_state_exists(job.resume):
        state.load_state_dict(load_resume_state(job.resume, silent=not replicas.leads), device)
    replicas.share_state(state.models)
    if settings.compile:
        compile_networks(state.flow)
    history = History(job.history, job.monitor, state.step, job.key) if replicas.leads else None
    last_save = time.monotonic()
    started = time.monotonic() - state.seconds

    def save() -> None:
        nonlocal last_save
        check_weights(job, state)
        state.seconds = time.monotonic() - started
        if replicas.leads:
            save_resume_state(job.resume, state.state_dict())
        last_save = time.monotonic()

    with (
        Progress(
            schedule.total_steps, job.label, " steps", initial=state.step, shared=True, silent=not replicas.leads
        ) as progress,
        network_precision(NETWORK_DTYPES[settings.precision]),
        network_checkpointing(settings.checkpointing),
        compiling(job.label, silent=not replicas.leads) if settings.compile else nullcontext(),
        graceful_stop() as stop,
    ):
        while state.step < schedule.total_steps:
            # Train the discriminator and the flow
            learning_rate = schedule.learning_rate(state.step)
            figures = training_step(state, batches, job.variant, learning_rate, job.seed)
            for name, value in figures.items():
                state.sums[name] = state.sums[name] + value if name in state.sums else value.clone()
            state.summed += 1
            state.step += 1
            last = state.step == schedule.total_steps

            # Look at the figures: the only place that waits for the device
            if state.step % settings.log_every == 0 or last:
                row = {name: value / state.summed for name, value in _to_host(state.sums).items()}
                check_finite(job, state.step, row)
                check_magnitude(job, state.step, row)
                state.seconds = time.monotonic() - started
                state.sums, state.summed = {}, 0
                if history is not None:
                    history.write(state.step, settings.batch_size, state.seconds, learning_rate, row)
                    shown = {k: row[k] for k in ("loss", "bpd", "discriminator_real", "discriminator_fake") if k in row}
                    progress.update(0, **shown, images_per_s=history.images_per_second)
            progress.update(1)

            # Keep what is needed to go on after a kill
            due = time.monotonic() - last_save > 60 * settings.resume_every_minutes
            due, stopped = replicas.agree(due, stop())
            if due or stopped:
                check_finite(job, state.step, _to_host(state.sums))
                check_magnitude(job, state.step, _to_host(figures))  # of this state: a mean would hide a last jump
                save()
                if stopped:
                    if history is not None:
                        history.close()
                    raise SystemExit(128 + stopped)
            if replicas.leads and (state.step % settings.grid_every == 0 or last):
                save_grid(state.result, job, state.step, device)

    # Store the result; the resume state goes last
    check_weights(job, state)
    if history is None:
        return
    history.close()
    save_checkpoint(
        job.checkpoint,
        {"flow": state.result} | ({"discriminator": state.discriminator} if state.discriminator else {}),
        metadata(job, schedule, device),
    )
    remove_resume_state(job.resume)


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
def save_grid(flow: Flow, job: Job, step: int, device: torch.device) -> None:
    """Writes an 8x8 grid of samples, always of the same latents."""
    latents = flow.draw_latents(64, GeneratorNoise(derive_seed(job.seed, "grid"), device))
    with running_statistics(flow), network_precision(None), uncompiled():
        grid = image_grid(flow.decode(latents), columns=8)
    save_png(job.monitor / "grids" / f"step-{step:07d}.png", grid)


def _to_host(figures: dict[str, Tensor]) -> dict[str, float]:
    """All figures in one copy."""
    if not figures:
        return {}
    return dict(zip(figures, torch.stack([value.double() for value in figures.values()]).tolist(), strict=True))


@contextmanager
def graceful_stop() -> Iterator[Callable[[], int]]:
    """Within the block, SIGTERM and SIGINT only take note; the yielded function gives the signal or 0."""
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
