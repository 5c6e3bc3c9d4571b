"""Loading arrays of images and labels, after comparing them with their records."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hybridflow.io.arrays import read_array
from hybridflow.io.records import read_record, record_of
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError

DATASET_ARRAYS = ("train", "test", "train_labels", "test_labels")
"""Names of the prepared dataset's arrays, which ``manifest.json`` speaks for."""


def load_images(path: str | Path) -> np.ndarray:
    """The images of a .npy file, memory-mapped read-only: uint8 (N, 3, 32, 32), C order, N >= 1.

    Raises:
        UserError: the file is missing, damaged, exchanged or something else.
    """
    images = _load(path)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (3, 32, 32) or len(images) == 0:
        raise _wrong(path, images, "uint8 (N, 3, 32, 32)")
    if not images.flags.c_contiguous:
        raise UserError(f"{path} is in Fortran order, but images must be in C order; {repair_hint(path)}.")
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
        images: training split, (N, C, H, W) uint8, of more than ``holdout``.
    """
    kept = len(images) - holdout
    return images[:kept], images[kept:]


def check_array(path: str | Path) -> None:
    """Compares an array's file with its record: ``manifest.json`` for the dataset's arrays, else one of its own name.

    Raises:
        UserError: the file is not what was written, or one of the two is missing.
    """
    path = Path(path)
    record = path.with_name("manifest.json") if path.stem in DATASET_ARRAYS else record_of(path)
    read_record(record, [path.name])


def _load(path: str | Path) -> np.ndarray:
    check_array(path)
    try:
        return read_array(path, mapped=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an array ({error}); {repair_hint(path)}.") from None


def _wrong(path: str | Path, array: np.ndarray, expected: str) -> UserError:
    return UserError(f"{path} holds {array.dtype} {array.shape}, but {expected} is expected; {repair_hint(path)}.")
