"""Loading the prepared arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridflow.errors import UserError


def load_images(path: str | Path) -> np.ndarray:
    """The images of a .npy file, memory-mapped read-only: uint8 (N, 3, 32, 32), C order, N >= 1.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    images = _load(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, 32, 32) or len(images) == 0:
        raise _wrong(path, images, "uint8 (N, 3, 32, 32)")
    if not images.flags.c_contiguous:
        raise UserError(
            f"{path} is in Fortran order, but images must be in C order; delete it and prepare the data again."
        )
    return images


def load_labels(path: str | Path) -> np.ndarray:
    """The class labels of a .npy file, memory-mapped read-only: int64 (N,).

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    labels = _load(path)
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise _wrong(path, labels, "int64 (N,)")
    return labels


def split_holdout(images: np.ndarray, holdout: int) -> tuple[np.ndarray, np.ndarray]:
    """The training images to train on, and the last ``holdout`` ones, kept back for choosing settings.

    Args:
        images: training split, (N, C, H, W) uint8.

    Raises:
        UserError: nothing would be left to train on.
    """
    if holdout >= len(images):
        raise UserError(
            f"dataset.holdout is {holdout}, but the training split has only {len(images)} images; hold out fewer."
        )
    kept = len(images) - holdout
    return images[:kept], images[kept:]


def _load(path: str | Path) -> np.ndarray:
    advice = "delete it and prepare the data again"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; prepare the data first.") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as an array ({error}); {advice}.") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} is not a .npy file; {advice}.")
    return array


def _wrong(path: str | Path, array: np.ndarray, expected: str) -> UserError:
    return UserError(
        f"{path} holds {array.dtype} {array.shape}, but {expected} is expected; delete it and prepare the data again."
    )
