"""Training batches as a function of the step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.training import TrainingSettings
from hybridflow.data.augment import augment
from hybridflow.runtime.distributed import ALONE, Replicas
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.feeding import ImagesOnDevice


class Batches:
    """Augmented training batches as a function of the step.

    An epoch is a permutation drawn from its number. The images are on the device.

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
        self.images = ImagesOnDevice(images, device)
        self.count, self.image_shape = len(images), tuple(images.shape[1:])
        self.settings, self.seed, self.replicas = settings, seed, replicas
        self._orders: dict[int, tuple[int, Tensor]] = {}  # stream: (epoch, permutation)

    def training(self, step: int, stream: int = 0) -> Tensor:
        """This replica's rows of :meth:`whole`: (batch_size / replicas, C, H, W) uint8."""
        return self.replicas.rows(self.whole(step, stream))

    def whole(self, step: int, stream: int = 0) -> Tensor:
        """(batch_size, C, H, W) uint8; ``stream`` > 0 gives other batches, for extra discriminator steps."""
        chosen = self.images.take(self._rows(step, stream), [])
        generator = torch.Generator(chosen.device).manual_seed(derive_seed(self.seed, "augment", step, stream))
        return augment(chosen, self.settings.augmentation, generator)

    def _rows(self, step: int, stream: int) -> Tensor:
        """Which images a batch consists of, (batch_size,) int64."""
        size = self.settings.batch_size
        epoch, position = divmod(step, self.count // size)
        return self._order(epoch, stream)[position * size : (position + 1) * size]

    def _order(self, epoch: int, stream: int) -> Tensor:
        if stream not in self._orders or self._orders[stream][0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch, stream))
            self._orders[stream] = (epoch, torch.randperm(self.count, generator=generator))
        return self._orders[stream][1]
