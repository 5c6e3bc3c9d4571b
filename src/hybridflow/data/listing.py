"""The image files of a user's folder. Standard library only."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from hybridflow.runtime.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


def list_images(folder: str | Path, split: str) -> list[str]:
    """Names of the images of ``folder/split``, relative to ``folder``, with slashes, sorted.

    Folders are searched to any depth, links are followed, names that begin with a dot are skipped.

    Raises:
        UserError: the folder is missing or unreadable, holds fewer than 10 images, a name that no message could show,
            or a pipe or device that has an image's name.
    """
    root = Path(folder).expanduser()
    top = root / split
    if not top.is_dir():
        raise UserError(
            f"config: `dataset.folder` is {str(folder)!r}, but {top} is not a directory; it must hold train/ and test/."
        )
    names: list[str] = []
    visited: set[str] = set()  # a link to a folder above must not go round for ever
    for place, folders, files in os.walk(top, followlinks=True, onerror=_refuse):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(place).relative_to(root).as_posix()
        names.extend(
            f"{relative}/{name}" for name in files if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        )
    for name in names:
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
            raise UserError(
                f"{top} holds the name {name!a} with a control character, or one that is not UTF-8; rename it."
            )
        path = root / name
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is neither a file nor a folder, and reading it could wait for ever; remove it.")
    if len(names) < 10:  # metrics of vectors ask for a 5th neighbour, calibrations for halves
        raise UserError(
            f"{top} holds {len(names)} image{'s' * (len(names) != 1)} ({', '.join(SUFFIXES)}), "
            "but at least 10 are needed; put 32x32 images there."
        )
    return sorted(names)


def _refuse(error: OSError) -> None:
    raise UserError(f"Cannot read the folder {error.filename}: {error.strerror}; correct its permissions.")
