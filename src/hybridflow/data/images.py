"""Loading arrays of images and labels, and comparing them with the hash that stands beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.io.arrays import read_array
from hybridflow.io.content_hash import array_sha256
from hybridflow.io.files import read_note
from hybridflow.io.repair import repair_hint
from hybridflow.runtime.errors import UserError


def load_images(path: str | Path) -> np.ndarray:
    """The images of a .npy file, memory-mapped read-only: uint8 (N, 3, 32, 32), C order, N >= 1.

    They are compared with the SHA-256 in ``manifest.json`` (the dataset's arrays) or in a ``.json`` of the same name
    (samples) beside the file, if there is one.

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
    check_array(path, images)
    return images


def load_labels(path: str | Path) -> np.ndarray:
    """The class labels of a .npy file, memory-mapped read-only: int64 (N,).

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    labels = _load(path)
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise _wrong(path, labels, "int64 (N,)")
    check_array(path, labels)
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


def check_array(path: str | Path, array: np.ndarray) -> None:
    """Compares an array with the hash beside its file, if there is one.

    Raises:
        UserError: they differ, or the note with the hash is damaged.
    """
    expected = recorded_sha256(path)
    if expected is not None and array_sha256(array) != expected:
        raise UserError(f"{path} is damaged (its values do not have the SHA-256 {expected}); {repair_hint(path)}.")


def recorded_sha256(path: str | Path) -> str | None:
    """The SHA-256 of an array's bytes that stands beside its file, or None.

    Raises:
        UserError: the note with the hash is damaged.
    """
    path = Path(path)
    for note, keys in (
        (path.with_suffix(".json"), ("sha256",)),
        (path.with_suffix(".json"), ("bounds_sha256",)),
        (path.with_name("manifest.json"), ("arrays", path.stem, "sha256")),
    ):
        if note.exists():
            value: Any = read_note(note)
            try:
                for key in keys:
                    value = value.get(key, {})
            except AttributeError:
                raise UserError(
                    f"{note} is damaged (it is not a note about {path.name}); {repair_hint(note)}."
                ) from None
            if isinstance(value, str):
                return value
    return None


def _load(path: str | Path) -> np.ndarray:
    advice = "delete it and prepare the data again"
    try:
        return read_array(path, mapped=True)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; prepare the data first.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as an array ({error}); {advice}.") from None


def _wrong(path: str | Path, array: np.ndarray, expected: str) -> UserError:
    return UserError(
        f"{path} holds {array.dtype} {array.shape}, but {expected} is expected; delete it and prepare the data again."
    )
