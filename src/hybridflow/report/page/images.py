"""Pictures inside a page: as data URIs, small enough for all of them together."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

WIDEST = 1400  # pixels; twice what the page shows
ENOUGH = 250_000  # bytes above which a picture becomes a JPEG


@dataclass(frozen=True)
class Picture:
    """A picture in the page.

    Attributes:
        source: data URI.
        width, height: pixels.
    """

    source: str
    width: int
    height: int


def embed_file(path: Path) -> Picture:
    """A figure: as it is if it is small or moves, else as a JPEG of at most ``WIDEST`` pixels."""
    with Image.open(path) as image:
        content, kind, size = path.read_bytes(), path.suffix[1:], image.size
        if len(content) > ENOUGH and kind != "gif":
            smaller = image.convert("RGB")
            smaller.thumbnail((WIDEST, 4 * WIDEST))
            content, kind, size = _encode(smaller), "jpeg", smaller.size
    return Picture(_uri(content, kind), *size)


def is_still(path: Path) -> bool:
    """Whether it is an animation in which nothing moves: of one frame, as of trainings that left no grids."""
    with Image.open(path) as image:
        return image.format == "GIF" and image.n_frames == 1


def embed_grid(picture: np.ndarray) -> str:
    """The data URI of an (H, W, 3) uint8 picture, as a JPEG."""
    return _uri(_encode(Image.fromarray(picture)), "jpeg")


def _encode(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=85, optimize=True)
    return stream.getvalue()


def _uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
