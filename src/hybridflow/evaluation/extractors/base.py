"""The contract of a feature extractor, and features of many images in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.experiment import Settings
from hybridflow.config.extractors import EXTRACTORS
from hybridflow.evaluation.metrics.features import Features
from hybridflow.evaluation.metrics.frechet import MomentAccumulator
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress


@dataclass(frozen=True)
class Preparation:
    """What an extractor may use to get its weights.

    Attributes:
        settings: the experiment.
        dataset: folder of the dataset's arrays.
        dataset_hash: content hash of the dataset.
        downloads: folder for what is fetched.
        device: gives the job's device within a block; whoever enters it may have to wait for a GPU.
        threads: CPU threads.
    """

    settings: Settings
    dataset: Path
    dataset_hash: str
    downloads: Path
    device: Callable[[], AbstractContextManager[torch.device]]
    threads: int


class Extractor(ABC):
    """Maps images to feature vectors."""

    @classmethod
    @abstractmethod
    def prepare(cls, target: Path, given: Preparation) -> dict[str, Any]:
        """Writes the network's weights to ``target``: trains, fetches or copies them.

        Returns:
            What is worth knowing of them, JSON-able.
        """

    @classmethod
    @abstractmethod
    def load(cls, weights: Path, settings: Settings, device: torch.device | str) -> Extractor:
        """The network with the weights of :meth:`prepare`, which the caller has verified, on ``device``."""

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) uint8 on the extractor's device -> (N, D) float32 on the same device."""

    @classmethod
    def head(cls, weights: Path) -> np.ndarray:
        """(classes, D): the last layer, from features to logits, without its bias; for metrics of classes.

        Args:
            weights: of :meth:`prepare`, verified.

        Raises:
            UserError: the network has none.
        """
        raise UserError(
            f"{cls.__name__} has no last layer from features to classes, which a metric of `evaluation.metrics` needs; "
            "declare that metric for `inception`."
        )

    def tallies(self) -> dict[str, Any]:
        """What was counted in all passes so far, besides the features; JSON-able."""
        return {}


def extractor_class(name: str) -> type[Extractor]:
    """The extractor that is registered under ``name``."""
    return EXTRACTORS[name].load()


def compute_features(
    images: np.ndarray,
    extractor: Callable[[Tensor], Tensor],
    batch_size: int,
    device: torch.device | str,
    label: str,
    keep: int = 0,
) -> Features:
    """Features of images: moments of all, float64, and the vectors of the first ones, float16.

    Args:
        images: (N, 3, H, W) uint8, may be memory-mapped: one batch is read at a time.
        extractor: an :class:`Extractor` on ``device``, or any function of such a kind.
        batch_size: images per call of the network.
        label: in front of the progress lines.
        keep: how many vectors to keep, if there are so many.

    Raises:
        ValueError: ``images`` has another shape or dtype, or fewer than two images.
    """
    if images.ndim != 4 or images.shape[1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"images must be uint8 (N, 3, H, W), got {images.dtype} {images.shape}")
    accumulator, kept = MomentAccumulator(), []
    with Progress(len(images), label, " images", shared=True) as progress:
        for start in range(0, len(images), batch_size):
            batch = torch.from_numpy(np.array(images[start : start + batch_size]))  # a copy: the map is read-only
            vectors = extractor(batch.to(device)).cpu().numpy()
            accumulator.update(vectors)
            kept.append(vectors[: max(keep - start, 0)].astype(np.float16))
            progress.update(len(batch))
    return Features(accumulator.moments(), np.concatenate(kept))
