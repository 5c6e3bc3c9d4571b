"""A short text that changes when the training images do; cached, because every start of the workflow needs it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from hybridflow.config.data import DatasetSettings
from hybridflow.data.cifar10.layout import CIFAR10, SPLITS
from hybridflow.data.listing import list_images
from hybridflow.io.files import read_json, write_text
from hybridflow.io.hashing import sha256_file, sha256_json
from hybridflow.runtime.errors import UserError, WriteError
from hybridflow.runtime.progress import Progress


def content_hash(settings: DatasetSettings, cache: Path) -> str:
    """The dataset's part of a training key: a name and 16 hexadecimal digits.

    For CIFAR-10 it follows from the pinned hashes and reads nothing. For a folder it is a SHA-256
    over every image's relative name and content; the contents' hashes are kept in ``cache`` and
    computed again only for files whose size or modification time changed.

    Args:
        settings: where the images come from.
        cache: a JSON file to keep the hashes of a folder's images in.

    Raises:
        UserError: the folder or an image in it cannot be read.
    """
    if settings.source == "cifar10":
        return f"cifar10-{sha256_json(CIFAR10.hashes)[:16]}"
    root = Path(str(settings.folder)).expanduser()
    known = _known(cache, root)
    entries: dict[str, list[Any]] = {}
    changed: list[str] = []
    for name in (name for split in SPLITS for name in list_images(root, split)):
        status = _attempt(root / name, Path.stat)
        size, time = status.st_size, status.st_mtime_ns
        entry = known.get(name)
        if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [size, time]:
            entries[name] = entry
        else:
            entries[name] = [size, time, ""]
            changed.append(name)
    if changed:
        with Progress(len(changed), f"hash {root.name}", unit=" images") as progress:
            for name in changed:
                entries[name][2] = _attempt(root / name, sha256_file)
                progress.update()
    if changed or known.keys() != entries.keys():
        with contextlib.suppress(OSError, WriteError):  # without the cache the next call is slow, not wrong
            write_text(cache, json.dumps({"folder": str(root.resolve()), "images": entries}))
    digest = hashlib.sha256(json.dumps([[name, entry[2]] for name, entry in entries.items()]).encode())
    return f"folder-{digest.hexdigest()[:16]}"


def _known(cache: Path, root: Path) -> dict[str, Any]:
    """The cached entries, or nothing if they are of another folder or unreadable."""
    try:
        content = read_json(cache)
        return dict(content["images"]) if content["folder"] == str(root.resolve()) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _attempt(path: Path, read: Any) -> Any:
    try:
        return read(path)
    except OSError as error:
        raise UserError(f"Cannot read the image {path}: {error.strerror or error}; repair it or remove it.") from None
