"""Training batches as a function of the step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hybridflow.config.training import AugmentationSettings, TrainingSettings
from hybridflow.data.augment import augment
from hybridflow.runtime.distributed import SINGLE_PROCESS, ProcessGroup
from hybridflow.runtime.seeding import derive_seed

FLIPPED = AugmentationSettings(horizontal_flip=True, pad=0, translate=0.0)
"""Images that only a flip changes."""


class Batches:
    """Augmented training batches as a function of the step.

    An epoch is a permutation drawn from its number. Images and permutations are on the device, so that a step copies
    nothing to it.

    Args:
        images: (N, C, H, W) uint8, at least as many as one batch has.
        group: the processes that share every batch.
    """

    def __init__(
        self,
        images: np.ndarray,
        settings: TrainingSettings,
        seed: int,
        device: torch.device,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.images = torch.from_numpy(np.array(images)).to(device)
        self.image_shape = tuple(images.shape[1:])
        self.settings, self.seed, self.group = settings, seed, group
        self._orders: dict[int, tuple[int, Tensor]] = {}  # stream: (epoch, permutation)

    def training(self, step: int, stream: int = 0, augmentation: AugmentationSettings | None = None) -> Tensor:
        """This process's rows of :meth:`whole`: (batch_size / processes, C, H, W) uint8."""
        return self.group.rows(self.whole(step, stream, augmentation))

    def whole(self, step: int, stream: int = 0, augmentation: AugmentationSettings | None = None) -> Tensor:
        """(batch_size, C, H, W) uint8.

        Args:
            stream: > 0 gives other batches, for extra discriminator steps.
            augmentation: instead of the training's, of the same images.
        """
        size = self.settings.batch_size
        epoch, position = divmod(step, len(self.images) // size)
        chosen = self.images[self._order(epoch, stream)[position * size : (position + 1) * size]]
        generator = torch.Generator(chosen.device).manual_seed(derive_seed(self.seed, "augment", step, stream))
        return augment(chosen, augmentation or self.settings.augmentation, generator)

    def _order(self, epoch: int, stream: int) -> Tensor:
        """An epoch's permutation, drawn on the CPU: the same on every device."""
        if stream not in self._orders or self._orders[stream][0] != epoch:
            generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch, stream))
            order = torch.randperm(len(self.images), generator=generator)
            self._orders[stream] = (epoch, order.to(self.images.device))
        return self._orders[stream][1]
