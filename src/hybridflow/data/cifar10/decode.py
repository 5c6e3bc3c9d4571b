"""CIFAR-10's batches from any of its archives: official pickles, official binaries, npm's PNGs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hybridflow.data.cifar10.archives import read_members, unusable
from hybridflow.data.cifar10.layout import TRAIN_BATCHES, Cifar10Layout
from hybridflow.data.cifar10.pickles import as_bytes_array, load_plain


@dataclass(frozen=True)
class Part:
    """A piece of a split; ``images`` (n, 3, 32, 32) uint8 and ``labels`` (n,) int64, if it has them."""

    split: str
    start: int
    images: np.ndarray | None
    labels: np.ndarray | None


Decoded = tuple[np.ndarray | None, np.ndarray | None]


def _labels(values: Any, count: int) -> np.ndarray:
    # Checked one by one before numpy sees them: it would follow whatever a list holds.
    if not isinstance(values, list) or len(values) != count or any(type(value) is not int for value in values):
        raise ValueError(f"it must hold {count} whole numbers as labels")
    if not (min(values) >= 0 and max(values) <= 9):
        raise ValueError("its labels must lie between 0 and 9")
    return np.array(values, np.int64)


def _decode_pickle(content: bytes, count: int) -> Decoded:
    batch = load_plain(content)
    if not isinstance(batch, dict):
        raise ValueError("it must hold a dictionary")
    data, labels = (batch.get(key, batch.get(key.encode())) for key in ("data", "labels"))
    images = as_bytes_array(data)
    if images.shape != (count, 3072):
        raise ValueError(f"its `data` must be {count} x 3072 bytes")
    return images.reshape(count, 3, 32, 32), _labels(labels, count)


def _decode_binary(content: bytes, count: int) -> Decoded:
    if len(content) != count * 3073:
        raise ValueError(f"it has {len(content)} bytes instead of {count * 3073}")
    rows = np.frombuffer(content, np.uint8).reshape(count, 3073)
    return rows[:, 1:].reshape(count, 3, 32, 32), _labels(rows[:, 0].tolist(), count)


def _decode_png(content: bytes, count: int) -> Decoded:
    try:
        with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
            # The size is checked before anything is unpacked.
            if image.size != (1024, count) or image.mode != "RGB":
                raise ValueError(f"it is a {image.mode} image of {image.size} pixels instead of RGB, (1024, {count})")
            pixels = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(str(error)) from None
    return pixels.reshape(count, 32, 32, 3).transpose(0, 3, 1, 2), None


def _decode_json(content: bytes, count: int) -> Decoded:
    return None, _labels(json.loads(content), count)


@dataclass(frozen=True)
class _File:
    """A file of an archive: which images it holds and how to read them."""

    split: str
    start: int
    count: int
    decode: Callable[[bytes, int], Decoded]


def _archive_formats(layout: Cifar10Layout) -> dict[str, dict[str, _File]]:
    """For every archive's folder name, the files that must be in it."""

    def batches(suffix: str, decode: Callable[[bytes, int], Decoded]) -> dict[str, _File]:
        n = layout.batch_images
        files = {f"data_batch_{i + 1}{suffix}": _File("train", i * n, n, decode) for i in range(TRAIN_BATCHES)}
        return files | {f"test_batch{suffix}": _File("test", 0, n, decode)}

    labels = {f"{split}_lables.json": _File(split, 0, count, _decode_json) for split, count in layout.counts.items()}
    return {
        "cifar-10-batches-py": batches("", _decode_pickle),
        "cifar-10-batches-bin": batches(".bin", _decode_binary),
        "package": batches(".png", _decode_png) | labels,
    }


def read_cifar10(path: Path, layout: Cifar10Layout) -> Iterator[Part]:
    """Decodes an archive of CIFAR-10, or a directory that holds the content of one.

    Args:
        path: the official Python or binary archive, the npm tarball, or what either unpacks to.
        layout: how many images there must be.

    Yields:
        Every piece once, in the archive's order.

    Raises:
        UserError: the archive is damaged, incomplete, hostile or something else.
    """
    formats = _archive_formats(layout)
    missing: set[str] = set()
    folder: str | None = None
    for name, content in _contents(path, formats, layout):
        part_folder, _, file_name = name.rpartition("/")
        if folder is None:
            folder, missing = part_folder, set(formats[part_folder])
        if part_folder != folder:
            continue  # an archive with several layouts: the first one counts
        file = formats[folder][file_name]
        try:
            images, labels = file.decode(content, file.count)
        except (ValueError, OverflowError, RecursionError) as error:
            raise unusable(path, f"{file_name} in it cannot be read ({error})") from None
        missing.discard(file_name)
        yield Part(file.split, file.start, images, labels)
    if folder is None:
        raise unusable(path, f"it holds none of CIFAR-10's folders ({', '.join(formats)})")
    if missing:
        raise unusable(path, f"it lacks {', '.join(sorted(missing))}")


def _contents(path: Path, formats: dict[str, dict[str, _File]], layout: Cifar10Layout) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files that count, in an archive or in a directory."""
    limit = layout.member_limit
    if not path.is_dir():
        names = {f"{folder}/{name}": limit for folder, files in formats.items() for name in files}
        yield from read_members(path, names, total=8 * limit)
        return
    for folder, files in formats.items():
        for place in (path / folder, path):
            present = [name for name in files if (place / name).is_file()]
            for name in present:
                yield f"{folder}/{name}", _read(place / name, limit)
            if present:
                return  # the first layout counts


def _read(file: Path, limit: int) -> bytes:
    size = file.stat().st_size
    if size > limit:
        raise unusable(file, f"it has {size} bytes, more than the {limit} expected")
    try:
        return file.read_bytes()
    except OSError as error:
        raise unusable(file, error.strerror or str(error)) from None
