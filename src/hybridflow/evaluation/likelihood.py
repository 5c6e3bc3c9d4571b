"""Bits per dimension: the evidence lower bound and the importance-weighted bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.experiment import LikelihoodSettings
from hybridflow.evaluation.memory_budget import PassMemory, count_memory
from hybridflow.io.content_hash import array_sha256
from hybridflow.io.resumable_array import GrowingArray
from hybridflow.models.generators.base import Flow
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise, Noise, StackedNoise
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed

ROUND_TRIP_LIMIT = 0.5
"""Levels. An error beyond it would change pixels; in single precision a sound flow has some thousandths."""


class BoundAccumulator:
    """Both bounds of a batch of images from a stream of log-weights, in double precision.

    ELBO = mean_k ln w_k and IWBO_K = ln (1/K sum_k w_k) (Burda et al., arXiv 1509.00519, eq. 8). The sum
    runs in the log domain over all K: averaging bounds of chunks would be looser.

    Args:
        images: N.
    """

    def __init__(self, images: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self.total = torch.zeros(images, dtype=torch.float64, device=device)
        self.log_sum = torch.full((images,), -math.inf, dtype=torch.float64, device=device)

    def update(self, log_weight: Tensor) -> None:
        """Args: log_weight is (N,), nats: one importance sample of every image."""
        log_weight = log_weight.double()
        self.count += 1
        self.total += log_weight
        self.log_sum = torch.logaddexp(self.log_sum, log_weight)

    def update_each(self, log_weights: Tensor) -> None:
        """Args: log_weights is (S, N), nats: S importance samples of every image."""
        for log_weight in log_weights:
            self.update(log_weight)

    def bounds(self) -> Tensor:
        """(N, 2), nats: ELBO and IWBO of every image."""
        return torch.stack((self.total / self.count, self.log_sum - math.log(self.count)), dim=1)


@dataclass(frozen=True)
class Likelihood:
    """Bits/dim over a set of images; ``*_se`` are standard errors of the mean over images.

    ``bounds_sha256`` is the content hash of the bounds (N, 2) that the means are of.
    """

    images: int
    elbo_bpd: float
    elbo_bpd_se: float
    iwbo_bpd: float
    iwbo_bpd_se: float
    bounds_sha256: str


@torch.no_grad()
def image_bounds(
    flow: Flow,
    x: Tensor,
    importance_samples: int,
    seed: int,
    first: int,
    progress: Progress | None = None,
    at_once: int = 1,
) -> Tensor:
    """ELBO and IWBO of a batch, (N, 2), nats; dequantization and augmentation noise are drawn anew for every k.

    Args:
        flow: in evaluation mode.
        x: (N, C, H, W), integers 0..255.
        first: index of the batch's first image, which the noise's seed depends on.
        at_once: samples computed in one pass of that many times N rows. It changes the rounding alone: the noise of
            sample k is the same.
    """
    condition = flow.condition(x)
    bounds = BoundAccumulator(len(x), x.device)
    for start in range(0, importance_samples, at_once):
        samples = range(start, min(start + at_once, importance_samples))
        noises = [GeneratorNoise(derive_seed(seed, "evaluate", first, k), x.device) for k in samples]
        bounds.update_each(log_weights(flow, x, noises, condition))
        if progress is not None:
            progress.update(len(samples) * len(x))
    return bounds.bounds()


def log_weights(flow: Flow, x: Tensor, noises: Sequence[Noise], condition: Tensor | None = None) -> Tensor:
    """One importance sample of every image for each noise, in one pass: (S, N), nats.

    Args:
        flow: in evaluation mode.
        x: (N, C, H, W), integers 0..255.
        noises: S sources; each draws as in a pass of its own.
        condition: ``flow.condition(x)``, if it is at hand.
    """
    rows = torch.cat([x] * len(noises))
    if condition is not None:
        condition = torch.cat([condition] * len(noises))  # unlike repeat, it stays channels-last
    return flow.log_prob(rows, StackedNoise(noises), condition).view(len(noises), len(x))


@torch.no_grad()
def bound_memory(flow: Flow) -> tuple[PassMemory, PassMemory]:
    """Memory of :func:`image_bounds`, counted on a few images: of ``flow.condition``, and of one pass.

    The first grows with the batch's images, the second with the rows of a pass: images times samples.

    Args:
        flow: in evaluation mode.
    """
    device = next(flow.parameters()).device

    def images(rows: int) -> Tensor:
        return torch.zeros((rows, *flow.image_shape), dtype=torch.uint8, device=device)

    one = flow.condition(images(1))

    def one_sample(rows: int) -> None:
        condition = None if one is None else torch.cat([one] * rows)
        x, bounds = images(rows), BoundAccumulator(rows, device)
        bounds.update_each(log_weights(flow, x, [GeneratorNoise(0, device)], condition))

    return count_memory(lambda rows: flow.condition(images(rows))), count_memory(one_sample)


def samples_at_once(flow: Flow, images: int, settings: LikelihoodSettings) -> int:
    """How many importance samples of a batch one pass may compute within ``settings.memory_gb``.

    Memory is counted (:func:`bound_memory`), neither timed nor tried, so that the answer depends on the flow, the
    images' size and the settings alone.

    Args:
        flow: in evaluation mode.
        images: how many are measured.

    Returns:
        1 to ``settings.importance_samples``; 1 without a limit.

    Raises:
        UserError: not even one sample of a batch fits. Part of a batch would need other noise.
    """
    if settings.memory_gb is None:
        return 1
    of_condition, of_pass = bound_memory(flow)
    batch = min(settings.batch_size, images)
    budget = round(Fraction(settings.memory_gb) * 10**9)  # bytes; a product of floats may be infinite
    needed = max(of_condition.bytes_of(batch), of_pass.bytes_of(batch))
    if needed > budget:
        raise UserError(
            f"`evaluation.likelihood.memory_gb` is {settings.memory_gb:g}, but one importance sample of {batch} images "
            f"takes {math.ceil(needed / 1e6) / 1e3:.3f} GB; raise it, set it to null, or lower "
            "`evaluation.likelihood.batch_size`."
        )
    return min(of_pass.rows_within(budget) // batch, settings.importance_samples)


def evaluate_likelihood(
    flow: Flow,
    images: np.ndarray,
    settings: LikelihoodSettings,
    path: Path,
    device: torch.device,
    key: str,
    label: str = "likelihood",
) -> Likelihood:
    """Measures bits/dim and keeps the bounds of every image in ``path``, (N, 2) float64 nats.

    The per-image values allow paired comparisons of models. Finished batches survive a kill.

    Args:
        flow: in evaluation mode, on ``device``.
        images: the split to measure, (N, C, H, W) uint8; the first ``settings.images`` are used.
        key: identifies the flow's weights.

    Raises:
        UserError: ``settings.memory_gb`` is too small for one sample of a batch.
    """
    count = len(images) if settings.images is None else min(settings.images, len(images))
    identity = {"key": key, "settings": settings.what_is_measured()}
    samples, at_once = settings.importance_samples, samples_at_once(flow, count, settings)
    growing = GrowingArray(path, (count, 2), np.float64, identity)
    total, initial = count * samples, growing.done * samples
    with Progress(total, label, " image samples", initial=initial, shared=True) as progress:
        for start in range(growing.done, count, settings.batch_size):
            x = torch.from_numpy(np.array(images[start : min(start + settings.batch_size, count)])).to(device)
            bounds = image_bounds(flow, x, samples, settings.seed, start, progress, at_once)
            growing.append(bounds.cpu().numpy())
    growing.finish()
    return summarise(np.load(path, allow_pickle=False), flow.dimensions)


@torch.no_grad()
def round_trip_error(flow: Flow, images: np.ndarray, settings: LikelihoodSettings, path: Path) -> float:
    """How far the flow's inverse is from being one, on a batch of the images that are measured.

    Args:
        flow: in evaluation mode.
        images: (N, C, H, W) uint8; the first ``settings.batch_size`` are used.
        path: the checkpoint, for the message.

    Returns:
        The largest |decode(encode(x)) - x|, in levels.

    Raises:
        UserError: it is above :data:`ROUND_TRIP_LIMIT` or not finite.
    """
    device = next(flow.parameters()).device
    x = torch.from_numpy(np.array(images[: settings.batch_size])).to(device)
    error = flow.round_trip_error(x, GeneratorNoise(derive_seed(settings.seed, "round trip"), device)).amax().item()
    if not error <= ROUND_TRIP_LIMIT:  # also when it is NaN
        raise UserError(
            f"the flow of {path} is not inverted by its inverse: images come back {error:.3g} levels off (allowed: "
            f"{ROUND_TRIP_LIMIT:g}); its scales have grown too large for single precision, so train it again with a "
            "lower learning rate or with training.gradient_clip."
        )
    return error


def summarise(bounds: np.ndarray, dimensions: int) -> Likelihood:
    """Mean and standard error in bits/dim.

    Args:
        bounds: (N, 2), nats: ELBO and IWBO of every image.
        dimensions: D = C H W.
    """
    bpd = -bounds / (dimensions * math.log(2))
    mean = bpd.mean(0)
    error = bpd.std(0, ddof=1) / math.sqrt(len(bpd))
    means = float(mean[0]), float(error[0]), float(mean[1]), float(error[1])
    return Likelihood(len(bpd), *means, bounds_sha256=array_sha256(bounds))
