"""Training batches as a function of the step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.experiment import TrainingSettings
from hybridflow.data.augment import augment
from hybridflow.runtime.distributed import ALONE, Replicas
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.seeding import derive_seed
from hybridflow.training.feeding import ImagesOnDevice, ImagesOnHost


class Batches:
    """Augmented training batches as a function of the step.

    An epoch is a permutation drawn from its number. The images are on the device or, with ``images_on: host``, come
    from the host in time; the batches are the same.

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
        held = {"device": ImagesOnDevice, "host": ImagesOnHost}[settings.images_on]
        self.images = held(images, device)
        self.count, self.image_shape = len(images), tuple(images.shape[1:])
        self.settings, self.seed, self.replicas = settings, seed, replicas
        self._orders: dict[int, tuple[int, Tensor]] = {}  # stream: (epoch, permutation)

    def training(self, step: int, stream: int = 0) -> Tensor:
        """This replica's rows of :meth:`whole`: (batch_size / replicas, C, H, W) uint8."""
        return self.replicas.rows(self.whole(step, stream))

    def whole(self, step: int, stream: int = 0) -> Tensor:
        """(batch_size, C, H, W) uint8; ``stream`` > 0 gives other batches, for extra discriminator steps."""
        chosen = self.images.take(self._rows(step, stream), self._upcoming(step, stream))
        generator = torch.Generator(chosen.device).manual_seed(derive_seed(self.seed, "augment", step, stream))
        return augment(chosen, self.settings.augmentation, generator)

    def _rows(self, step: int, stream: int) -> Tensor:
        """Which images a batch consists of, (batch_size,) int64."""
        size = self.settings.batch_size
        epoch, position = divmod(step, self.count // size)
        return self._order(epoch, stream)[position * size : (position + 1) * size]

    def _upcoming(self, step: int, stream: int) -> list[Tensor]:
        """The batches that a training asks for next: a step begins with stream 0 and takes the others in turn."""
        streams = self.settings.discriminator_steps
        return [self._rows(step, stream + 1) if stream + 1 < streams else self._rows(step + 1, 0)]

    def _order(self, epoch: int, stream: int) -> Tensor:
        if stream not in self._orders or self._orders[stream][0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch, stream))
            self._orders[stream] = (epoch, torch.randperm(self.count, generator=generator))
        return self._orders[stream][1]
