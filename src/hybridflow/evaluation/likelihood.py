"""Bits per dimension: the evidence lower bound and the importance-weighted bound."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.evaluation import LikelihoodSettings
from hybridflow.io.arrays import ResumableArray
from hybridflow.models.generators.base import Flow, LikelihoodModel
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.noise import GeneratorNoise
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

    def bounds(self) -> Tensor:
        """(N, 2), nats: ELBO and IWBO of every image."""
        return torch.stack((self.total / self.count, self.log_sum - math.log(self.count)), dim=1)


@dataclass(frozen=True)
class Likelihood:
    """Bits/dim over a set of images; ``*_se`` are standard errors of the mean over images."""

    images: int
    elbo_bpd: float
    elbo_bpd_se: float
    iwbo_bpd: float
    iwbo_bpd_se: float


@torch.no_grad()
def image_bounds(
    model: LikelihoodModel,
    x: Tensor,
    importance_samples: int,
    seed: int,
    first: int,
    progress: Progress | None = None,
) -> Tensor:
    """ELBO and IWBO of a batch, (N, 2), nats; every k has noise of its own.

    Args:
        model: in evaluation mode.
        x: (N, C, H, W), integers 0..255.
        first: index of the batch's first image, which the noise's seed depends on.
    """
    condition = model.condition(x)
    bounds = BoundAccumulator(len(x), x.device)
    for k in range(importance_samples):
        noise = GeneratorNoise(derive_seed(seed, "evaluate", first, k), x.device)
        bounds.update(model.log_prob(x, noise, condition))
        if progress is not None:
            progress.update(len(x))
    return bounds.bounds()


def evaluate_likelihood(
    model: LikelihoodModel,
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
        model: in evaluation mode, on ``device``.
        images: the split to measure, (N, C, H, W) uint8; the first ``settings.images`` are used.
        key: identifies the model's weights.
    """
    count = len(images) if settings.images is None else min(settings.images, len(images))
    identity = {"key": key, "settings": settings.identity()}
    samples = settings.importance_samples
    array = ResumableArray(path, (count, 2), np.float64, identity)
    total, initial = count * samples, array.done * samples
    with Progress(total, label, " image samples", initial=initial, shared=True) as progress:
        for start in range(array.done, count, settings.batch_size):
            x = torch.from_numpy(np.array(images[start : min(start + settings.batch_size, count)])).to(device)
            bounds = image_bounds(model, x, samples, settings.seed, start, progress)
            array.append(bounds.cpu().numpy())
    array.finish()
    return summarise(np.load(path, allow_pickle=False), model.dimensions)


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
    return Likelihood(len(bpd), *means)
