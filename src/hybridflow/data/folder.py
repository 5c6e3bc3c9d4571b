"""Decoding a user's own 32x32 images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from hybridflow.runtime.errors import UserError

FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
EXACT_MODES = ("RGB", "L", "1", "P")  # these become RGB without loss; grey by replication


def read_image(path: Path) -> np.ndarray:
    """One image file as uint8 (3, 32, 32).

    Raises:
        UserError: it cannot be read, is not 32x32, moves, or would lose something as 8-bit RGB.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.size != (32, 32):
                width, height = image.size
                raise UserError(
                    f"{path} has {width}x{height} pixels, but images must be 32x32; resize it or remove it."
                )
            if getattr(image, "n_frames", 1) > 1:
                raise UserError(f"{path} has several frames, but an image has one; keep one or remove it.")
            # Pillow quietly keeps the upper halves of a 16-bit RGB PNG.
            deep = image.format == "PNG" and any("16" in str(tile[3]) for tile in image.tile)
            image.load()
            problem = "transparency" if "transparency" in image.info else "16-bit pixels" if deep else None
            if problem is None and image.mode not in EXACT_MODES:
                problem = f"the mode {image.mode}"
            if problem is not None:
                raise UserError(
                    f"{path} has {problem}, which has no exact 8-bit RGB form; convert it to RGB or remove it."
                )
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read as an image ({reason}); repair it or remove it.") from None
    return pixels.transpose(2, 0, 1)
