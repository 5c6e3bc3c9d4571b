"""Images from a trained model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from hybridflow.config.evaluation import SamplingSettings
from hybridflow.io.arrays import ResumableArray
from hybridflow.io.files import atomic_path
from hybridflow.models.generators.base import Generator
from hybridflow.models.transforms.dequantization import quantise
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress
from hybridflow.runtime.seeding import derive_seed


def image_latents(model: Generator, indices: range, seed: int, temperature: float) -> list[Tensor]:
    """Latents of the images ``indices``, each drawn from a generator of its own, on the CPU.

    Image i is therefore the same whatever batch it is in, on whatever device it is decoded.

    Returns:
        One tensor (len(indices), *shape) for each of ``model.latent_shapes``.
    """
    sizes = [int(np.prod(shape)) for shape in model.latent_shapes]
    flat = torch.empty(len(indices), sum(sizes))
    generator = torch.Generator()
    for row, index in enumerate(indices):
        generator.manual_seed(derive_seed(seed, "image", index))
        torch.randn(sum(sizes), generator=generator, out=flat[row])
    flat *= temperature
    parts = flat.split(sizes, dim=1)
    return [part.reshape(len(indices), *shape) for part, shape in zip(parts, model.latent_shapes, strict=True)]


@torch.no_grad()
def sample_images(model: Generator, indices: range, seed: int, temperature: float, device: torch.device) -> np.ndarray:
    """The images ``indices`` of the model's sequence of samples: (len(indices), C, H, W) uint8.

    Raises:
        UserError: some are not finite, as of a flow whose inverse has no bound. They would pass for black images.
    """
    latents = [latent.to(device) for latent in image_latents(model, indices, seed, temperature)]
    y = model.decode(latents)
    broken = int((~torch.isfinite(y)).flatten(1).any(1).sum())
    if broken:
        raise UserError(
            f"{broken} of {len(indices)} samples from number {indices.start} on overflow in the flow's inverse; train "
            "it longer, lower sampling.temperature, or, of glow, set generator.coupling: additive."
        )
    return quantise(y).cpu().numpy()


def sample_to_file(
    model: Generator, settings: SamplingSettings, path: Path, device: torch.device, key: str, label: str = "sample"
) -> None:
    """Draws ``settings.images`` images into a ``.npy`` file, (N, C, H, W) uint8.

    Finished batches survive a kill (:class:`hybridflow.io.arrays.ResumableArray`).

    Args:
        model: in evaluation mode, on ``device``.
        key: identifies the model's weights; batches of other weights are not continued.
    """
    identity = {"key": key, "settings": settings.identity()}
    array = ResumableArray(path, (settings.images, *model.image_shape), np.uint8, identity)
    with Progress(settings.images, label, " images", initial=array.done, shared=True) as progress:
        # Batches begin at multiples of the batch size, so that a resumed run decodes the same batches.
        for start in range(array.done, settings.images, settings.batch_size):
            indices = range(start, min(start + settings.batch_size, settings.images))
            array.append(sample_images(model, indices, settings.seed, settings.temperature, device))
            progress.update(len(indices))
    array.finish()


def image_grid(y: Tensor | np.ndarray, columns: int) -> np.ndarray:
    """A (rows*H, columns*W, 3) uint8 picture of images.

    Args:
        y: (N, 3, H, W); continuous in [0, 1] or uint8. Missing cells of the last row stay black.
    """
    if isinstance(y, Tensor):
        y = (y if y.dtype == torch.uint8 else quantise(y)).cpu().numpy()
    n, channels, height, width = y.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, channels, height, width), np.uint8)
    cells[:n] = y
    cells = cells.reshape(rows, columns, channels, height, width)
    return cells.transpose(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)


def save_png(path: Path, picture: np.ndarray, scale: int = 2) -> None:
    """Writes a (H, W, 3) uint8 picture, every pixel repeated ``scale`` times."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture.repeat(scale, 0).repeat(scale, 1)).save(temporary, format="PNG")
