"""Training of one variant: pure step functions and one loop that reads top to bottom.

Every random draw is a function of (seed, purpose, step), so a run that was killed continues exactly
where its last resume state stands: on a CPU the final weights are bit-identical.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hybridflow.balance import add_balanced, take_gradients
from hybridflow.board import Board
from hybridflow.checkpoint import (
    load_resume_state,
    load_weights,
    read_metadata,
    read_tensors,
    remove_resume_state,
    resume_state_exists,
    save_checkpoint,
    save_resume_state,
)
from hybridflow.config import DiscriminatorSettings, OptimizerSettings, TrainingSettings, Variant
from hybridflow.data.augment import augment
from hybridflow.discriminators import build_discriminator, discriminator_input, inward_gradient, straight_through_levels
from hybridflow.disk import writing
from hybridflow.ema import ExponentialMovingAverage
from hybridflow.errors import UserError
from hybridflow.files import write_text
from hybridflow.flows import build_flow
from hybridflow.flows.base import Flow, bits_per_dim
from hybridflow.keys import WITHOUT_EFFECT
from hybridflow.losses import discriminator_loss, generator_adversarial_loss, r1_penalty
from hybridflow.nn.batchnorm import running_statistics, share_statistics
from hybridflow.nn.checkpointing import network_checkpointing
from hybridflow.nn.precision import network_precision, run_network
from hybridflow.nn.spectral import fixed_spectra
from hybridflow.noise import GeneratorNoise, Noise
from hybridflow.progress import Progress
from hybridflow.replicas import ALONE, Replicas
from hybridflow.sample import image_grid, save_png
from hybridflow.schedule import Schedule
from hybridflow.seal import Seal, open_lines
from hybridflow.seeding import derive_seed

NETWORK_DTYPES = {"fp32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Job:
    """One training: what, from where, where to.

    Attributes:
        variant, seed, key: the settings, the seed, and the key of both (hybridflow.keys).
        parent: checkpoint to start from, or None.
        checkpoint, history, resume: files of the store to write.
        monitor: folder for TensorBoard scalars and sample grids.
        dataset_hash: content hash of the training data, for the metadata.
    """

    variant: Variant
    seed: int
    key: str
    parent: Path | None
    checkpoint: Path
    history: Path
    resume: Path
    monitor: Path
    dataset_hash: str

    @property
    def label(self) -> str:
        return f"train {self.variant.name} seed {self.seed}"


@dataclass
class State:
    """Everything that changes during training."""

    flow: Flow
    discriminator: nn.Module | None
    flow_optimizer: torch.optim.Optimizer
    discriminator_optimizer: torch.optim.Optimizer | None
    ema: ExponentialMovingAverage | None
    step: int = 0
    seconds: float = 0.0
    sums: dict[str, Tensor] = field(default_factory=dict)  # figures since the last line of the history
    summed: int = 0

    @property
    def result(self) -> Flow:
        """The flow that is sampled and stored: the averaged one if there is one."""
        return self.flow if self.ema is None else self.ema.average

    @property
    def models(self) -> list[nn.Module]:
        """Every model whose weights or buffers training changes."""
        average = None if self.ema is None else self.ema.average
        return [model for model in (self.flow, self.discriminator, average) if model is not None]

    def state_dict(self) -> dict[str, Any]:
        return {
            "flow": self.flow.state_dict(),
            "flow_optimizer": self.flow_optimizer.state_dict(),
            "discriminator": self.discriminator.state_dict() if self.discriminator else None,
            "discriminator_optimizer": self.discriminator_optimizer.state_dict() if self.discriminator else None,
            "ema": self.ema.average.state_dict() if self.ema else None,
            "step": self.step,
            "seconds": self.seconds,
            "sums": self.sums,
            "summed": self.summed,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        self.flow.load_state_dict(state["flow"])
        self.flow_optimizer.load_state_dict(state["flow_optimizer"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.ema is not None:
            self.ema.average.load_state_dict(state["ema"])
        self.step, self.seconds, self.summed = state["step"], state["seconds"], state["summed"]
        self.sums = {name: value.to(device) for name, value in state["sums"].items()}


# --- one step ---------------------------------------------------------------------------------------------------------


def adversarial_backward(
    flow: Flow,
    discriminator: nn.Module,
    latents: list[Tensor],
    weight: float,
    clip: float | None,
    *,
    inward: bool = False,
    replicas: Replicas = ALONE,
) -> tuple[Tensor, Tensor, Tensor]:
    """Adds the gradient of ``weight`` times the generator's adversarial loss to the flow's gradients.

    The sample is drawn with BatchNorm's running statistics, as the final samples are, and quantised by
    a straight-through estimator.

    Args:
        latents: standard-normal draws, one for each of ``flow.latent_shapes``.
        clip: largest norm of this gradient alone, or None.
        inward: drop the gradient that pushes pixels out of the range of images.

    Returns:
        The loss (), the generated levels (N, C, H, W), and the largest |y - 1/2| of the continuous images y (),
        which is about 1/2 for images and grows without bound when the flow blows up; all detached.
    """
    discriminator.requires_grad_(False)
    with running_statistics(flow):
        y = flow.decode(latents)
    levels = straight_through_levels(inward_gradient(y) if inward else y)
    with fixed_spectra(discriminator, iterate=False):
        loss = generator_adversarial_loss(_logits(discriminator, levels))
        (weight * loss).backward()
    discriminator.requires_grad_(True)
    if clip is not None:
        replicas.average_gradients(flow)
        nn.utils.clip_grad_norm_(flow.parameters(), clip)
    return loss.detach(), levels.detach(), (y.detach() - 0.5).abs().amax()


def likelihood_backward(flow: Flow, x: Tensor, noise: Noise, weight: float) -> Tensor:
    """Adds the gradient of ``weight`` times the batch's bits/dim; at weight 0 they are only measured.

    Args:
        x: (N, C, H, W), integers 0..255.

    Returns:
        Bits/dim, (), detached.
    """
    with nullcontext() if weight > 0 else torch.no_grad():
        bpd = bits_per_dim(flow.log_prob(x, noise), flow.dimensions).mean()
    if weight > 0:
        (weight * bpd).backward()
    return bpd.detach()


def discriminator_step(
    discriminator: nn.Module,
    optimizer: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    label_smoothing: float,
    *,
    gradient_penalty: float | None = None,
    replicas: Replicas = ALONE,
) -> dict[str, Tensor]:
    """One update of the discriminator.

    Args:
        real, fake: (N, C, H, W), levels 0..255, without gradient.
        gradient_penalty: gamma of the R1 penalty on the real images, or None.

    Returns:
        discriminator_loss, the mean probabilities of "real" given to both batches, and the penalty if there
        is one, each (). The loss is without the penalty.
    """
    optimizer.zero_grad(set_to_none=True)
    figures: dict[str, Tensor] = {}
    dtype = next(discriminator.parameters()).dtype
    with fixed_spectra(discriminator, iterate=True):
        real_input = discriminator_input(real.to(dtype)).requires_grad_(gradient_penalty is not None)
        real_logits, fake_logits = run_network(discriminator, real_input), _logits(discriminator, fake)
        loss = discriminator_loss(real_logits, fake_logits, label_smoothing)
        total = loss
        if gradient_penalty is not None:
            penalty = r1_penalty(real_logits, real_input, gradient_penalty)
            figures["gradient_penalty"] = penalty.detach()
            total = loss + penalty
        total.backward()
    replicas.average_gradients(discriminator)
    optimizer.step()
    return figures | {
        "discriminator_loss": loss.detach(),
        "discriminator_real": torch.sigmoid(real_logits.detach()).mean(),
        "discriminator_fake": torch.sigmoid(fake_logits.detach()).mean(),
    }


def training_step(
    state: State, batches: Batches, variant: Variant, learning_rate: float, seed: int
) -> dict[str, Tensor]:
    """One update of the flow and, in a hybrid, of the discriminator.

    loss = (1 - w) * bits/dim + w * BCE(D(sample), real), with w the variant's adversarial weight. With
    ``training.adaptive_weight`` the adversarial gradient is scaled too (:func:`hybridflow.balance.add_balanced`).

    Replicas compute the same update together, each from its rows of the batches (``batches.replicas``).

    Returns:
        Figures of the step, each a detached tensor (); nothing is copied to the host.
    """
    settings, weight, step, flow = variant.training, variant.adversarial_weight, state.step, state.flow
    replicas = batches.replicas
    x = batches.training(step)
    flow.train()
    state.flow_optimizer.zero_grad(set_to_none=True)
    figures: dict[str, Tensor] = {}
    clip = settings.adversarial_gradient_clip
    balanced = settings.adaptive_weight and state.discriminator is not None
    if state.discriminator is not None:
        latents = flow.draw_latents(len(x), replicas.noise(_noise(seed, "latents", step, x)))
        figures["adversarial_loss"], fake, figures["sample_magnitude"] = adversarial_backward(
            flow,
            state.discriminator,
            latents,
            *((1.0, None) if balanced else (weight, clip)),
            inward=settings.inward_gradient,
            replicas=replicas,
        )
    adversarial: dict[str, Tensor] = {}
    if balanced:
        replicas.average_gradients(flow)  # the balance needs the norm of the whole batch's gradient
        adversarial = take_gradients(flow)
    figures["bpd"] = likelihood_backward(flow, x, replicas.noise(_noise(seed, "noise", step, x)), 1 - weight)
    replicas.average_gradients(flow)
    if balanced:
        figures["adversarial_scale"] = add_balanced(flow, adversarial, weight, clip)
    figures["loss"] = (1 - weight) * figures["bpd"] + weight * figures.get("adversarial_loss", 0.0)
    figures["gradient_norm"] = nn.utils.get_total_norm([p.grad for p in flow.parameters() if p.grad is not None])
    if settings.gradient_clip is not None:
        nn.utils.clip_grads_with_norm_(flow.parameters(), settings.gradient_clip, figures["gradient_norm"])
    for group in state.flow_optimizer.param_groups:
        group["lr"] = learning_rate
    state.flow_optimizer.step()
    if state.ema is not None:
        state.ema.update(flow, step)
    if state.discriminator is not None:
        update_discriminator = partial(
            discriminator_step,
            state.discriminator,
            state.discriminator_optimizer,
            label_smoothing=settings.label_smoothing,
            gradient_penalty=settings.gradient_penalty,
            replicas=replicas,
        )
        figures |= update_discriminator(x, fake)
        for extra in range(1, settings.discriminator_steps):
            real = batches.training(step, extra)
            with torch.no_grad(), running_statistics(flow):
                latents = flow.draw_latents(len(real), replicas.noise(_noise(seed, f"latents {extra}", step, real)))
                fake = straight_through_levels(flow.decode(latents))
            figures |= update_discriminator(real, fake)
    return replicas.average_figures(figures, largest="sample_magnitude")


def _logits(discriminator: nn.Module, levels: Tensor) -> Tensor:
    """Logits in the precision of the weights: the loss is computed in it whatever the networks use."""
    dtype = next(discriminator.parameters()).dtype
    return run_network(discriminator, discriminator_input(levels.to(dtype)))


def _noise(seed: int, purpose: str, step: int, like: Tensor) -> GeneratorNoise:
    return GeneratorNoise(derive_seed(seed, purpose, step), like.device)


class Batches:
    """Augmented training batches as a function of the step.

    The images stay on the device; an epoch is a permutation drawn from its number.

    Args:
        images: (N, C, H, W) uint8.
        replicas: the processes that share every batch.
    """

    def __init__(
        self,
        images: np.ndarray,
        settings: TrainingSettings,
        seed: int,
        device: torch.device,
        replicas: Replicas = ALONE,
    ) -> None:
        if len(images) < settings.batch_size:
            raise UserError(
                f"training.batch_size is {settings.batch_size}, but the training split has only {len(images)} images."
            )
        self.images = torch.from_numpy(np.array(images)).to(device)
        self.settings, self.seed, self.replicas = settings, seed, replicas
        self._orders: dict[int, tuple[int, Tensor]] = {}  # stream: (epoch, permutation)

    def training(self, step: int, stream: int = 0) -> Tensor:
        """This replica's rows of :meth:`whole`: (batch_size / replicas, C, H, W) uint8."""
        return self.replicas.rows(self.whole(step, stream))

    def whole(self, step: int, stream: int = 0) -> Tensor:
        """(batch_size, C, H, W) uint8; ``stream`` > 0 gives other batches, for extra discriminator steps."""
        size = self.settings.batch_size
        epoch, position = divmod(step, len(self.images) // size)
        chosen = self.images[self._order(epoch, stream)[position * size : (position + 1) * size]]
        generator = torch.Generator(chosen.device).manual_seed(derive_seed(self.seed, "augment", step, stream))
        return augment(chosen, self.settings.augmentation, generator)

    def _order(self, epoch: int, stream: int) -> Tensor:
        if stream not in self._orders or self._orders[stream][0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch, stream))
            order = torch.randperm(len(self.images), generator=generator)
            self._orders[stream] = (epoch, order.to(self.images.device))
        return self._orders[stream][1]


# --- the loop ---------------------------------------------------------------------------------------------------------


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


def initial_state(job: Job, batches: Batches, device: torch.device) -> State:
    """The state before the first step: fresh weights, or those of the parent's checkpoint."""
    variant, settings = job.variant, job.variant.training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(job.seed, "flow"))
        flow = build_flow(variant.flow, tuple(batches.images.shape[1:])).to(device)
        discriminator = None
        if variant.discriminator is not None:
            torch.manual_seed(derive_seed(job.seed, "discriminator"))
            discriminator = build_discriminator(variant.discriminator).to(device, memory_format=torch.channels_last)
    if job.parent is not None:
        load_weights(flow, read_tensors(job.parent, "flow"), job.parent)
        if discriminator is not None and _discriminator_of(job.parent) == variant.discriminator:
            # A variant that continues a hybrid keeps its opponent.
            load_weights(discriminator, read_tensors(job.parent, "discriminator"), job.parent)
    else:
        # Every replica sees the whole batch here: without gradients it takes little memory.
        flow.train()
        flow.initialize(batches.whole(0), derive_seed(job.seed, "initialize"))
    if batches.replicas.size > 1:
        for model in filter(None, (flow, discriminator)):
            share_statistics(model)
    return State(
        flow,
        discriminator,
        build_optimizer(flow, settings.optimizer),
        build_optimizer(discriminator, settings.discriminator_optimizer) if discriminator is not None else None,
        ExponentialMovingAverage(flow, settings.ema_decay) if settings.ema_decay is not None else None,
    )


def _discriminator_of(checkpoint: Path) -> DiscriminatorSettings | None:
    found = read_metadata(checkpoint)["discriminator"]
    return None if found is None else DiscriminatorSettings.model_validate(found)


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser that ``settings.name`` names over all parameters of ``model``."""
    options = {"lr": settings.lr, "betas": settings.betas, "weight_decay": settings.weight_decay}
    if settings.name == "adamax":
        # On a GPU "capturable" keeps the step counters there, so that a step does not wait to read them.
        on_gpu = next(model.parameters()).is_cuda
        return torch.optim.Adamax(model.parameters(), **options, foreach=True, capturable=on_gpu)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    return kinds[settings.name](model.parameters(), **options, fused=True)


def metadata(job: Job, schedule: Schedule, device: torch.device) -> dict[str, Any]:
    """What a checkpoint says of itself. No times: equal runs give equal files."""
    variant = job.variant
    return {
        "key": job.key,
        "variant": variant.name,
        "seed": job.seed,
        "adversarial_weight": variant.adversarial_weight,
        "flow": variant.flow.model_dump(mode="json"),
        "discriminator": variant.discriminator.model_dump(mode="json") if variant.discriminator else None,
        "training": variant.training.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        "parent": read_metadata(job.parent)["key"] if job.parent else None,
        "dataset": job.dataset_hash,
        "steps": schedule.total_steps,
        "images": schedule.total_steps * variant.training.batch_size,
        "torch": torch.__version__,
        "device": device.type,
    }


def check_finite(job: Job, step: int, figures: dict[str, float]) -> None:
    """Stops a training that diverged.

    Raises:
        UserError: names the figures that are not finite, and where the last good state is.
    """
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise _divergence(job, step, ", ".join(broken) + " not finite")


def check_magnitude(job: Job, step: int, figures: dict[str, float]) -> None:
    """Stops a training whose samples left the range of images, long before anything is infinite.

    Raises:
        UserError: the figure ``sample_magnitude`` is above ``training.max_sample_magnitude``.
    """
    largest, found = job.variant.training.max_sample_magnitude, figures.get("sample_magnitude", 0.0)
    if largest is not None and found > largest:
        raise _divergence(job, step, f"sample_magnitude {found:.3g} exceeds training.max_sample_magnitude {largest:g}")


def check_weights(job: Job, state: State) -> None:
    """Makes sure that what is about to be stored is finite: a last update may break what its figures did not show.

    Raises:
        UserError: names the first weights that are not.
    """
    values = {name: value for name, value in state.flow.state_dict().items() if value.is_floating_point()}
    finite = torch.stack([torch.isfinite(value).all() for value in values.values()]).tolist()
    if not all(finite):
        raise _divergence(job, state.step, f"weights {list(values)[finite.index(False)]} not finite")


def _divergence(job: Job, step: int, what: str) -> UserError:
    kept = (
        f"the last good state is kept in {job.resume}"
        if job.resume.exists()
        else "no earlier state was saved (training.resume_every_minutes)"
    )
    return UserError(
        f"{job.label} diverged by step {step}: {what}; {kept}; lower the learning rate, set "
        "training.gradient_clip, bound the couplings (flow.coupling.shift_bound), or start from a trained variant "
        "(init_from)."
    )


@torch.no_grad()
def save_grid(flow: Flow, job: Job, step: int, device: torch.device) -> None:
    """Writes an 8x8 grid of samples, always of the same latents."""
    latents = flow.draw_latents(64, GeneratorNoise(derive_seed(job.seed, "grid"), device))
    with running_statistics(flow), network_precision(None):
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


class History:
    """Figures of a training: a JSONL file beside the checkpoint, and TensorBoard scalars.

    Rows after ``step`` belong to a run that was killed after its last resume state; they are dropped. So are damaged
    rows: figures of earlier steps are no reason to stop a training.

    Args:
        path: the JSONL file; its rows are sealed (:mod:`hybridflow.seal`).
        monitor: folder for TensorBoard.
        step: where training starts or continues.
        key: of the training.
    """

    def __init__(self, path: Path, monitor: Path, step: int, key: str) -> None:
        rows = _sound_rows(path, key) if path.exists() else []
        rows = [row for row in rows if row["step"] <= step]
        self.seal = Seal(key)
        write_text(path, "".join(self.seal.line(row) for row in rows))  # a kill now must not cost older rows
        self.path = path
        with writing(path):
            self.file = path.open("a", encoding="utf-8")
        self.previous = (rows[-1]["images"], rows[-1]["seconds"]) if rows else (0, 0.0)
        self.images_per_second = 0.0
        self.board = Board(monitor / "tensorboard", step)

    def write(self, step: int, batch_size: int, seconds: float, lr: float, figures: dict[str, float]) -> None:
        """One row: step, images, seconds, lr, images_per_second and the figures."""
        images = step * batch_size
        before, then = self.previous
        self.images_per_second = (images - before) / max(seconds - then, 1e-9)
        self.previous = (images, seconds)
        row = {"step": step, "images": images, "seconds": round(seconds, 3), "lr": lr}
        row |= {"images_per_second": round(self.images_per_second, 2)} | figures
        with writing(self.path):
            self.file.write(self.seal.line(row))
            self.file.flush()
        self.board.write({name: value for name, value in row.items() if name not in ("step", "images")}, step)

    def close(self) -> None:
        with writing(self.path):
            os.fsync(self.file.fileno())  # the checkpoint follows, and with it the claim that the history is complete
            self.file.close()
        self.board.close()


def _sound_rows(path: Path, key: str) -> list[dict[str, Any]]:
    """The rows of a history file up to the first that is damaged, or that a kill cut short."""
    lines = path.read_bytes().splitlines(keepends=True)
    rows, broken = open_lines(lines, key)
    if broken is not None and (broken < len(lines) - 1 or lines[-1].endswith(b"\n")):
        print(f"line {broken + 1} of {path} is damaged; it and those after it are left out", file=sys.stderr)
    return rows
