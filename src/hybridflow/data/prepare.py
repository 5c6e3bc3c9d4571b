"""From an archive or a folder of images to verified arrays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10.archives import unusable
from hybridflow.data.cifar10.decode import Part, read_cifar10
from hybridflow.data.cifar10.fetch import fetch_cifar10, origin
from hybridflow.data.cifar10.layout import CIFAR10, SPLITS, Cifar10Layout
from hybridflow.data.folder import read_image
from hybridflow.data.listing import list_images
from hybridflow.io.arrays import ArrayWriter
from hybridflow.io.files import atomic_path
from hybridflow.io.records import read_record, write_record
from hybridflow.runtime.errors import UserError
from hybridflow.runtime.progress import Progress

CHUNK = 1000  # images decoded between two writes


def prepare_dataset(
    settings: DatasetSettings, directory: Path, cache: Path, layout: Cifar10Layout = CIFAR10
) -> dict[str, Any]:
    """Writes ``train.npy`` and ``test.npy`` (uint8, N x 3 x 32 x 32) and ``manifest.json``.

    For CIFAR-10 also ``train_labels.npy`` and ``test_labels.npy`` (int64, N), and the images must
    have the pinned SHA-256 whatever archive they come from. All files appear at the end, the
    manifest last, or none does.

    Args:
        settings: where the images come from.
        directory: where the arrays go.
        cache: where a fetched archive is kept.
        layout: CIFAR-10's counts and hashes (tests give others).

    Returns:
        The manifest: ``source``, ``origin``, and ``arrays`` and ``files``, which say the ``shape`` and ``dtype`` of
        every array and the SHA-256 of its file.

    Raises:
        UserError: the images cannot be had, are damaged or are not what they should be.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if settings.source == "cifar10":
            cache.mkdir(parents=True, exist_ok=True)
            archive = fetch_cifar10(settings, cache, layout)
            arrays = _write_cifar10(archive, directory, layout)
            where = origin(settings, archive)
        else:
            where = str(settings.folder)
            arrays = _write_folder(Path(where).expanduser(), directory)
        manifest = directory / "manifest.json"
        values = {"source": settings.source, "origin": where, "arrays": arrays}
        write_record(manifest, values, [directory / f"{name}.npy" for name in arrays])
    except OSError as error:
        raise UserError(
            f"Cannot write the dataset to {error.filename or directory}: {error.strerror or error}; "
            "free some space or correct the permissions."
        ) from None
    return read_record(manifest, ())


def is_prepared(directory: Path) -> bool:
    """Whether the arrays and their manifest are there and sound."""
    try:
        read_record(directory / "manifest.json")
    except UserError:
        return False
    return True


def _write_cifar10(archive: Path, directory: Path, layout: Cifar10Layout) -> dict[str, Any]:
    counts = layout.counts
    names = {split: (split, (counts[split], 3, 32, 32), np.uint8) for split in SPLITS}
    names |= {f"{split}_labels": (split, (counts[split],), np.int64) for split in SPLITS}
    with ExitStack() as stack:
        writers = {name: _open(stack, directory, name, shape, kind) for name, (_, shape, kind) in names.items()}
        with Progress(sum(counts.values()), "decode CIFAR-10", unit=" images") as progress:
            for part in read_cifar10(archive, layout):
                _store(writers, part)
                progress.update(0 if part.images is None else len(part.images))
        arrays = _describe(writers)
        for split, expected in layout.hashes.items():
            found = writers[split].sha256()
            if found != expected:
                raise unusable(archive, f"its {split} images have SHA-256 {found} instead of CIFAR-10's {expected}")
        (directory / "manifest.json").unlink(missing_ok=True)  # the old one must not speak for new arrays
    return arrays


def _write_folder(folder: Path, directory: Path) -> dict[str, Any]:
    names = {split: list_images(folder, split) for split in SPLITS}
    with ExitStack() as stack:
        writers = {s: _open(stack, directory, s, (len(names[s]), 3, 32, 32), np.uint8) for s in SPLITS}
        with Progress(sum(map(len, names.values())), f"decode {folder.name}", unit=" images") as progress:
            for part in _read_folder(folder, names):
                _store(writers, part)
                progress.update(0 if part.images is None else len(part.images))
        arrays = _describe(writers)
        (directory / "manifest.json").unlink(missing_ok=True)
    return arrays


def _read_folder(folder: Path, names: dict[str, list[str]]) -> Iterator[Part]:
    for split, split_names in names.items():
        for start in range(0, len(split_names), CHUNK):
            images = np.stack([read_image(folder / name) for name in split_names[start : start + CHUNK]])
            yield Part(split, start, images, None)


def _open(
    stack: ExitStack, directory: Path, name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike
) -> ArrayWriter:
    """A writer whose file gets its name when ``stack`` closes without an exception."""
    return stack.enter_context(ArrayWriter(stack.enter_context(atomic_path(directory / f"{name}.npy")), shape, dtype))


def _store(writers: dict[str, ArrayWriter], part: Part) -> None:
    if part.images is not None:
        writers[part.split].write(part.start, part.images)
    if part.labels is not None:
        writers[f"{part.split}_labels"].write(part.start, part.labels)


def _describe(writers: dict[str, ArrayWriter]) -> dict[str, Any]:
    return {name: {"shape": list(writer.shape), "dtype": writer.dtype.name} for name, writer in writers.items()}
